"""Bars of the page: memory in use beside its estimate, watts beside what carries them.

Every bar says its figures in words; lengths are per cent of the bar's scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import GpuMember
from rigspec.report.estimates import PowerBudget, Supply
from rigspec.report.judged import Judged
from rigspec.verify.vram import CardEstimate


@dataclass(frozen=True)
class MemoryBar:
    """One card: per cent of its memory; None is unknown."""

    name: str
    text: str
    used: float | None
    estimate: float | None


@dataclass(frozen=True)
class Part:
    """A piece of a stack, watts; `planned`: the card did not tell, its plan stands in."""

    name: str
    watts: float
    percent: float
    planned: bool = False


@dataclass(frozen=True)
class Stack:
    """A sum of watts on a scale that holds both the sum and its limit."""

    name: str
    parts: tuple[Part, ...]
    total_w: float
    limit_w: float
    limit_percent: float
    limit_text: str
    spikes_w: float | None = None
    spikes_percent: float = 0.0

    @property
    def over_w(self) -> float:
        """How much the sum is above the limit; 0 when it is within."""
        return max(0.0, self.total_w - self.limit_w)

    @property
    def spikes_over(self) -> bool:
        """Whether moments are above what the limit holds."""
        return self.spikes_w is not None and self.spikes_w > self.limit_w


@dataclass(frozen=True)
class CapBar:
    """One card's enforced limit on the scale of its default; None is unknown."""

    name: str
    text: str
    cap: float | None
    draw: float | None


def memory_bars(judged: Judged) -> Iterator[MemoryBar]:
    """Memory in use by card, as nvidia-smi says, beside the estimate for what runs there."""
    for member in judged.plan.preflight.gpus:
        card = judged.seen.card(member.member)
        used = None if isinstance(card, Unknown) else known(card.memory_used_mib)
        total = None if isinstance(card, Unknown) else known(card.memory_total_mib)
        size = total or member.memory_mib
        mine = estimated(judged, member.member)
        gib = sum(part.gib for part in mine)
        read = "unknown" if used is None else f"{used / 1024:.1f} GiB"
        yield MemoryBar(
            member.member,
            f"in use {read}, {_guess(mine)}, card {size / 1024:.1f} GiB",
            None if used is None else _percent(used, size),
            _percent(gib * 1024, size) if mine else None,
        )


def _guess(mine: Sequence[CardEstimate]) -> str:
    """The estimate and its band; the band alone holds what CUDA keeps for itself."""
    if not mine:
        return "estimate unknown"
    low, high = sum(part.low for part in mine), sum(part.high for part in mine)
    band = f" ({low:.1f} to {high:.1f} with CUDA contexts)" if high else ""
    return f"estimate {sum(part.gib for part in mine):.1f} GiB{band}"


def estimated(judged: Judged, member: str) -> tuple[CardEstimate, ...]:
    """Of each service that answers on a card; empty when one of them has no estimate."""
    running = {name for name, said in judged.seen.answers.items() if known(said.models)}
    wanted = {s.name for s in judged.plan.services if s.name in running and member in s.gpus}
    mine = [e for e in judged.estimates.cards if e.member == member and e.service in wanted]
    return tuple(mine) if len(mine) == len(wanted) else ()


def cap_bars(judged: Judged) -> Iterator[CapBar]:
    """The limit that each card enforces and what it draws now."""
    for member in judged.plan.preflight.gpus:
        card = judged.seen.card(member.member)
        enforced, draw = _watts(card)
        wanted = planned_w(judged, member)
        limit = "unknown" if enforced is None else f"{enforced:.0f} W"
        now = "" if draw is None else f", draws {draw:.0f} W"
        yield CapBar(
            member.member,
            f"limit {limit}, planned {wanted} W{now}",
            None if enforced is None else _percent(enforced, member.power_default_w),
            None if draw is None else _percent(draw, member.power_default_w),
        )


def watts_sum(judged: Judged) -> str:
    """`4 cards: limits 1400 W, planned 1400 W`; a card that does not answer is named.

    `limits unknown, planned 1400 W` where none answers.
    """
    members = judged.plan.preflight.gpus
    planned = sum(planned_w(judged, member) for member in members)
    read = {m.member: _watts(judged.seen.card(m.member))[0] for m in members}
    known_w = [watts for watts in read.values() if watts is not None]
    missing = [name for name, watts in read.items() if watts is None]
    if not known_w:
        return f"limits unknown, planned {planned} W"
    lost = f"; unknown: {', '.join(missing)}" if missing else ""
    return f"{len(known_w)} cards: limits {sum(known_w):.0f} W, planned {planned} W{lost}"


def planned_w(judged: Judged, member: GpuMember) -> int:
    """The cap of the plan, or the card's default."""
    return dict(judged.plan.power.limits_w).get(member.member, member.power_default_w)


def power_stacks(judged: Judged) -> tuple[Stack, ...]:
    """Every supply, then the circuit; empty when the spec's watts are unknown."""
    budget = judged.estimates.power
    if budget is None:
        return ()
    caps = {
        m.member: (enforced, False) if enforced is not None else (float(planned_w(judged, m)), True)
        for m in judged.plan.preflight.gpus
        for enforced, _ in [_watts(judged.seen.card(m.member))]
    }
    supplies = [_supply(supply, caps) for supply in budget.supplies]
    return (*supplies, _circuit(budget, supplies))


_Caps = dict[str, tuple[float, bool]]


def _supply(supply: Supply, caps: _Caps) -> Stack:
    cards = [(m, *caps[m]) for m in supply.members if m in caps]
    pieces = [*cards, *([("host", supply.base_w, False)] if supply.base_w else [])]
    gpu_w = sum(watts for _, watts, _ in cards)
    return _stack(
        f"PSU {supply.name}",
        pieces,
        supply.rating_w,
        f"rated {supply.rating_w:.0f} W",
        gpu_w * supply.spike_factor + supply.base_w,
    )


def _circuit(budget: PowerBudget, supplies: list[Stack]) -> Stack:
    """At the wall: what the supplies give, divided by their efficiency."""
    pieces = [
        (stack.name, stack.total_w / supply.efficiency, any(p.planned for p in stack.parts))
        for supply, stack in zip(budget.supplies, supplies, strict=True)
    ]
    return _stack("Circuit, at the wall", pieces, budget.circuit_w, budget.circuit_text)


def _stack(
    name: str,
    pieces: list[tuple[str, float, bool]],
    limit_w: float,
    limit_text: str,
    spikes_w: float | None = None,
) -> Stack:
    total = sum(watts for _, watts, _ in pieces)
    scale = 1.04 * max(total, limit_w, spikes_w or 0.0)
    parts = (Part(title, watts, _percent(watts, scale), plan) for title, watts, plan in pieces)
    return Stack(
        name,
        tuple(parts),
        total,
        limit_w,
        _percent(limit_w, scale),
        limit_text,
        spikes_w,
        _percent(spikes_w or 0.0, scale),
    )


def _watts(card: Reading[GpuReading]) -> tuple[float | None, float | None]:
    """Enforced limit and present draw."""
    if isinstance(card, Unknown):
        return None, None
    return known(card.power_enforced_w), known(card.power_draw_w)


def _percent(value: float, scale: float) -> float:
    return round(min(100.0, max(0.0, 100 * value / scale)), 2) if scale else 0.0
