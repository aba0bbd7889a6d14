"""The arithmetic behind `power`: loads per supply, watts at the wall, the highest cap that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rigspec.rules.context import CheckContext
from rigspec.sizing.supplies import base_share_w, circuit_w, socket_w
from rigspec.spec.power import Psu
from rigspec.spec.rig import Rig, all_members, members
from rigspec.units import text_w

STEP_W = 5
"""Caps are proposed in steps of 5 W."""


@dataclass(frozen=True)
class Load:
    """What one supply group carries, watts."""

    psu: Psu
    index: int
    gpus: tuple[str, ...]
    steady_w: float
    peak_w: float
    gpu_sum: str
    base_w: float

    @property
    def rating_w(self) -> float:
        """What all its supplies give together."""
        return float(self.psu.watts * self.psu.count)

    def spikes_w(self, factor: float) -> float:
        """What it carries while its cards draw so many times their caps."""
        return (self.steady_w - self.base_w) * factor + self.base_w

    @property
    def wall_w(self) -> float:
        """What it draws from the wall."""
        return self.steady_w / self.psu.efficiency


def cap_w(rig: Rig, facts: CheckContext, member: str) -> int | None:
    """The cap of a card, or its default limit; None when neither is known."""
    group = rig.gpus[member.partition(".")[0]]
    card = facts.gpu(rig, member)
    return group.power_limit_w or (card.power_default_w if card else None)


def loads(rig: Rig, facts: CheckContext) -> tuple[Load, ...] | None:
    """The load of every supply group; None when a card's watts are unknown."""
    caps = {m: cap_w(rig, facts, m) for m in all_members(rig.gpus)}
    known = {m: watts for m, watts in caps.items() if watts is not None}
    if len(known) != len(caps):
        return None
    return tuple(_load(rig, known, i, psu) for i, psu in enumerate(rig.power.psus))


def _load(rig: Rig, caps: dict[str, int], index: int, psu: Psu) -> Load:
    fed = tuple(dict.fromkeys(members(rig.gpus, psu.gpus)))
    watts = [caps[m] for m in fed]
    base = base_share_w(rig, psu)
    steady = sum(watts) + base
    return Load(
        psu=psu,
        index=index,
        gpus=fed,
        steady_w=steady,
        peak_w=sum(watts) * rig.power.transient_factor + base,
        gpu_sum=sum_of(watts),
        base_w=base,
    )


def sum_of(watts: list[int]) -> str:
    """`4 × 350 W`, `2 × 350 W + 1 × 575 W`."""
    counted = {w: watts.count(w) for w in dict.fromkeys(watts)}
    return " + ".join(f"{n} × {w} W" for w, n in counted.items()) or "0 W"


def wall_w(found: tuple[Load, ...]) -> tuple[float, str]:
    """Watts from the wall, and how they come about."""
    parts = [_wall_part(load) for load in found if load.steady_w]
    total = sum(load.wall_w for load in found)
    return total, f"{' + '.join(parts)} = {text_w(total)}"


def _wall_part(load: Load) -> str:
    terms = [load.gpu_sum] if load.gpus else []
    terms += [f"{text_w(load.base_w)} host"] if load.base_w else []
    return f"({' + '.join(terms)}) / {load.psu.efficiency:g}"


def highest_cap(rig: Rig, facts: CheckContext) -> int | None:
    """The highest equal cap per card that every supply and the circuit carry; None if none does.

    In steps of 5 W, no higher than any card's default and no lower than any card's least cap.
    """
    return _cap_within(rig, facts, circuit_w(rig.power.circuit)[0])


def socket_cap(rig: Rig, facts: CheckContext) -> int | None:
    """The highest equal cap where the circuit ends in a domestic socket; None where it cannot."""
    socket = socket_w(rig.power.circuit)
    return _cap_within(rig, facts, socket) if socket else None


def _cap_within(rig: Rig, facts: CheckContext, wall_w: float) -> int | None:
    cards = [facts.gpu(rig, m) for m in all_members(rig.gpus)]
    known = [card for card in cards if card is not None]
    if not known or len(known) != len(cards):
        return None
    lowest = max(card.power_min_w or STEP_W for card in known)
    cap = min([min(card.power_default_w for card in known), *_room(rig, wall_w)])
    cap = int(cap // STEP_W * STEP_W)
    return cap if cap >= lowest else None


def _room(rig: Rig, wall_w: float) -> Iterator[float]:
    """Watts per card that each supply group, and the watts at the wall, have room for."""
    per_wall, base_wall = 0.0, 0.0
    for psu in rig.power.psus:
        fed = len(set(members(rig.gpus, psu.gpus)))
        base = base_share_w(rig, psu)
        per_wall += fed / psu.efficiency
        base_wall += base / psu.efficiency
        if fed:
            yield (psu.watts * psu.count - base) / (fed * rig.power.transient_factor)
    if per_wall:
        yield (wall_w - base_wall) / per_wall
