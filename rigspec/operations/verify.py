"""The last stage: observe once, judge, print; a host that is not as planned fails."""

from __future__ import annotations

import sys
from collections.abc import Generator

from pyinfra import host as current_host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.facts.observe import Everything, of
from rigspec.operations.shell import UNREADABLE, is_executing, refuse
from rigspec.plan.sections import Plan
from rigspec.report.verdicts import as_table
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Verdict, exit_code


def _print(verdicts: tuple[Verdict, ...], host: str) -> None:
    """The table, on stderr: pyinfra keeps stdout for its own JSON."""
    table = as_table(verdicts, colour=sys.stderr.isatty())
    print(f"\n{host}:\n{table}\n", file=sys.stderr)  # noqa: T201


def _fail(state: State, host: Host, verdicts: tuple[Verdict, ...]) -> bool:
    _print(verdicts, host.name)
    return False


@operation()
def rig_verified(*, plan: Plan) -> Generator[FunctionCommand, None, None]:
    """Every check passes, or does not apply and says why."""
    if not is_executing():
        current_host.noop("verified when the stages have run")
        return
    seen = current_host.get_fact(Everything, plan=of(plan))
    if seen is None:
        yield refuse(UNREADABLE)
        return
    verdicts = verify_rig(plan, seen)
    if exit_code(verdicts):
        yield FunctionCommand(_fail, (verdicts,), {})
        return
    _print(verdicts, current_host.name)
    current_host.noop(f"{len(verdicts)} checks, none failed")
