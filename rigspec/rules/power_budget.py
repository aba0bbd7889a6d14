"""The arithmetic behind `power`: loads per supply, watts at the wall, the highest cap that fits."""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.frozen import dataclass
from rigspec.rules.context import CheckContext
from rigspec.sizing.supplies import base_share_w, circuit_w, socket_w
from rigspec.spec.power import Psu
from rigspec.spec.rig import Rig, all_members, members
from rigspec.units import text_w

STEP_W = 5
"""Caps are proposed in steps of 5 W."""
Caps = Mapping[str, int]
"""Watts per card by group of the spec."""


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


def highest_caps(rig: Rig, facts: CheckContext) -> Caps | None:
    """The highest cap of each group that every supply and the circuit carry; None if none does.

    One for all, in steps of 5 W, save for cards whose default limit is below it or whose lowest is
    above: these keep theirs.
    """
    return _caps_within(rig, facts, circuit_w(rig.power.circuit)[0])


def socket_caps(rig: Rig, facts: CheckContext) -> Caps | None:
    """The same where the circuit ends in a domestic socket; None where it cannot."""
    socket = socket_w(rig.power.circuit)
    return _caps_within(rig, facts, socket) if socket else None


def equal_cap(caps: Caps | None) -> int | None:
    """The one cap of all groups; None where they differ or there is none."""
    one = set(caps.values()) if caps else set()
    return one.pop() if len(one) == 1 else None


def caps_text(caps: Caps) -> str:
    """`350 W`, or for unequal ones `big 350 W, small 170 W`."""
    one = equal_cap(caps)
    return f"{one} W" if one else ", ".join(f"{name} {watts} W" for name, watts in caps.items())


def caps_to_write(caps: Caps) -> str:
    """The words of a hint: what to write, and in which group."""
    one = equal_cap(caps)
    if one:
        return f"`power_limit_w: {one}` on every card"
    return ", ".join(f"`power_limit_w: {watts}` in `{name}`" for name, watts in caps.items())


def _caps_within(rig: Rig, facts: CheckContext, limit_w: float) -> Caps | None:
    cards = {name: facts.gpu(rig, f"{name}.0") for name in rig.gpus}
    known = {name: card for name, card in cards.items() if card is not None}
    if not known or len(known) != len(cards):
        return None
    highest = max(card.power_default_w for card in known.values())
    for cap in range(highest // STEP_W * STEP_W, 0, -STEP_W):
        caps = {
            name: max(min(cap, card.power_default_w), card.power_min_w or 0)
            for name, card in known.items()
        }
        if _carried(rig, caps, limit_w):
            return caps
    return None


def _carried(rig: Rig, caps: Caps, limit_w: float) -> bool:
    by_member = {member: caps[member.partition(".")[0]] for member in all_members(rig.gpus)}
    found = tuple(_load(rig, by_member, i, psu) for i, psu in enumerate(rig.power.psus))
    return wall_w(found)[0] <= limit_w and all(load.peak_w <= load.rating_w for load in found)
