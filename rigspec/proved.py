"""The verb `verify`: a look at the host, or a saved one, judged by the plan; its reports.

Imports are inside the functions, as in `rigspec.cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from typing_extensions import override

from rigspec import accepted
from rigspec.asked import checked, looked, planned, stop, want_colour
from rigspec.loads import failed_load, loaded, remember_faults

if TYPE_CHECKING:
    from rigspec.report.judged import Judged
    from rigspec.spec.rig import Rig
    from rigspec.verify.observation_file import SavedObservation
    from rigspec.verify.verdict import Verdict


class _ReportFile(click.File):
    """A file to write, or `-`; a place where none can be is a usage error before anything runs."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        place = Path(value)
        if value != "-" and place.is_dir():
            self.fail(f"{value} is a folder: name a file in it", param, ctx)
        if value != "-" and not os.access(place.parent, os.W_OK):
            there = "cannot be written to" if place.parent.is_dir() else "does not exist"
            self.fail(f"the folder {place.parent} {there}", param, ctx)
        return super().convert(value, param, ctx)


_REPORT = _ReportFile("w", encoding="utf-8", lazy=True, atomic=True)
"""Written beside and renamed: a collector may read at any moment; `-` is stdout."""


_REPORTS = (
    click.option("--save", type=_REPORT, help="Save what was read, to be judged again."),
    click.option("--json", type=_REPORT, help="Every check as data."),
    click.option("--junit", type=_REPORT, help="JUnit XML, one case per check."),
    click.option("--prometheus", type=_REPORT, help="For node exporter's textfile collector."),
    click.option("--markdown", type=_REPORT, help="For an issue: redacted."),
    click.option("--html", type=_REPORT, help="One page: PCIe tree, watts, checks' evidence."),
)


_OTHER_PLAN = (
    "note: the plan was another when this look was taken, as it always is on a virtual rig: rows "
    "about files and packages may differ by that alone"
)


def report_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Where each report goes, as options of a verb that looks at a host."""
    for option in reversed(_REPORTS):
        verb = option(verb)
    return verb


@click.command()
@click.argument("file", type=click.Path(path_type=str))
@click.option("--observed", type=click.File(encoding="utf-8"), help="Judge a saved look.")
@click.option("--load", is_flag=True, help="First measure links and cards under load (minutes).")
@click.option("--stop-services", is_flag=True, help="With --load: stop servers, then start them.")
@click.option("--weights", is_flag=True, help="First read all weights again and compare.")
@report_options
@click.option("--pace", is_flag=True, help="Make load: tokens per second against the baseline.")
@click.option("--redact/--no-redact", default=None, help="Of Markdown (default) and HTML.")
@click.option("--all", "every_row", is_flag=True, help="Show also what passed, row by row.")
def verify(
    file: str,
    observed: IO[str] | None,
    pace: bool,
    load: bool,
    stop_services: bool,
    weights: bool,
    redact: bool | None,
    every_row: bool,
    **to: IO[str] | None,
) -> None:
    """Prove that a host is as planned; only --load, --weights and --pace make load.

    Reports go to a FILE or to `-`. Ends with 0 as planned, 1 not as planned, 2 spec or usage,
    3 could not measure.
    """
    from rigspec.errors import RigspecError
    from rigspec.report import verdicts as report
    from rigspec.verify.observation_file import observation_from_json

    _refuse_beside(bool(observed), load=load, pace=pace, stop=stop_services, weights=weights)
    rig = checked(file)
    if weights and not any(model.hub for model in rig.models.values()):
        raise click.UsageError(
            f"--weights has nothing to compare with: no model in {file} comes from a hub"
        )
    files = {name: file for name, file in to.items() if file is not None}
    try:
        text = observed.read() if observed else _look(rig, file, load, stop_services, weights)
        saved = observation_from_json(text)
        said = remember_faults(rig, file, saved.observation) if load else ""
        more = accepted.pace_rows(rig, file) if pace else ()
        judged = reported(rig, file, saved, files, redact=redact, more=more)
    except RigspecError as problem:
        stop(problem)
    shown = report.as_table if every_row else report.folded
    on_stdout = any(file.name == "-" for file in files.values())
    if observed and judged.plan_changed:
        click.echo(_OTHER_PLAN, err=True)
    click.echo(shown(judged.verdicts, colour=want_colour()), err=on_stdout)
    click.echo(said, err=True, nl=bool(said))
    if judged.exit_code and not observed:
        click.echo(f"likely causes, from its logs, too: rigspec doctor {file}", err=True)
    sys.exit(judged.exit_code or (failed_load(saved.observation.load) if load else 0))


def reported(
    rig: Rig,
    file: str,
    saved: SavedObservation,
    files: Mapping[str, IO[str]],
    *,
    redact: bool | None = None,
    more: tuple[Verdict, ...] = (),
) -> Judged:
    """A look judged by the plan of its rig, and written to each file in the file's format."""
    from rigspec.report.estimates import estimates
    from rigspec.report.judged import judge
    from rigspec.report.verdicts_write import write_reports
    from rigspec.rules.context import saved_context

    expected = estimates(rig, saved_context(rig, Path(file)))
    judged = judge(planned(rig, file), saved, expected, more)
    _keep_private(files.get("save"))
    write_reports(judged, saved, files, rig.host, redact=redact)
    return judged


def _keep_private(save: IO[str] | None) -> None:
    """A look names serials: its file is the owner's alone."""
    if save is not None and save.name != "-":
        Path(save.name).touch(mode=0o600)


def _refuse_beside(observed: bool, *, load: bool, pace: bool, stop: bool, weights: bool) -> None:
    """Options that say nothing together."""
    if observed and (pace or load or weights):
        raise click.UsageError("--load, --weights, --pace ask a host; a saved look has no host")
    if stop and not load:
        raise click.UsageError("--stop-services goes with --load")


def _look(rig: Rig, file: str, load: bool, stop_services: bool, weights: bool) -> str:
    """What is read off the host, after load where it was asked for."""
    after_weights = loaded(rig, file, "weights", stop_services=False) if weights else ""
    if load:
        return loaded(rig, file, "fabric", stop_services=stop_services)
    return after_weights or looked(rig, file)
