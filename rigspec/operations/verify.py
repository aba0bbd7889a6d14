"""The last stage: observe once, judge, print; a host that is not as planned fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

from pyinfra import host as current_host
from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.facts.observe import Everything, of, probe_digest
from rigspec.operations.plans import expected_memory
from rigspec.operations.shell import UNREADABLE, is_executing, refuse
from rigspec.plan.rig import digest
from rigspec.plan.sections import Plan
from rigspec.report.verdicts import as_table
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import OUT_VARIABLE, SavedObservation, observation_to_json
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Verdict, exit_code


def _print(verdicts: tuple[Verdict, ...], host: str) -> None:
    """The table, on stderr: pyinfra keeps stdout for its own JSON."""
    # no-color.org; pyinfra has no say in what we print
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    table = as_table(verdicts, colour=colour)
    print(f"\n{host}:\n{table}\n", file=sys.stderr)  # noqa: T201


def _fail(state: State, host: Host, verdicts: tuple[Verdict, ...]) -> bool:
    _print(verdicts, host.name)
    return False


def _save(plan: Plan, seen: Observation) -> None:
    """What was read, for whoever asked for it (`rigspec verify`); it may name serials: owner only.

    A later host overwrites it: ask for one host at a time (`--limit`).
    """
    if not os.environ.get(OUT_VARIABLE):
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    saved = SavedObservation(plan.rig, digest(plan), now, seen, probe_digest(plan))
    text = observation_to_json(saved)
    file = Path(os.environ[OUT_VARIABLE])
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")


def _looked(plan: Plan) -> Observation | None:
    """One look at the host, saved for whoever asked; None when it could not be read."""
    seen = current_host.get_fact(Everything, plan=of(plan))
    if seen is not None:
        _save(plan, seen)
    return seen


@operation()
def rig_observed(*, plan: Plan) -> Generator[FunctionCommand, None, None]:
    """What the host shows now, saved for whoever asked; not judged here."""
    if not is_executing():
        current_host.noop("looked at when the load has ended")
        return
    if _looked(plan) is None:
        yield refuse(UNREADABLE)
        return
    current_host.noop("read")


@operation()
def rig_verified(*, plan: Plan) -> Generator[FunctionCommand, None, None]:
    """Every check passes, or does not apply and says why."""
    if not is_executing():
        current_host.noop("verified when the stages have run")
        return
    seen = _looked(plan)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    verdicts = verify_rig(plan, seen, expected_memory(plan))
    if exit_code(verdicts):
        yield FunctionCommand(_fail, (verdicts,), {})
        return
    _print(verdicts, current_host.name)
    current_host.noop(f"{len(verdicts)} checks, none failed")
