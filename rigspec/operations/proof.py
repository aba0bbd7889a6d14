"""The accepted proof on the host, and the pace of its servers; both only when asked for."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.errors import RigspecError
from rigspec.facts.base import Quiet
from rigspec.facts.files import Files
from rigspec.facts.pace import Pace
from rigspec.observed.pace import PaceRun
from rigspec.observed.record import Reading, Unknown
from rigspec.operations.answering import wait_until_answers
from rigspec.operations.files import is_as_planned, write
from rigspec.operations.shell import UNREADABLE, is_executing, refuse
from rigspec.operations.units import start
from rigspec.plan.asking import url_of
from rigspec.plan.rig import digest
from rigspec.plan.sections import Plan, RenderedFile, ServicePlan
from rigspec.verify.pace import Measured, measured_to_json
from rigspec.verify.proof import PROOF_FILE
from rigspec.verify.proof_file import proof_from_json
from rigspec.verify.variables import PACE_OUT, PACE_STARTS, PROOF_IN, PROOF_OUT

Commands = Generator[StringCommand | FunctionCommand, None, None]
Runs = Reading[tuple[PaceRun, ...]]


@operation()
def proof_kept(*, plan: Plan) -> Commands:
    """The host has the proof that RIGSPEC_PROOF names, as a file of root's."""
    try:
        text = Path(os.environ.get(PROOF_IN, "")).read_text(encoding="utf-8")
        proof_from_json(text, plan.rig)
    except (OSError, RigspecError) as problem:
        yield refuse(f"no proof to give ({PROOF_IN}): {problem}")
        return
    file = RenderedFile(PROOF_FILE, text, "rigspec accept")
    seen = host.get_fact(Files, paths=(PROOF_FILE,))
    if seen is None:
        yield refuse(UNREADABLE)
        return
    if is_as_planned(file, seen):
        host.noop("the host has this proof")
    else:
        yield write((file,))
    yield FunctionCommand(_say_done, (), {})


def _say_done(state: State, host: Host) -> bool:
    if os.environ.get(PROOF_OUT):
        Path(os.environ[PROOF_OUT]).write_text(PROOF_FILE, encoding="utf-8")
    return True


@operation()
def paced(*, plan: Plan) -> Commands:
    """Every server that runs by plan is measured, RIGSPEC_PACE_STARTS times after a new start."""
    if not is_executing():
        host.noop("measured when the stages have run")
        return
    starts = int(os.environ.get(PACE_STARTS, "0"))
    found: dict[str, list[Runs]] = {}
    for service in plan.services:
        for _ in range(max(1, starts) if service.at_boot else 0):
            if starts:
                yield start(service.unit, "restart")
                limit = float(service.start_timeout_s)
                yield FunctionCommand(
                    wait_until_answers, (service.unit, url_of(service), limit), {}
                )
            found.setdefault(service.name, []).append(_measure(plan, service))
    _save(plan, {name: tuple(runs) for name, runs in found.items()})
    if not starts:
        host.noop(f"{len(found)} servers measured")


def _measure(plan: Plan, service: ServicePlan) -> Runs:
    asked = Quiet((service,))
    runs: Runs | None = host.get_fact(Pace, services=asked, limit_s=plan.verify.timeout_s)
    return Unknown("the host could not be asked") if runs is None else runs


def _save(plan: Plan, services: Mapping[str, tuple[Runs, ...]]) -> None:
    if not os.environ.get(PACE_OUT):
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = measured_to_json(Measured(plan.rig, digest(plan), now, services))
    Path(os.environ[PACE_OUT]).write_text(text, encoding="utf-8")
