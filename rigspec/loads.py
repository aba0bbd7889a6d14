"""Load on request (`verify --load`, `--weights`, `burn`), and what it leaves in the repo.

Imports are inside the functions, as in `rigspec.cli`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rigspec.asked import Whole, carried, checked, planned, stop, want_colour

if TYPE_CHECKING:
    from rigspec.observed.load import LoadReading
    from rigspec.observed.record import Reading
    from rigspec.spec.rig import Rig
    from rigspec.verify.observation import Observation

LOAD_VARIABLE = "RIGSPEC_LOAD"
"""Environment variable: what deploys/load.py is to do."""


def loaded(rig: Rig, file: str, wish: str, *, stop_services: bool) -> str:
    """Make the load, look at the host afterwards: the text of the saved observation."""
    from rigspec.verify.observation_file import OUT_VARIABLE

    words = f"{wish} --stop-services" if stop_services else wish
    return carried(rig, file, "load.py", OUT_VARIABLE, {LOAD_VARIABLE: words}, talk=True)


def failed_load(run: Reading[LoadReading]) -> int:
    """3 where the load that was just wished for is unread, or has worked on no card; else 0.

    For later looks the same run is a warning: a rig is not worse for it.
    """
    from rigspec.observed.record import Unknown

    return 3 if isinstance(run, Unknown) or run.failed else 0


def remember_faults(rig: Rig, file: str, seen: Observation) -> str:
    """Write or remove `NAME.fabric.json` beside the spec; what was done, empty for nothing.

    Not touched while the same faults of the same cards are in it: its text is part of the plan, and
    a new date alone must restart no service.
    """
    from rigspec.observed.record import Unknown
    from rigspec.spec.faults import faults_file, faults_text, load_faults
    from rigspec.verify.faults import faults_of, is_whole, same

    plan, path = planned(rig, file), faults_file(Path(file))
    if isinstance(seen.fabric, Unknown) or seen.fabric.simulated:
        return ""
    before, now = load_faults(Path(file), rig.name), faults_of(plan, seen.fabric)
    if same(before, now):
        return ""
    if now is not None:
        path.write_text(faults_text(now), encoding="utf-8")
        return (
            f"{path}: written; the plan now turns peer-to-peer copies off where it must: "
            "commit it and deploy"
        )
    if not is_whole(plan, seen.fabric):
        return f"{path}: kept, because not everything could be measured"
    path.unlink()
    return f"{path}: removed, the faults in it are cured: commit that and deploy"


@click.command()
@click.argument("file", type=click.Path(path_type=str))
@click.option("--minutes", type=Whole(1, 1440), required=True, help="How long, at most a day.")
@click.option("--stop-services", is_flag=True, help="Stop servers for it, start them afterwards.")
@click.option("--all", "every_row", is_flag=True, help="Show also what passed, row by row.")
def burn(file: str, minutes: int, stop_services: bool, every_row: bool) -> None:
    """Heat the cards, with a temperature stop, and prove that they stay right and fast.

    Ends with 0 all in order, 1 not, 2 spec or usage, 3 could not measure.
    """
    from rigspec.errors import RigspecError
    from rigspec.report import verdicts as report
    from rigspec.verify.load import verify_load
    from rigspec.verify.observation_file import observation_from_json
    from rigspec.verify.rig import marked
    from rigspec.verify.verdict import exit_code

    rig = checked(file)
    try:
        text = loaded(rig, file, f"burn {minutes}", stop_services=stop_services)
        seen = observation_from_json(text).observation
        rows = marked(verify_load(planned(rig, file), seen.burn, "burn"), seen)
    except RigspecError as problem:
        stop(problem)
    shown = report.as_table if every_row else report.folded
    click.echo(shown(rows, colour=want_colour()))
    sys.exit(exit_code(rows) or failed_load(seen.burn))
