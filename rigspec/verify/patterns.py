"""Many copies at once, as the PCIe tree suggests them: pairs can be fine, and a switch collapse."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pairs import HANG, MEASURED, FabricReading, PatternReading
from rigspec.observed.record import Unknown
from rigspec.plan.expected import PatternPlan
from rigspec.plan.sections import Plan
from rigspec.sizing.fabric import SHARE
from rigspec.verify.advice import FABRIC_AGAIN
from rigspec.verify.measured import METHOD, Fault, limit, missing, weigh
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed


def verify_patterns(
    plan: Plan, seen: Observation, baseline: FabricReading | None = None
) -> Iterator[Verdict]:
    """One row per planned pattern."""
    for pattern in plan.fabric.patterns:
        check = Check(
            f"fabric.pattern.{pattern.name}", f"copies at once: {pattern.name}", METHOD,
            _expected(plan, pattern),
        )  # fmt: skip
        reading = missing(check, seen)
        if isinstance(reading, Verdict):
            yield reading
            continue
        found = _named(reading, pattern.name)
        before = _named(baseline, pattern.name) if baseline else None
        if found is None:
            yield check.unknown("this pattern was not measured", FABRIC_AGAIN)
        else:
            yield verify_pattern(check, plan, pattern, reading, found, before)


def _named(reading: FabricReading, name: str) -> PatternReading | None:
    return next((pattern for pattern in reading.patterns if pattern.name == name), None)


def _expected(plan: Plan, pattern: PatternPlan) -> str:
    speed = f", at least {SHARE * pattern.gb_s:.0f} GB/s together" if plan.fabric.peer else ""
    return f"{len(pattern.copies)} copies, values as sent{speed}"


def verify_pattern(
    check: Check,
    plan: Plan,
    pattern: PatternPlan,
    reading: FabricReading,
    found: PatternReading,
    before: PatternReading | None = None,
) -> Verdict:
    """One pattern; through host memory only its values are judged: the CPU decides the speed."""
    members = tuple(dict.fromkeys(end for copy in pattern.copies for end in copy))
    fault = fault_of(found)
    if fault is not None:
        return weigh(check, plan, members, fault)
    if found.ended != MEASURED:
        return check.unknown(
            Unknown("the measurement ended in an error", found.error), FABRIC_AGAIN
        )
    if isinstance(found.each_gb_s, Unknown) or isinstance(found.values_ok, Unknown):
        return check.unknown("it was not measured to the end", FABRIC_AGAIN)
    said = f"{sum(found.each_gb_s):.1f} GB/s together, {reading.taken_at}"
    floor = limit(pattern.gb_s if plan.fabric.peer else None, before.gb_s if before else None)
    if floor is None or sum(found.each_gb_s) >= floor:
        return check.passed(said)
    slowest = sorted(zip(found.each_gb_s, found.copies, strict=False))[:3]
    names = (f"{reading.member(a)} to {reading.member(b)} {v:.1f}" for v, (a, b) in slowest)
    return check.failed(
        f"{said}; slowest: {listed(names)} GB/s",
        f"together they should reach {floor:.0f} GB/s: one link or switch collapses under them",
        "look at: ACS, uplink width, which root port each switch hangs from; newer BIOS or kernel; "
        "try NCCL_P2P_DISABLE=1 in `environment`",
    )


def fault_of(found: PatternReading) -> Fault | None:
    """What is wrong with the values of a pattern."""
    if found.ended == HANG:
        return Fault("hang", found.error, "copies at once never end, each alone does")
    if found.values_ok is False:
        return Fault("wrong data", "after copies at once", "what arrived is not what was sent")
    return None
