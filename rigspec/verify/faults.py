"""Measured faults that change the plan: from a measurement to the file beside the spec."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pairs import HANG, MEASURED, FabricReading
from rigspec.plan.sections import Plan
from rigspec.spec.faults import FabricFaults, Fault
from rigspec.verify import all_reduce, pairs, patterns
from rigspec.verify import measured as rows

IN_PLAN = frozenset({"wrong data", "moves nothing", "hang", "slower than through the host"})
"""What peer-to-peer copies cause, and turning them off cures."""


def faults_of(plan: Plan, reading: FabricReading) -> FabricFaults | None:
    """Every fault between cards; None when there is none."""
    found = tuple(dict.fromkeys(_faults(plan, reading)))
    if not found:
        return None
    return FabricFaults(
        rig=plan.rig,
        measured_at=reading.taken_at,
        uuids={card.member: card.uuid for card in reading.cards},
        faults=found,
    )


def _faults(plan: Plan, reading: FabricReading) -> Iterator[Fault]:
    members = [gpu.member for gpu in plan.preflight.gpus]
    for n, first in enumerate(members):
        for second in members[n + 1 :]:
            yield from _pair(plan, (first, second), reading)
    for pattern in reading.patterns:
        fault = patterns.fault_of(pattern)
        ends = dict.fromkeys(reading.member(end) for copy in pattern.copies for end in copy)
        if fault:
            yield _as_fault(tuple(ends), fault)
    for group in reading.all_reduce:
        fault = all_reduce.fault_of(group, reading)
        if fault and group.peer_to_peer:
            yield _as_fault(tuple(map(reading.member, group.gpus)), fault)


def _pair(plan: Plan, members: tuple[str, str], reading: FabricReading) -> Iterator[Fault]:
    for way in pairs.ways_of(reading, members):
        fault = pairs.fault_of(plan, None, way)
        if fault and fault.verdict in IN_PLAN:
            yield _as_fault(members, fault)
            return


def _as_fault(members: tuple[str, ...], fault: rows.Fault) -> Fault:
    line = "".join(c if c.isprintable() else " " for c in fault.found)[:300] or fault.verdict
    return Fault.model_validate({"members": members, "verdict": fault.verdict, "found": line})


def is_whole(plan: Plan, reading: FabricReading) -> bool:
    """Whether a measurement without faults may clear older ones: everything was measured."""
    members = [gpu.member for gpu in plan.preflight.gpus]
    wanted = len(members) * (len(members) - 1)
    ends = [way.ended for way in reading.pairs]
    done = all(ended in {MEASURED, HANG} for ended in ends) and len(ends) == wanted
    groups = {group.service for group in plan.fabric.all_reduce}
    reduced = {g.service for g in reading.all_reduce if g.ended in {MEASURED, HANG}}
    return done and groups <= reduced


def same(one: FabricFaults | None, other: FabricFaults | None) -> bool:
    """Whether two lists name the same faults of the same cards, whatever was said and when."""
    if one is None or other is None:
        return one is other
    return one.uuids == other.uuids and _names(one) == _names(other)


def _names(faults: FabricFaults) -> set[tuple[tuple[str, ...], str]]:
    return {(fault.members, fault.verdict) for fault in faults.faults}
