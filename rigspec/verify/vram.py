"""Memory in use on each card beside its estimate; an estimate is never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import Plan
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict

_OTHERS = "nvidia-smi lists what else holds memory; correct what the spec says of the service"


@dataclass(frozen=True)
class CardEstimate:
    """GiB that a running service takes of one card, cache included.

    `gib` leaves CUDA contexts out; `low` and `high` are the band of what nvidia-smi will show,
    contexts included.
    """

    service: str
    member: str
    gib: float
    low: float = 0.0
    high: float = 0.0


def verify_vram(
    plan: Plan, seen: Observation, estimates: Iterable[CardEstimate]
) -> Iterator[Verdict]:
    """One row per card on which only services with an estimate run."""
    estimates = tuple(estimates)
    running = {name for name, said in seen.answers.items() if known(said.models)}
    for member in plan.preflight.gpus:
        there = {s.name for s in plan.services if s.name in running and member.member in s.gpus}
        mine = [e for e in estimates if e.member == member.member and e.service in there]
        if there and len(mine) == len(there):
            yield card_memory(member.member, mine, seen)


def card_memory(member: str, estimates: list[CardEstimate], seen: Observation) -> Verdict:
    """nvidia-smi's memory.used against the band of the services' estimates."""
    low, high = sum(e.low for e in estimates), sum(e.high for e in estimates)
    expected = f"{low:.1f} to {high:.1f} GiB, estimated {sum(e.gib for e in estimates):.1f}"
    check = Check(f"service.memory.{member}", f"{member}: memory", "nvidia-smi", expected)
    card = seen.card(member)
    if isinstance(card, Unknown):
        return check.unknown(card)
    if isinstance(card.memory_used_mib, Unknown):
        return check.unknown(card.memory_used_mib)
    found = f"{card.memory_used_mib / 1024:.1f} GiB"
    if seen.simulated:
        return check.not_applicable("a simulated card holds no weights", found)
    if card.memory_used_mib / 1024 > high:
        return check.warned(
            found, "more than estimated: another process, or a wrong figure", _OTHERS
        )
    if card.memory_used_mib / 1024 < low:
        return check.warned(
            found, "less than estimated: not all was loaded, or a wrong figure", _OTHERS
        )
    return check.passed(found)
