"""What all rows about measured links share: whether there is a measurement, and what it weighs."""

from __future__ import annotations

from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed import fabric_run
from rigspec.observed.pairs import FabricReading
from rigspec.observed.record import NOT_ASKED, Reading, Unknown
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.sizing.fabric import SHARE
from rigspec.verify.advice import FABRIC_AGAIN
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

OPT_IN = "load is opt-in: rigspec verify --load"
OF_BASELINE = 0.9
"""Identical cards and repeated runs differ by 2–5 %; a tighter limit would be noise."""

METHOD = "fabric-bench, in the image of a service"

NOT_MEASURED = (NOT_ASKED, fabric_run.NEVER)


@dataclass(frozen=True)
class Fault:
    """What is wrong between cards, for the row and for the plan."""

    verdict: str
    """One of `rigspec.spec.faults`, or `slow`, `not peer to peer`, which change no plan."""
    found: str
    reason: str
    next_action: str = ""


def missing(check: Check, seen: Observation) -> Verdict | FabricReading:
    """The measurement, or the row that says why there is none."""
    reading: Reading[FabricReading] = seen.fabric
    if isinstance(reading, Unknown):
        if reading in NOT_MEASURED:
            return check.not_applicable(OPT_IN)
        if reading.reason == fabric_run.FAILED:
            return check.warned(reading.line, reading.reason, FABRIC_AGAIN)
        return check.unknown(reading, f"look at: journalctl -b; {FABRIC_AGAIN}")
    strangers = [
        card.member
        for card in reading.cards
        if (bound := seen.bound.get(card.member)) and bound.uuid != card.uuid
    ]
    if strangers:
        return check.not_applicable(
            f"{listed(strangers)} was another card when it was measured, {reading.taken_at}: "
            "rigspec verify --load"
        )
    return reading


def users(plan: Plan, members: Iterable[str]) -> tuple[ServicePlan, ...]:
    """The services that use all of these cards together."""
    wanted = set(members)
    return tuple(service for service in plan.services if wanted <= set(service.gpus))


TURN_OFF = "deploy: the plan turns peer-to-peer copies off for {} until a later --load is clean"


def weigh(check: Check, plan: Plan, members: Iterable[str], fault: Fault) -> Verdict:
    """Red while a service relies on it; a warning where none does any more."""
    concerned = users(plan, members)
    relying = [service.name for service in concerned if not service.peers_off]
    if relying:
        action = fault.next_action or TURN_OFF.format(listed(relying))
        return check.failed(fault.found, f"{fault.verdict}: {fault.reason}", action)
    off = listed(service.name for service in concerned)
    rest = (
        f"peer-to-peer copies are off in {off}" if off else "no service uses these cards together"
    )
    return check.warned(fault.found, f"{fault.verdict}: {fault.reason}; {rest}", fault.next_action)


def limit(able_gb_s: float | None, accepted: Reading[float] | None) -> float | None:
    """The least GB/s that is in order: by link arithmetic, and by what this rig has done before."""
    floors = [] if able_gb_s is None else [SHARE * able_gb_s]
    if accepted is not None and not isinstance(accepted, Unknown):
        floors.append(OF_BASELINE * accepted)
    return max(floors, default=None)


def is_below(value: Reading[float], floor: float | None) -> bool:
    """Whether a known value misses a known limit."""
    return floor is not None and not isinstance(value, Unknown) and value < floor


def gb_s(value: Reading[float]) -> str:
    """`26.3`, or a question mark."""
    return "?" if isinstance(value, Unknown) else f"{value:.1f}"
