"""The verbs that look at a machine without judging it by a plan: `discover` and `doctor`.

Both read texts: a host's probe, fetched in one round trip, or a folder that was captured before.
Imports are inside the verbs, as in `rigspec.cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from rigspec.asked import Whole, said_of

if TYPE_CHECKING:
    from rigspec.discover.capture import Capture
    from rigspec.discover.seen import Seen
    from rigspec.errors import RigspecError
    from rigspec.reach import Login

F = TypeVar("F", bound=Callable[..., Any])
_FROM_HELP = "Captured texts: a folder, or one file; nothing is asked of a host."


def _source(verb: F) -> F:
    """Where the texts come from: the same words for both verbs."""
    options = (
        click.argument("host", required=False, metavar="[HOST|SPEC]"),
        click.option("--from", "folder", type=click.Path(path_type=str), help=_FROM_HELP),
        click.option("--user", help="SSH user (also USER@HOST); ACS and kernel log need root."),
        click.option("--port", type=Whole(1, 65535), help="SSH port (also HOST:PORT)."),
        click.option("--key", type=click.Path(path_type=str), help="Private key file."),
        click.option("--known-hosts", type=click.Path(path_type=str), help="File of host keys."),
        click.option("--sudo", is_flag=True, help="Read as root through `sudo -n`."),
        click.option("--save", type=click.Path(path_type=str), help="Keep the text in a folder."),
    )
    for option in reversed(options):
        verb = option(verb)
    return verb


@click.command()
@_source
@click.option("--name", type=str, help="Name of the rig (default: the host's or folder's).")
@click.option("--print-probe", is_flag=True, help="Print the script that captures a host.")
def discover(
    host: str | None, folder: str | None, name: str | None, print_probe: bool, **how: Any
) -> None:
    """Write a draft spec of a live machine: the draft to stdout, the choices left to stderr.

    Ends with 0, with 2 for usage or texts that show no GPU, 3 when the host could not be read.
    """
    from rigspec.discover.draft import draft_spec, spec_name
    from rigspec.discover.probe import probe_script
    from rigspec.errors import RigspecError
    from rigspec.report import discover as report
    from rigspec.rules.run import check
    from rigspec.spec.load import load_text

    if print_probe:
        click.echo(probe_script(), nl=False)
        return
    try:
        capture, seen, way = _look(host, folder, **how)
        chosen = spec_name(name or seen.planned_name or capture.name)
        text = draft_spec(seen, chosen, way)
    except RigspecError as problem:
        _stop(problem)
    loaded = load_text(f"{chosen}.yaml", text)
    findings = (*loaded.findings, *(check(loaded.rig) if loaded.rig else ()))
    click.echo(text, nl=False)
    click.echo(report.as_text(text, findings, loaded.source), err=True)


@click.command()
@_source
@click.option("--json", "as_json", is_flag=True, help="Causes as a JSON list.")
def doctor(host: str | None, folder: str | None, as_json: bool, **how: Any) -> None:
    """Name likely causes in order, with evidence and cure.

    Ends with 0 when none was found, 1 for some, 2 for usage, 3 when the host could not be read or
    when no cause was found and the texts show no NVIDIA GPU: nothing was judged then.
    """
    from rigspec.errors import RigspecError

    try:
        capture, seen, _ = _look(host, folder, **how)
        code = tell_causes(capture, seen, as_json=as_json)
    except RigspecError as problem:
        _stop(problem)
    sys.exit(code)


def tell_causes(capture: Capture, seen: Seen, *, as_json: bool) -> int:
    """Print the likely causes; the exit code of `doctor`."""
    from rigspec.discover.cards import names_a_gpu, proves_no_gpu, shows_no_gpu
    from rigspec.doctor.diagnose import diagnose, is_cause
    from rigspec.observed.record import known
    from rigspec.report import doctor as report

    found = diagnose(capture, seen)
    causes = any(is_cause(finding) for finding in found)
    blind = shows_no_gpu(seen) and not (known(seen.tree) is None and names_a_gpu(capture))
    if blind and not (causes and known(seen.tree) is None):  # a log alone can prove a cause
        click.echo(report.NO_GPU if proves_no_gpu(seen) else report.NOT_SHOWN, err=as_json)
    planned = known(seen.planned) is not None
    click.echo(report.as_json(found) if as_json else report.as_text(found, planned=planned))
    return 1 if causes else 3 if blind else 0


def _look(
    host: str | None, folder: str | None, save: str | None, **how: Any
) -> tuple[Capture, Seen, dict[str, str | int | bool]]:
    """The texts, what they say together, and how the host was reached (nothing if captured)."""
    from rigspec.discover.capture import capture_text, read_capture
    from rigspec.discover.hosts import notes_of
    from rigspec.discover.seen import read_seen
    from rigspec.reach import way_of

    if (host is None) == (folder is None):
        raise click.UsageError("give one of HOST and `--from FOLDER` (see --print-probe)")
    if folder is not None:
        given = [name for name, value in {**how, "save": save}.items() if value]
        if given:
            raise click.UsageError(f"`--{given[0].replace('_', '-')}` needs a HOST")
        capture = read_capture(folder)
        for note in notes_of(capture):
            click.echo(f"note: {note}", err=True)
        return capture, _with_saved_looks(read_seen(capture), capture), {}
    login = _login(str(host), **how)
    capture = capture_text(login.address, _read(login, save))
    return capture, read_seen(capture), way_of(login)


def _login(host: str, **how: Any) -> Login:
    """The way to a host: said on the command line, or in a spec file."""
    from rigspec.errors import RigspecError
    from rigspec.reach import login_of, parse_login
    from rigspec.spec.load import load

    if not host.endswith((".yaml", ".yml")):
        return parse_login(host, **how)
    rig = load(host).rig
    if rig is None:
        raise RigspecError(f"{host} cannot be read as a spec", hint=f"rigspec check {host}")
    return login_of(rig.host, host, **how)


def _read(login: Login, save: str | None) -> str:
    from rigspec.reach import read_host

    text = read_host(login)
    if "\nrig_uid=0\n" not in text:
        click.echo(
            f"note: {login.address} was not read as root, so ACS bits and the kernel log are "
            "unknown: use root@HOST or --sudo",
            err=True,
        )
    if save is not None:
        _save(text, Path(save) / "probe.txt")
    return text


def _save(text: str, file: Path) -> None:
    """The text for later, readable by its owner alone: it names serials and containers."""
    from rigspec.errors import RigspecError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise RigspecError(
            f"what the host said cannot be kept in {file}: {problem.strerror}",
            hint="give `--save` a folder that you may write to",
        ) from problem
    click.echo(f"note: what the host said is in {file}", err=True)


def _with_saved_looks(seen: Seen, capture: Capture) -> Seen:
    """What `rigspec verify --save` read, beside the texts."""
    from rigspec.discover.capture import Kind
    from rigspec.discover.seen import with_records
    from rigspec.verify.observation_file import observation_from_json

    for file in capture.of(Kind.SAVED_LOOK):
        saved = observation_from_json("\n".join(file.lines))
        seen = with_records(seen, saved.observation, file.name)
    return seen


def _stop(problem: RigspecError) -> NoReturn:
    """Say what is broken, and what to do; 3 where a host could not be read, else 2."""
    from rigspec.errors import HostError

    click.echo(said_of(problem, "error: "), err=True)
    sys.exit(3 if isinstance(problem, HostError) else 2)


VERBS = {"discover": discover, "doctor": doctor}
