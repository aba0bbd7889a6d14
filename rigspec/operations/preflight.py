"""The first stage: refuse before any change what cannot end well, then fetch the small tools."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.observe import Preflight, of
from rigspec.operations.apt import Wanted, changes
from rigspec.operations.secrets import plan_secrets, unmet
from rigspec.operations.shell import UNREADABLE, refuse
from rigspec.plan.sections import Plan
from rigspec.report.verdicts import block
from rigspec.verify.mounts import mounts
from rigspec.verify.rig import verify_preflight
from rigspec.verify.verdict import Outcome


@operation()
def host_as_declared(*, plan: Plan) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The host is what the spec says; only then the tools that later stages call are installed."""
    answer = host.get_fact(Preflight, plan=of(plan))
    if answer is None:
        yield refuse(UNREADABLE)
        return
    seen, apt, files = answer
    # mounts and secrets: not minutes later, at the service that needs them
    rows = (*verify_preflight(plan, seen), *mounts(plan, seen))
    wrong = [block(row) for row in rows if row.outcome is Outcome.FAIL]
    wrong += filter(None, (unmet(secret, files) for secret in plan_secrets(plan)))
    if wrong:
        told = "\n".join(wrong)
        yield refuse(f"{told}\nnothing has been changed on this host")
        return
    steps = list(changes(Wanted(packages=plan.preflight.packages), apt, {}))
    if not steps:
        host.noop("the host is as declared")
    yield from steps
