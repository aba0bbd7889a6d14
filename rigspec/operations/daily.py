"""The daily stage: script, expectations and timer, so that the host looks at itself."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.stage import Stage
from rigspec.operations.files import differing, write
from rigspec.operations.shell import UNREADABLE, refuse
from rigspec.operations.units import UNIT_FOLDER, start, unit_changes
from rigspec.plan.sections import DailyPlan


@operation()
def watched(*, plan: DailyPlan) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The timer waits, on its current file; the script reads its expectations at each run."""
    seen = host.get_fact(Stage, paths=tuple(file.dest for file in plan.files), units=plan.units)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    wrong = differing(plan.files, seen.files)
    if wrong:
        yield write(wrong)
    steps = list(unit_changes(plan.units, seen.units, wrong))
    yield from steps
    fresh = {file.dest for file in wrong}
    for unit in plan.units:
        # a waiting timer keeps its old times after a reload of the manager
        if unit in seen.units and seen.units[unit].is_active and f"{UNIT_FOLDER}{unit}" in fresh:
            yield start(unit, "restart")
    if not steps and not wrong:
        host.noop("the host compares itself with its plan once a day")
