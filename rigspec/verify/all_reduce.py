"""The all-reduce of a service's cards: right on every rank, as fast as the links, no straggler."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from rigspec.observed.pairs import HANG, MEASURED, AllReduceReading, FabricReading
from rigspec.observed.record import Unknown
from rigspec.plan.expected import AllReducePlan
from rigspec.plan.sections import Plan
from rigspec.sizing.fabric import SHARE
from rigspec.verify.advice import FABRIC_AGAIN
from rigspec.verify.measured import METHOD, Fault, gb_s, is_below, limit, missing, weigh
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

SLOW_RANK = 1.25
"""Own work of one rank against the median of all: equal cards differ by 2–5 %."""


def verify_all_reduce(
    plan: Plan, seen: Observation, baseline: FabricReading | None = None
) -> Iterator[Verdict]:
    """One row per service that reduces over several cards."""
    for group in plan.fabric.all_reduce:
        peer = uses_peers(plan, group)
        check = Check(
            f"fabric.all-reduce.{group.service}", f"{group.service}: all-reduce", METHOD,
            _expected(group, peer),
        )  # fmt: skip
        reading = missing(check, seen)
        if isinstance(reading, Verdict):
            yield reading
            continue
        found = reading_of(reading, group, peer)
        if found is None:
            yield check.unknown("its all-reduce was not measured", FABRIC_AGAIN)
            continue
        before = reading_of(baseline, group, peer) if baseline else None
        yield verify_group(check, plan, group, reading, found, before)


def uses_peers(plan: Plan, group: AllReducePlan) -> bool:
    """Whether the service's collectives go from card to card by plan."""
    off = any(s.peers_off for s in plan.services if s.name == group.service)
    return plan.fabric.peer and not off


def reading_of(reading: FabricReading, group: AllReducePlan, peer: bool) -> AllReduceReading | None:
    """The run that is like the service: peer to peer, or through the host where that alone is."""
    own = [found for found in reading.all_reduce if found.service == group.service]
    return next((found for found in own if found.peer_to_peer is peer), own[-1] if own else None)


def _expected(group: AllReducePlan, peer: bool) -> str:
    ranks = f"exact sums on {len(group.members)} ranks"
    if group.busbw_gb_s is None or not peer:
        return ranks
    return f"{ranks}, bus bandwidth at least {SHARE * group.busbw_gb_s:.1f} GB/s"


def verify_group(
    check: Check,
    plan: Plan,
    group: AllReducePlan,
    reading: FabricReading,
    found: AllReduceReading,
    before: AllReduceReading | None = None,
) -> Verdict:
    """One service."""
    fault = fault_of(found, reading)
    if fault is not None and found.peer_to_peer:
        return weigh(check, plan, group.members, fault)
    if fault is not None:
        reason = f"{fault.verdict}, also through the host: {fault.reason}"
        return check.failed(fault.found, reason, "look at: memory, IOMMU mode, driver; dmesg")
    if found.ended != MEASURED:
        return check.unknown(
            Unknown("the measurement ended in an error", found.error), FABRIC_AGAIN
        )
    if isinstance(found.values_ok, Unknown) or isinstance(found.busbw_gb_s, Unknown):
        return check.unknown("it was not measured to the end", FABRIC_AGAIN)
    return _speed(check, plan, group, reading, found, before)


def fault_of(found: AllReduceReading, reading: FabricReading) -> Fault | None:
    """What is wrong with the values."""
    if found.ended == HANG:
        return Fault("hang", found.error, "the collective never ends: engines stop at NCCL's start")
    if found.values_ok is False:
        ranks = listed(_rank(found, reading, rank) for rank in found.wrong_ranks)
        return Fault("wrong data", f"wrong sums on {ranks}", "the model would talk nonsense")
    return None


def _rank(found: AllReduceReading, reading: FabricReading, rank: int) -> str:
    card = reading.member(found.gpus[rank]) if rank < len(found.gpus) else "?"
    return f"rank {rank} ({card})"


def _speed(
    check: Check,
    plan: Plan,
    group: AllReducePlan,
    reading: FabricReading,
    found: AllReduceReading,
    before: AllReduceReading | None,
) -> Verdict:
    latency = "" if isinstance(found.latency_us, Unknown) else f", {found.latency_us:.0f} µs small"
    way = "peer to peer" if found.peer_to_peer else "through the host"
    said = f"{gb_s(found.busbw_gb_s)} GB/s bus bandwidth{latency}, {way}, {reading.taken_at}"
    slow = slow_ranks(found)
    if slow:
        return check.failed(
            f"{said}; own work of {listed(_rank(found, reading, rank) for rank in slow)} is slow",
            "all ranks wait for the slowest",
            "look at: its clocks, power cap, temperature and link under load",
        )
    planned = group.busbw_gb_s if uses_peers(plan, group) and found.peer_to_peer else None
    floor = limit(planned, before.busbw_gb_s if before else None)
    if floor is not None and is_below(found.busbw_gb_s, floor):
        return check.failed(
            said,
            f"these links should give {floor:.1f} GB/s",
            "look at: NCCL_DEBUG=INFO in `environment` (which way, how many channels); "
            "NCCL_P2P_LEVEL; ACS; link widths",
        )
    other = next((o for o in reading.all_reduce if o.service == group.service and
                  o.peer_to_peer is not found.peer_to_peer), None)  # fmt: skip
    if other and found.peer_to_peer and is_below(found.busbw_gb_s, _figure(other)):
        return check.warned(
            said,
            f"through the host it is faster: {gb_s(other.busbw_gb_s)} GB/s",
            "try NCCL_P2P_DISABLE=1 in `environment`, and measure the service itself",
        )
    return check.passed(said)


def _figure(found: AllReduceReading) -> float | None:
    return None if isinstance(found.busbw_gb_s, Unknown) else found.busbw_gb_s


def slow_ranks(found: AllReduceReading) -> tuple[int, ...]:
    """Ranks whose own work takes clearly longer than that of the others."""
    if isinstance(found.ready_ms, Unknown) or len(found.ready_ms) < 2:
        return ()
    limits = [
        SLOW_RANK * median(found.ready_ms[:n] + found.ready_ms[n + 1 :])
        for n in range(len(found.ready_ms))
    ]
    return tuple(n for n, ms in enumerate(found.ready_ms) if ms > limits[n])
