"""What links can carry when measured: one copy, many at once, a ring. All in GB/s of 10⁹ bytes.

These are the figures that a measurement is held against (it fails below 75 % of them), so they are
what the links can do, not what is likely: the theory of the narrowest hop where cards copy to each
other, and what healthy rigs reach where the CPU decides (through host memory, between sockets).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rigspec.sizing.links import Hop, Label, LinkPath, Place, all_reduce_link

SHARE = 0.75
"""Below this share a link is not in order: healthy ones reach 83–89 % of theory, one width or
generation less is 50 % (peer copies); DCGM takes the same factor."""

Copy = tuple[str, str]


def reachable(way: LinkPath) -> tuple[float, float]:
    """One way, and both ways summed."""
    theory = way.bottleneck.one_way_gb_s
    one, two = way.one_way_gb_s.value, way.two_way_gb_s.value
    if not way.peer:
        return one, two
    if way.label is Label.SYS:
        return min(theory, one), min(2 * theory, two)
    return theory, 2 * theory


def pattern_gb_s(
    copies: Sequence[Copy], places: Mapping[str, Place], ways: Mapping[frozenset[str], LinkPath]
) -> float:
    """Sum over copies at once: each gets its share of every hop that it passes in one direction."""
    passed = [_directed(copy, places, peer=ways[frozenset(copy)].peer) for copy in copies]
    crowd = Counter(hop for hops in passed for hop, _ in hops)
    total = 0.0
    for copy, hops in zip(copies, passed, strict=True):
        way = ways[frozenset(copy)]
        share = min(rate / crowd[hop] for hop, rate in hops)
        # what one copy loses where the CPU decides, it loses here too
        total += min(share, share * reachable(way)[0] / way.bottleneck.one_way_gb_s)
    return total


def _directed(
    copy: Copy, places: Mapping[str, Place], *, peer: bool
) -> list[tuple[tuple[str, str], float]]:
    """The hops of a copy, up to the CPU without peers, with their direction and rate."""
    source, target = places[copy[0]], places[copy[1]]
    turns_at = set(source.switches) & set(target.switches) if peer else set()
    up = [source.link, *_climb(source, turns_at)]
    down = [target.link, *_climb(target, turns_at)]
    return [((hop.name, "up"), hop.one_way_gb_s) for hop in up] + [
        ((hop.name, "down"), hop.one_way_gb_s) for hop in down
    ]


def _climb(place: Place, turns_at: set[str]) -> list[Hop]:
    pairs = zip(place.switches, place.uplinks, strict=True)
    return [hop for name, hop in pairs if name not in turns_at]


def all_reduce_busbw(ways: Sequence[LinkPath], ranks: int) -> float:
    """Bus bandwidth of a large all-reduce, as fitted to published rigs."""
    link = all_reduce_link(ways)
    big = 1 << 30
    us = link.all_reduce_us(big, ranks)
    return big / us / 1e3 * 2 * (ranks - 1) / ranks
