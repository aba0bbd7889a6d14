"""Our units: enabled for the next boot, and up now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.observed.record import Unknown, known
from rigspec.observed.units import Unit
from rigspec.plan.relied import planned_units
from rigspec.plan.render import UNITS
from rigspec.plan.rig import all_files
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.units import count
from rigspec.verify.advice import DEPLOY, look_at
from rigspec.verify.exposure import free_port, port_taken
from rigspec.verify.observation import Observation
from rigspec.verify.rivals import ending, loops, swapped, up_s
from rigspec.verify.verdict import Check, Outcome, Verdict, listed

OURS = "rigspec-"
"""Units of this name are written by us alone; nobody else may change them unnoticed."""
CALM_S = 24 * 3600
"""systemd counts restarts until the next boot; after a day without one nobody needs to look."""


def verify_units(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about units; services that do not run by plan are not applicable."""
    for unit in planned_units(plan):
        yield up(plan, unit, seen)
    swaps = swapped(plan.services, seen)
    for service in plan.services:
        check = Check(f"units.{service.unit}", service.unit, "systemctl show", "enabled, active")
        if service.unit in swaps:
            yield check.not_applicable(swaps[service.unit].said)
        elif service.unit in ending(swaps):
            yield keeps_ending(service, seen)
        elif not service.at_boot and not is_active(seen, service.unit):
            yield check.not_applicable("started by hand: `systemctl start` swaps it in")
        elif service.at_boot:
            yield served(plan, service, seen)


def keeps_ending(plan: ServicePlan, seen: Observation) -> Verdict:
    """A server that was swapped in by hand and does not stay up: nothing serves in its place."""
    check = Check(f"units.{plan.unit}", plan.unit, "systemctl show", "active, as it was swapped in")
    unit = None if isinstance(seen.units, Unknown) else seen.units.get(plan.unit)
    if unit is None:
        return check.unknown("systemd does not show it")
    restarts = count(known(unit.n_restarts) or 0, "restart")
    why = f"it was started in place of {listed(plan.instead_of)} and keeps ending"
    do = f"journalctl -u {plan.unit.removesuffix('.service')}"
    if port_taken(plan, seen):
        why, do = f"{why}: {_holder(plan)}", free_port(plan)
    return check.failed(
        f"{known(unit.active_state) or '?'}, {restarts}",
        why,
        f"{do}; what it replaced does not come back by itself: "
        f"systemctl start {OURS}{plan.instead_of[0]}",
    )


def served(plan: Plan, service: ServicePlan, seen: Observation) -> Verdict:
    """A server's unit; where another program has its port, that is what keeps it down."""
    row = up(plan, service.unit, seen)
    found = why_not_up(service, seen)
    if found is None:
        return row
    return replace(row, outcome=Outcome.FAIL, reason=found[0], next_action=found[1])


def why_not_up(plan: ServicePlan, seen: Observation) -> tuple[str, str] | None:
    """What keeps a server from staying up, and what to do, where more than its state tells it."""
    unit = (known(seen.units) or {}).get(plan.unit)
    if unit is None or not unit.exists:
        return None
    if port_taken(plan, seen):
        return _holder(plan), free_port(plan)
    if loops(plan, seen):
        times = count(known(unit.n_restarts) or 0, "time")
        return f"it ends and is started again, {times} so far", look_at(plan.unit)
    return None


def _holder(plan: ServicePlan) -> str:
    return f"another program holds port {plan.listen_port}, which {plan.name} wants to open"


def is_active(seen: Observation, unit: str) -> bool:
    """Whether a unit is up; unread counts as not."""
    found = None if isinstance(seen.units, Unknown) else seen.units.get(unit)
    return found is not None and found.active


def up(plan: Plan, name: str, seen: Observation) -> Verdict:
    """One unit: enabled, active, and systemd has read its current file."""
    check = Check(f"units.{name}", name, "systemctl show", "enabled, active")
    if isinstance(seen.units, Unknown):
        return check.unknown(seen.units)
    unit = seen.units.get(name)
    if unit is None:
        return check.unknown("systemd does not show it")
    cure = bring_up(name, unit, written=is_written(plan, name))
    if not unit.exists:
        return check.failed("no such unit", "its file is missing or masked", cure)
    states = [known(unit.unit_file_state) or "?", known(unit.active_state) or "?"]
    found = ", ".join(states)
    look = look_at(name)
    if not unit.active:
        return check.failed(found, _why_down(unit), cure)
    if not unit.enabled:
        return check.failed(found, "it would not come back after a boot", cure)
    drop_ins = unit.properties.get("DropInPaths", "")
    if drop_ins and name.startswith(OURS):
        return check.failed(
            f"{found}, changed by {drop_ins}",
            "a drop-in that is not ours changes this unit",
            f"systemctl cat {name}; say it in the spec, or rm the drop-in and daemon-reload",
        )
    if unit.need_daemon_reload is True:
        return check.warned(found, "its file has changed since systemd read it", "run the deploy")
    restarts = known(unit.n_restarts) or 0
    if not restarts:
        return check.passed(found)
    times = count(restarts, "restart")
    if up_s(unit, seen) > CALM_S:
        return check.passed(f"{found}; {times}, the last more than a day ago")
    return check.warned(f"{found}, {times}", "it has ended before", look)


def is_written(plan: Plan, name: str) -> bool:
    """Whether the plan writes the unit's file, or a package brings it."""
    return any(file.dest == f"{UNITS}/{name}" for file in all_files(plan))


def bring_up(name: str, unit: Unit, *, written: bool) -> str:
    """What makes a unit run and stay: a command where nothing is wrong with it but that.

    `written`: the plan writes its file, in whose place the mask lies: unmasked, it is gone.
    """
    if unit.load_state == "masked" and written:
        return f"systemctl unmask {name}; then {DEPLOY}"
    if unit.load_state == "masked":
        return f"systemctl unmask {name}; systemctl start {name}"
    if not unit.exists:
        return DEPLOY
    if unit.active:
        return f"systemctl enable {name}"
    was_stopped = unit.active_state == "inactive" and unit.result in {"", "success"}
    if not was_stopped:
        return look_at(name)
    start = f"systemctl start {name}" if unit.enabled else f"systemctl enable --now {name}"
    return f"{start}; {look_at(name)}"


def _why_down(unit: Unit) -> str:
    """systemd's word for it; one that ends and is begun again is `activating` in between."""
    result = known(unit.result)
    ended = f"it ended with `{result}`" if result not in {None, "", "success"} else ""
    if unit.active_state != "activating":
        return ended or "stopped"
    restarts = known(unit.n_restarts) or 0
    again = f"{ended or 'it ended'} and is started again, {count(restarts, 'time')} so far"
    return again if restarts else "it is still starting"
