"""Paths between GPUs through the declared PCIe tree: label, slowest hop, expected GB/s, latency.

Shares of the theoretical rate are those of healthy rigs: direct slots 0.83–0.90 one way
(Gen5 55–56.6 of 63, Gen4 x16 26.3 of 31.5, Gen4 x8 13.17 of 15.75), one switch 0.85–0.89 (53.4–56.3
of 63, 27.5 of 31.5); sources in docs/fit.md. Nothing here knows a spec: `from_spec` fills it in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import combinations

from rigspec.frozen import dataclass
from rigspec.sizing.all_reduce import HOST_PCIE, PEER_PCIE, Link
from rigspec.sizing.amount import Amount

LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""One lane, one direction, GB/s (PCI-SIG: 8b/10b to Gen2, 128b/130b to Gen5, FLIT in Gen6)."""

FITTED_GB_S = LANE_GB_S[4] * 16
"""The link PEER_PCIE was fitted on: Gen4 x16."""


class Label(StrEnum):
    """What lies between two GPUs, in the words of `nvidia-smi topo -m`."""

    PIX = "PIX"
    """One switch."""
    PXB = "PXB"
    """Several switches, without the CPU."""
    PHB = "PHB"
    """The CPU; `NODE` when the ports belong to different host bridges of one socket."""
    SYS = "SYS"
    """The link between two sockets."""


@dataclass(frozen=True)
class Hop:
    """One PCIe link: the slot of a GPU, or the uplink of a switch."""

    name: str
    generation: int
    width: int

    @property
    def one_way_gb_s(self) -> float:
        """Theoretical rate, one direction, GB/s."""
        return LANE_GB_S[self.generation] * self.width

    @property
    def form(self) -> str:
        """`Gen4 x8`."""
        return f"Gen{self.generation} x{self.width}"


@dataclass(frozen=True)
class Place:
    """Where a GPU hangs: its own link, then the switches above it from the nearest up."""

    gpu: str
    link: Hop
    switches: tuple[str, ...] = ()
    uplinks: tuple[Hop, ...] = ()
    """The uplink of each of `switches`."""
    numa_node: int = 0
    best_gb_s: float | None = None
    """What the card itself could do, one direction; None when it is not known."""


@dataclass(frozen=True)
class LinkPath:
    """The way between two GPUs and what to expect of it."""

    first: str
    second: str
    label: Label
    hops: tuple[Hop, ...]
    """In order; without peer copies up to the CPU and down, so twice over an uplink of both."""
    peer: bool
    """Whether the cards read each other directly; if not, data goes through host memory."""
    one_way_gb_s: Amount
    two_way_gb_s: Amount
    """Both directions at once, summed."""
    latency_us: Amount
    shared_with: tuple[str, ...]
    """Other GPUs below an uplink of this path: their traffic to the CPU takes from it."""
    best_gb_s: float | None
    bridged: bool = False
    """Whether an NVLink bridge joins the two: this is the way below it then."""
    nvlink: str = ""
    """What `nvidia-smi topo -m` says of two cards that NVLink joins, by bridge or switch: `NV18`,
    `NV#` where the number of links is not known; empty where it does not."""

    @property
    def topo(self) -> str:
        """The pair in the words of `nvidia-smi topo -m`."""
        return self.nvlink or self.label.value

    @property
    def bottleneck(self) -> Hop:
        """The slowest hop."""
        return min(self.hops, key=lambda hop: hop.one_way_gb_s)

    @property
    def narrow(self) -> bool:
        """Whether the slowest hop is slower than the cards, or than the fastest hop."""
        best = self.best_gb_s or max(hop.one_way_gb_s for hop in self.hops)
        return self.bottleneck.one_way_gb_s < 0.99 * best


Band = tuple[float, float, float]
"""Low, expected, high."""

PEER_ONE_WAY: Band = (0.83, 0.86, 0.90)
PEER_TWO_WAY: Band = (0.79, 0.81, 0.89)
"""Share of twice the one-way rate: 50.4 of 63 and 100–103 of 126 in a switch, 52.1 and 111 direct
(jamesob/local-llm, rtx6kpro wiki, stelline, aikitoria README)."""
STAGED_ONE_WAY: Band = (0.69, 0.71, 0.80)
STAGED_TWO_WAY: Band = (0.45, 0.48, 0.55)
"""Through host memory: 42.7–43.9 and 56–57.5 on Gen5 x16, 22.1–22.4 and 31.5 on Gen4 x16, 6.34
and 8.66 on Gen4 x4 (aikitoria README, stelline, tinygrad issue 44)."""
SOCKET_ONE_WAY: Band = (36.0, 45.0, 51.0)
SOCKET_TWO_WAY: Band = (64.0, 90.0, 99.0)
"""GB/s between two sockets, whatever the slots: Genoa 39 and 64, Turin 50–51 and 99, Broadcom
cross-socket 36–40 and 93–96 (rtx6kpro wiki)."""
REDIRECTED = 0.5
"""Switch traffic that ACS sends up to the CPU: about 50 instead of 103 GB/s (rtx6kpro wiki)."""

LATENCY_US: dict[Label, Band] = {
    Label.PIX: (0.37, 0.45, 0.52),
    Label.PXB: (0.45, 0.70, 1.36),
    Label.PHB: (0.35, 0.60, 1.44),
    Label.SYS: (0.38, 1.10, 1.44),
}
"""p2pBandwidthLatencyTest writes, the systems above."""
STAGED_LATENCY_US: Band = (10.3, 13.0, 14.4)


def paths(places: Sequence[Place], *, peer: bool, redirect: bool = False) -> tuple[LinkPath, ...]:
    """The way between every two of the places; `redirect` when ACS may send traffic to the CPU."""
    return tuple(_path(a, b, places, peer, redirect) for a, b in combinations(places, 2))


def _path(a: Place, b: Place, places: Sequence[Place], peer: bool, redirect: bool) -> LinkPath:
    common = [name for name in a.switches if name in b.switches]
    label = _label(a, b, common)
    turns_at = common if peer else []
    up, down = list(_climb(a, turns_at)), list(_climb(b, turns_at))
    hops = (a.link, *(h for _, h in up), *(h for _, h in reversed(down)), b.link)
    crossed = {name for name, _ in (*up, *down)}
    shared = [
        place.gpu
        for place in places
        if place.gpu not in (a.gpu, b.gpu) and crossed & set(place.switches)
    ]
    slowest = min(hop.one_way_gb_s for hop in hops)
    known = [place.best_gb_s for place in (a, b) if place.best_gb_s]
    one, two = _rates(label, slowest, peer)
    if peer and redirect and common:
        one, two = _redirected(one, two, min(slowest, _uplink(a, b)))
    if common and not peer:
        both_climb = (hop for name, hop in up if name in common)
        one, two = _over_one_uplink(one, two, min(hop.one_way_gb_s for hop in both_climb))
    return LinkPath(
        a.gpu, b.gpu, label, hops, peer, one, two,
        _amount(LATENCY_US[label] if peer else STAGED_LATENCY_US),
        tuple(shared), min(known) if len(known) == 2 else None,
    )  # fmt: skip


def _label(a: Place, b: Place, common: list[str]) -> Label:
    if common:
        same_leaf = a.switches[0] == b.switches[0]
        return Label.PIX if same_leaf else Label.PXB
    return Label.PHB if a.numa_node == b.numa_node else Label.SYS


def _climb(place: Place, turns_at: list[str]) -> Iterator[tuple[str, Hop]]:
    """The uplinks from a GPU up to the first switch where data may turn, or to the CPU."""
    for name, hop in zip(place.switches, place.uplinks, strict=True):
        if name in turns_at:
            return
        yield name, hop


def _uplink(a: Place, b: Place) -> float:
    """The slowest link between two GPUs and the CPU, GB/s."""
    return min(hop.one_way_gb_s for hop in (*a.uplinks, *b.uplinks))


def _redirected(one: Amount, two: Amount, slowest: float) -> tuple[Amount, Amount]:
    """Low ends of what goes up to the CPU and down again: each direction takes the uplink's both,
    so that both together have half of twice its rate."""
    least = PEER_ONE_WAY[0] * slowest
    both = REDIRECTED * PEER_TWO_WAY[0] * 2 * slowest
    return (
        Amount(one.value, min(one.low, least), one.high),
        Amount(two.value, min(two.low, both), two.high),
    )


def _over_one_uplink(one: Amount, two: Amount, uplink: float) -> tuple[Amount, Amount]:
    """What an uplink that both cards share leaves of copies through host memory: it carries each up
    and down again, so one alone may find no more than two do in a slot, and two together have what
    one has."""
    low, (_, value, high) = STAGED_TWO_WAY[0] * uplink, STAGED_ONE_WAY
    return (
        Amount(one.value, min(one.low, low), one.high),
        _at_most(two, (low, value * uplink, high * uplink)),
    )


def _rates(label: Label, slowest: float, peer: bool) -> tuple[Amount, Amount]:
    one = _amount(PEER_ONE_WAY if peer else STAGED_ONE_WAY).times(slowest)
    two = _amount(PEER_TWO_WAY if peer else STAGED_TWO_WAY).times(2 * slowest)
    if label is Label.SYS:
        one, two = _at_most(one, SOCKET_ONE_WAY), _at_most(two, SOCKET_TWO_WAY)
    return one, two


def _amount(band: Band) -> Amount:
    low, value, high = band
    return Amount(value, low, high)


def _at_most(amount: Amount, band: Band) -> Amount:
    low, value, high = band
    return Amount(min(amount.value, value), min(amount.low, low), min(amount.high, high))


def all_reduce_link(found: Sequence[LinkPath]) -> Link:
    """What all-reduces of a group cost: the kind of path of its slowest pair, at its width."""
    if not found:
        return PEER_PCIE
    if all(path.peer for path in found):
        return link_of_width(min(path.bottleneck.one_way_gb_s for path in found), peer=True)
    return link_of_width(_staged_gb_s(found), peer=False)


def _staged_gb_s(found: Sequence[LinkPath]) -> float:
    """One way of the slowest hop, GB/s: of an uplink what each card below it gets.

    In a ring every card writes to host memory and reads from it, so all below an uplink pass it at
    once. A pair passes it once for each of its cards below, and each card is in `others` pairs. The
    link's own crowd is that of the memory: the larger of the two counts, not both.
    """
    ranks = len({gpu for path in found for gpu in (path.first, path.second)})
    others, passed = ranks - 1, Counter(hop for path in found for hop in path.hops)
    crowd = HOST_PCIE.crowd(ranks)
    return min(hop.one_way_gb_s / max(1.0, n / others / crowd) for hop, n in passed.items())


def link_of_width(slowest_gb_s: float, *, peer: bool) -> Link:
    """What all-reduces cost over PCIe whose slowest hop has this rate in theory, one way."""
    if peer:
        share = slowest_gb_s / FITTED_GB_S
        return Link(PEER_PCIE.start_us, PEER_PCIE.step_us, PEER_PCIE.bandwidth_gb_s * share)
    # staging passes each link twice, so a narrow one halves: 8 GB/s was fitted on x8 and wider
    staged = min(HOST_PCIE.bandwidth_gb_s, slowest_gb_s / 2)
    return Link(HOST_PCIE.start_us, HOST_PCIE.step_us, staged, HOST_PCIE.shared)


@dataclass(frozen=True)
class SharedUplink:
    """One uplink that several GPUs reach the CPU through."""

    hop: Hop
    gpus: tuple[str, ...]

    @property
    def each_gb_s(self) -> float:
        """One-way theory per GPU when all of them talk to the CPU at once."""
        return self.hop.one_way_gb_s / len(self.gpus)


def shared_uplinks(places: Sequence[Place]) -> tuple[SharedUplink, ...]:
    """Every uplink with more than one GPU below it, in the order of the tree."""
    below: dict[str, tuple[Hop, list[str]]] = {}
    for place in places:
        for name, hop in zip(place.switches, place.uplinks, strict=True):
            below.setdefault(name, (hop, []))[1].append(place.gpu)
    return tuple(SharedUplink(hop, tuple(gpus)) for hop, gpus in below.values() if len(gpus) > 1)
