"""Pairs of cards: what was sent arrives, from card to card, as fast as the links between allow.

A grant of the driver is no proof: copies were seen that were fast and wrong, that moved nothing, or
that never ended, each with every capability query saying yes.
"""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pairs import HANG, HOST, MEASURED, FabricReading, PairReading
from rigspec.observed.record import Reading, Unknown
from rigspec.plan.expected import PairPlan
from rigspec.plan.sections import Plan
from rigspec.sizing.fabric import SHARE
from rigspec.verify.advice import FABRIC_AGAIN
from rigspec.verify.measured import (
    METHOD,
    NOT_MEASURED,
    Fault,
    gb_s,
    is_below,
    limit,
    missing,
    weigh,
)
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

LOOK_AT_LINK = (
    "look at: width and generation of both cards under load, ACS on the bridges between "
    "(rigspec verify), cables and risers, IOMMU mode"
)


def verify_pairs(
    plan: Plan, seen: Observation, baseline: FabricReading | None = None
) -> Iterator[Verdict]:
    """One row per pair, both directions in it; one row when there is nothing to say."""
    members = [gpu.member for gpu in plan.preflight.gpus]
    general = Check(
        "fabric.pairs", "pairs of cards", METHOD, "values arrive, as fast as the links allow"
    )
    if len(members) < 2:
        yield general.not_applicable("one card: there is no pair")
        return
    if not plan.fabric.measured_in and seen.fabric in NOT_MEASURED:
        yield general.not_applicable("no service has an image with torch, nvbandwidth is not there")
        return
    reading = missing(general, seen)
    if isinstance(reading, Verdict):
        yield reading
        return
    if not reading.pairs:
        yield general.unknown("no pair was measured", FABRIC_AGAIN)
        return
    planned = {frozenset((pair.first, pair.second)): pair for pair in plan.fabric.pairs}
    for n, first in enumerate(members):
        for second in members[n + 1 :]:
            wanted = planned.get(frozenset((first, second)))
            yield verify_pair(plan, (first, second), wanted, reading, baseline)


def verify_pair(
    plan: Plan,
    members: tuple[str, str],
    wanted: PairPlan | None,
    reading: FabricReading,
    baseline: FabricReading | None = None,
) -> Verdict:
    """One pair: the worst of its two directions."""
    first, second = members
    check = Check(
        f"fabric.pair.{first}-{second}",
        f"{first} and {second}",
        f"{reading.tool}, {reading.taken_at}",
        _expected(plan, wanted),
    )
    ways = ways_of(reading, members)
    if not ways:
        return check.unknown("this pair was not measured", FABRIC_AGAIN)
    for way in ways:
        fault = fault_of(plan, wanted, way, accepted(baseline, reading, way))
        if fault is not None:
            return weigh(check, plan, members, fault)
    broken = next((way for way in ways if way.ended != MEASURED), None)
    if broken is not None:
        return check.unknown(
            Unknown("the measurement ended in an error", broken.error), FABRIC_AGAIN
        )
    if any(isinstance(way.values_ok, Unknown) for way in ways):
        return check.unknown("values were not checked to the end", FABRIC_AGAIN)
    return check.passed(_said(ways))


def ways_of(reading: FabricReading, members: tuple[str, str]) -> tuple[PairReading, ...]:
    """The measured directions of a pair."""
    uuids = {card.member: card.uuid for card in reading.cards}
    one, other = uuids.get(members[0], ""), uuids.get(members[1], "")
    both = (reading.pair(one, other), reading.pair(other, one))
    return tuple(way for way in both if way is not None)


def accepted(
    baseline: FabricReading | None, reading: FabricReading, way: PairReading
) -> PairReading | None:
    """The same direction in an accepted measurement of the same cards, by member."""
    if baseline is None or baseline.simulated != reading.simulated:
        return None
    uuids = {card.member: card.uuid for card in baseline.cards}
    ends = (reading.member(way.source), reading.member(way.target))
    return baseline.pair(uuids.get(ends[0], ""), uuids.get(ends[1], ""))


def fault_of(
    plan: Plan, wanted: PairPlan | None, way: PairReading, before: PairReading | None = None
) -> Fault | None:
    """What is wrong with one direction; None when nothing is known to be."""
    if way.ended == HANG:
        return Fault("hang", way.error, "a copy that never ends locks the engine up without a word")
    if way.moved is False:
        return Fault(
            "moves nothing",
            _said((way,)),
            "the copy ended without error, and the target still held what it held before",
        )
    if way.values_ok is False:
        return Fault("wrong data", _wrong(way), "what arrived is not what was sent")
    return _slow(plan, wanted, way, before)


def _wrong(way: PairReading) -> str:
    share = "" if isinstance(way.wrong_share, Unknown) else f"{100 * way.wrong_share:.2g} % wrong, "
    return f"{share}{_said((way,))}"


def _slow(
    plan: Plan, wanted: PairPlan | None, way: PairReading, before: PairReading | None
) -> Fault | None:
    said = _said((way,))
    if plan.fabric.peer and way.path == HOST:
        return Fault(
            "not peer to peer",
            said,
            "the driver grants no peer access, so copies go through the host's memory",
            "look at: nvidia-smi topo -p2p r; Resizable BAR; or set `pcie.peer_to_peer: false`",
        )
    if plan.fabric.peer and is_below(way.one_way_gb_s, _known(way.staged_gb_s)):
        return Fault(
            "slower than through the host",
            f"{said}; through the host on purpose {gb_s(way.staged_gb_s)} GB/s",
            "peer copies are broken, or sent up to the CPU and back",
        )
    one = limit(wanted.one_way_gb_s if wanted else None, before.one_way_gb_s if before else None)
    two = limit(wanted.two_way_gb_s if wanted else None, before.two_way_gb_s if before else None)
    below = [
        f"{name} {gb_s(value)} of at least {floor:.1f} GB/s"
        for name, value, floor in (
            ("one way", way.one_way_gb_s, one),
            ("both ways", way.two_way_gb_s, two),
        )
        if is_below(value, floor)
    ]
    if below:
        return Fault("slow", said, listed(below), LOOK_AT_LINK)
    return None


def _known(value: Reading[float]) -> float | None:
    return None if isinstance(value, Unknown) else value


def _expected(plan: Plan, wanted: PairPlan | None) -> str:
    way = "card to card" if plan.fabric.peer else "through the host"
    if wanted is None:
        return f"values as sent, {way}; not in the declared PCIe tree, so no speed"
    return (
        f"values as sent, {way}, at least {SHARE * wanted.one_way_gb_s:.1f} GB/s one way and "
        f"{SHARE * wanted.two_way_gb_s:.1f} both ways ({wanted.form})"
    )


def _said(ways: tuple[PairReading, ...]) -> str:
    speeds = " and ".join(gb_s(way.one_way_gb_s) for way in ways)
    paths = sorted({p for way in ways if not isinstance(p := way.path, Unknown)})
    latencies = [v for way in ways if not isinstance(v := way.latency_us, Unknown)]
    worst = [v for way in ways if not isinstance(v := way.worst_latency_us, Unknown)]
    slow = f", {max(latencies):.1f} µs (worst {max(worst):.0f})" if latencies and worst else ""
    path = f", {' and '.join(paths)}" if paths else ""
    return f"{speeds} GB/s, both ways {gb_s(ways[0].two_way_gb_s)}{slow}{path}"
