"""Where a host is not as the plan that it carries: units, caps, words of the kernel line, cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rigspec.discover.capture import Capture, Place, masked
from rigspec.discover.cards import Card, cards_of
from rigspec.discover.seen import Seen
from rigspec.doctor.planned import Member, members_of, planned_members, rig_of
from rigspec.observed.record import known
from rigspec.observed.storage import Space
from rigspec.observed.units import Unit
from rigspec.plan.kernel import plan_kernel
from rigspec.plan.pcie import ACS_UNIT
from rigspec.plan.power import POWER_UNIT
from rigspec.plan.preflight import INSTALLED_FREE_GIB
from rigspec.plan.ready import READY_UNIT
from rigspec.plan.service import Naming
from rigspec.spec.rig import Rig
from rigspec.units import GIB

_RESTARTS = 3
"""So often since boot: no owner restarts a server by hand and no upgrade does."""
_UP = frozenset({"active", "activating"})


def _said(capture: Capture, text: str, *needles: str) -> Iterator[Place]:
    """What a reading says, at the line it was read from."""
    found = capture.find(*needles)
    if found:
        yield replace(found, text=masked(text))


def _wanted_units(rig: Rig, units: Mapping[str, Unit]) -> dict[str, bool]:
    """Units of the plan, and whether each is to run: a rival of another is started by hand, and
    while it is up the other stands still."""
    acs = {ACS_UNIT: True} if rig.pcie.acs == "off_on_gpu_paths" else {}
    engine = {"docker.service": True} if rig.containers.engine == "docker" else {}
    servers = {name: Naming(name).unit for name in rig.services}
    displaced = {
        name
        for rival, service in rig.services.items()
        if servers[rival] in units and units[servers[rival]].active_state in _UP
        for name in service.instead_of
    }
    runs = {
        servers[name]: not service.instead_of and name not in displaced
        for name, service in rig.services.items()
    }
    return {**acs, **engine, READY_UNIT: True, **runs}


def _units(seen: Seen) -> Iterator[tuple[Unit, bool]]:
    rig, units = rig_of(seen), known(seen.units) or {}
    wanted = _wanted_units(rig, units) if rig else {}
    if _caps_hold(seen):  # else the unit's end is told by what it did not set (D1)
        wanted[POWER_UNIT] = True
    for name, runs in wanted.items():
        if name in units:
            yield units[name], runs


def _loops(unit: Unit) -> bool:
    return known(unit.sub_state) == "auto-restart" or (known(unit.n_restarts) or 0) >= _RESTARTS


def unit_down(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A planned unit that failed, was stopped, or is not there."""
    for unit, runs in _units(seen):
        state = known(unit.active_state)
        if state == "failed" or (runs and state == "inactive"):
            why = known(unit.result) or "?"
            is_there = "" if unit.exists else ", systemd has no such unit"
            said = f"{unit.id} is {state} (result: {why}){is_there}"
            yield from _said(capture, said, f"Id={unit.id}")


def unit_loops(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A planned unit that ended and waits for its next start, or was started again and again."""
    for unit, _ in _units(seen):
        if _loops(unit) and known(unit.active_state) != "failed":
            said = f"{unit.id} {_restarts(unit)}, now {unit.sub_state}"
            yield from _said(capture, said, f"Id={unit.id}")


def _restarts(unit: Unit) -> str:
    """How often systemd started it again; a unit that ended for the first time waits for it."""
    count = known(unit.n_restarts)
    if not count:
        return "ended"
    return f"was restarted {count} time{'s' if count != 1 else ''} since boot"


def _caps(seen: Seen) -> Iterator[tuple[Card, float, frozenset[float]]]:
    """Cards whose cap was read, with the caps of the members which each may be."""
    for card in cards_of(seen):
        now = known(card.reading.power_limit_w) if card.reading else None
        wanted = {_cap(member, card) for member in members_of(seen, card)}
        if now is not None and wanted and None not in wanted:
            yield card, now, frozenset(watts for watts in wanted if watts is not None)


def _differs(now: float, wanted: frozenset[float]) -> bool:
    return all(abs(now - watts) > 1 for watts in wanted)


def _caps_hold(seen: Seen) -> bool:
    """Whether caps were read, and each is the planned one."""
    caps = list(_caps(seen))
    return bool(caps) and not any(_differs(now, wanted) for _, now, wanted in caps)


def cap_unit_failed(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The unit that sets caps is not active, and what was read does not say that they hold."""
    unit = (known(seen.units) or {}).get(POWER_UNIT)
    if unit and unit.exists and not unit.active and not _caps_hold(seen):
        yield from _said(capture, f"{POWER_UNIT} is {unit.active_state}", f"Id={POWER_UNIT}")


def cap_differs(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A cap in force that no member which the card may be has in the plan."""
    for card, now, wanted in _caps(seen):
        if _differs(now, wanted):
            shown = " or ".join(f"{watts:g}" for watts in sorted(wanted))
            said = f"{card.address}: the cap is {now:g} W, the plan has {shown} W"
            uuid = known(card.reading.uuid) if card.reading else None
            yield from _said(capture, said, uuid or card.address.removeprefix("0000:"))


def _cap(member: Member, card: Card) -> float | None:
    """Watts of the plan; without a cap the card's own default, None where that was not read."""
    default = known(card.reading.power_default_w) if card.reading else None
    return member.group.power_limit_w or default


def kernel_line_differs(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A planned word that the running line lacks, or one that undoes the plan."""
    rig, line = rig_of(seen), known(seen.cmdline)
    if rig is None or line is None:
        return
    plan = plan_kernel(rig)
    for word in (word for word in plan.should_not_exist if word in line):
        said = f"`{word}` is on the running line, and undoes what is planned"
        yield from _said(capture, said, "rig_cmdline=")
    for word in (word for word in plan.arguments if word not in line):
        said = f"`{word}` is planned, but not on the running line"
        yield from _said(capture, said, "rig_cmdline=")


def disk_full(capture: Capture, seen: Seen) -> Iterator[Place]:
    """/, or a mount that the plan has, with less room than `rigspec verify` wants on /."""
    rig, space = rig_of(seen), known(seen.storage.space) or ()
    places = {"/", *(storage.path for storage in rig.storage.values())} if rig else {"/"}
    for one in space:
        free = known(one.available_bytes)
        if one.target in places and free is not None and free < INSTALLED_FREE_GIB * GIB:
            said = f"{one.target} has {free >> 20} MiB free, on {one.source}"
            row = next((r for r in seen.sections.get("df", ()) if _is_row(r, one)), one.source)
            yield from _said(capture, said, row)


def _is_row(line: str, space: Space) -> bool:
    return line.startswith(f"{space.source} ") and line.endswith(f" {space.target}")


def cards_missing(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Fewer GPUs on the bus than the plan has."""
    rig, tree = rig_of(seen), known(seen.tree)
    wanted = len(planned_members(rig)) if rig else 0
    if tree is not None and len(tree.gpus) < wanted:
        said = f"the plan has {wanted} GPUs, PCI shows {len(tree.gpus)}"
        yield from _said(capture, said, '"spec": "')
