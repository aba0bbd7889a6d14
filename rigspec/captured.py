"""The verbs that read a folder of captured texts: `discover` and `doctor`.

Imports are inside the verbs, as in `rigspec.cli`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from rigspec.errors import RigspecError


@click.command()
@click.option("--from", "folder", type=click.Path(path_type=str), help="Folder of captured texts.")
@click.option("--name", type=str, help="Name of the rig (default: the folder's name).")
@click.option("--print-probe", is_flag=True, help="Print the script that captures a host.")
def discover(folder: str | None, name: str | None, print_probe: bool) -> None:
    """Write a draft spec of a live machine: the draft to stdout, the choices left to stderr."""
    from rigspec.discover.capture import read_capture
    from rigspec.discover.draft import draft_spec, spec_name
    from rigspec.discover.probe import probe_script
    from rigspec.discover.seen import read_seen
    from rigspec.errors import RigspecError
    from rigspec.report import discover as report
    from rigspec.rules.run import check
    from rigspec.spec.load import load_text

    if print_probe:
        click.echo(probe_script(), nl=False)
        return
    if folder is None:
        raise click.UsageError("give `--from FOLDER`, or `--print-probe` to make one")
    try:
        capture = read_capture(folder)
        chosen = spec_name(name or capture.name)
        text = draft_spec(read_seen(capture), chosen)
    except RigspecError as problem:
        _stop(problem)
    loaded = load_text(f"{chosen}.yaml", text)
    findings = (*loaded.findings, *(check(loaded.rig) if loaded.rig else ()))
    click.echo(text, nl=False)
    click.echo(report.as_text(text, findings, loaded.source), err=True)


@click.command()
@click.option(
    "--from", "folder", type=click.Path(path_type=str), required=True, help="Captured texts."
)
@click.option("--json", "as_json", is_flag=True, help="Causes as a JSON list.")
def doctor(folder: str, as_json: bool) -> None:
    """Name likely causes in order, with evidence and cure; 0 none found, 1 some, 2 usage."""
    from rigspec.discover.capture import read_capture
    from rigspec.doctor.diagnose import diagnose, is_cause
    from rigspec.errors import RigspecError
    from rigspec.report import doctor as report

    try:
        found = diagnose(read_capture(folder))
    except RigspecError as problem:
        _stop(problem)
    click.echo(report.as_json(found) if as_json else report.as_text(found))
    sys.exit(1 if any(is_cause(finding) for finding in found) else 0)


def _stop(problem: RigspecError) -> NoReturn:
    """Say what is broken, and what to do, and end with 2."""
    click.echo(f"{problem.message}\nhint: {problem.hint}", err=True)
    sys.exit(2)


VERBS = {"discover": discover, "doctor": doctor}
