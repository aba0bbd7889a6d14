"""Specs become hosts: every spec is checked and every plan rendered before a connection is made.

Used by `inventory/*.py`. Whatever is wrong is printed to stderr and ends the run with status 2.
"""

from __future__ import annotations

import fnmatch
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rigspec.errors import RigspecError
from rigspec.finding import has_errors
from rigspec.frozen import dataclass
from rigspec.operations.plans import remember
from rigspec.plan.rig import plan_rig
from rigspec.report.findings import as_text
from rigspec.report.vram_estimate import card_estimates
from rigspec.resources import ONLY
from rigspec.rules.context import CheckContext, saved_context
from rigspec.rules.run import check_file
from rigspec.spec.rig import Rig

Host = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """A rig and where it is; `lab` names the virtual rig that stands for it."""

    spec: str
    rig: Rig
    lab: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """Further connection data, for example of a virtual rig."""

    @property
    def beside(self) -> CheckContext:
        """What lies beside the spec: the owner's own catalog rows, measured faults."""
        return saved_context(self.rig, Path(self.spec))


def hosts(rigs_dir: str | os.PathLike[str]) -> list[Host]:
    """Every rig below `rigs_dir` that has an address, as a pyinfra host; exits on any error.

    Where RIGSPEC_SPEC names a spec file, that one instead, and no other is read.
    """
    end_with_130_on_interrupt()
    only = os.environ.get(ONLY)
    files = [Path(only).absolute()] if only else sorted(Path(rigs_dir).glob("*.yaml"))
    if not files:
        stop(f"there is no spec in {rigs_dir}", "copy rigs/starter.yaml and change it")
    targets = [Target(str(file), rig) for file, rig in _checked(files, quiet=bool(only))]
    with_address = [target for target in targets if target.rig.host.address]
    if not with_address:
        names = ", ".join(str(file) for file in files)
        stop(f"no spec has an address ({names})", "set `host.address` in the one to deploy")
    return planned(with_address)


def planned(targets: Iterable[Target]) -> list[Host]:
    """Plan every target, keep the plans, and give pyinfra names and plain data."""
    found: list[Host] = []
    for target in targets:
        try:
            beside = target.beside
            plan = plan_rig(target.rig, beside.catalog, beside.faults)
        except RigspecError as error:
            stop(f"{target.spec}: {error.message}", error.hint)
        data = host_data(target)
        if data["plan_key"] in {other["plan_key"] for _, other in found}:
            stop(f"{target.spec}: planned twice", "give each rig its own spec and name")
        if f"@rig/{target.rig.name}" in {name for name, _ in found}:
            stop(f"two specs are named `{target.rig.name}`", "change `name` in one of them")
        remember(data["plan_key"], plan, card_estimates(target.rig, beside))
        found.append((f"@rig/{target.rig.name}", data))
    _refuse_empty_limit([name.removeprefix("@rig/") for name, _ in found])
    return _named_by_limit(found)


def host_data(target: Target) -> dict[str, Any]:
    """Plain JSON data: how to connect, and where the spec is. Never a plan, never a secret."""
    host = target.rig.host
    data: dict[str, Any] = {
        "spec": target.spec,
        "plan_key": f"{target.spec}#{target.lab}" if target.lab else target.spec,
        "ssh_hostname": host.address,
        "ssh_port": host.port,
        "ssh_user": host.user,
        # the default, `accept-new`, would trust whatever key it meets after a reboot
        "ssh_strict_host_key_checking": "yes",
        "_sudo": host.sudo,
    }
    if host.ssh_key:
        data["ssh_key"] = str(Path(host.ssh_key).expanduser())
    if host.known_hosts:
        data["ssh_known_hosts_file"] = str(Path(host.known_hosts).expanduser())
    if target.lab:
        data["lab"] = target.lab
    return {**data, **target.data}


def _checked(files: Iterable[Path], *, quiet: bool) -> list[tuple[Path, Rig]]:
    """All rigs; prints what stops the run, and what the rigs with an address should know.

    `quiet`: only what stops the run, because the verb that runs us has said the rest.
    """
    rigs: list[tuple[Path, Rig]] = []
    failed: list[Path] = []
    for file in files:
        loaded = check_file(str(file))
        broken = loaded.rig is None or has_errors(loaded.findings)
        if loaded.rig is None or broken:
            failed.append(file)
        else:
            rigs.append((file, loaded.rig))
        deployed = not quiet and loaded.rig is not None and loaded.rig.host.address
        if loaded.findings and (broken or deployed):
            print(  # noqa: T201 - the findings are for the owner, on stderr
                as_text(loaded.findings, loaded.source, colour=sys.stderr.isatty()),
                file=sys.stderr,
            )
    if failed:
        names = [str(file) for file in failed]
        stop(
            f"nothing was done, no rig was reached: errors in {', '.join(names)}",
            f"rigspec check {' '.join(names)}",
        )
    return rigs


def _named_by_limit(found: list[Host]) -> list[Host]:
    """Only the rigs that --limit names, where it names one.

    pyinfra makes a group of the inventory file's name: with a rig `home` in `inventory/home.py`,
    its own reading of `--limit home` would be every rig.
    """
    limits, names = _limits(sys.argv), {name.removeprefix("@rig/") for name, _ in found}
    if not names & set(limits):
        return found

    def is_meant(host: Host) -> bool:
        return any(fnmatch.fnmatchcase(host[0].removeprefix("@rig/"), limit) for limit in limits)

    return [host for host in found if is_meant(host)]


def _refuse_empty_limit(names: list[str]) -> None:
    """pyinfra ends with status 0 when --limit matches nothing: say so instead."""
    for limit in _limits(sys.argv):
        if limit and not any(fnmatch.fnmatchcase(name, limit) for name in (*names, *_groups())):
            stop(f"--limit {limit} matches no rig", f"the rigs are: {', '.join(names)}")


def _groups() -> tuple[str, ...]:
    """Group names pyinfra makes of the inventory file and its lists."""
    stems = {Path(word).stem for word in sys.argv if word.endswith(".py")}
    return (*stems, "rigs", "all")


def _limits(argv: list[str]) -> list[str]:
    found = [word.partition("=")[2] for word in argv if word.startswith("--limit=")]
    places = [n for n, word in enumerate(argv[:-1]) if word == "--limit"]
    return [*found, *(argv[n + 1] for n in places)]


def end_with_130_on_interrupt() -> None:
    """pyinfra's own Ctrl-C handler ends with 0, which reads as success."""

    def handler(number: int, frame: FrameType | None) -> None:
        print(  # noqa: T201
            "\ninterrupted: what was running on the rig may go on; run the same command again",
            file=sys.stderr,
        )
        os._exit(130)

    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not in the main thread: whoever runs us there handles interrupts
        return


def stop(message: str, hint: str) -> NoReturn:
    """One sentence and what to do, on stderr, status 2."""
    lines = [f"error: {message}", *([f"hint: {hint}"] if hint else [])]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    raise SystemExit(2)
