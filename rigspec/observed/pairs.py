"""What a run of the fabric benchmark found: pairs, patterns and the all-reduce of a rig's GPUs.

The benchmark (`/usr/local/lib/rigspec/fabric-bench`) checks every value that it moves: a grant of
the driver is no proof of delivery, and a fast copy may be a wrong one.
"""

from __future__ import annotations

from rigspec.frozen import dataclass
from rigspec.observed.record import NOT_ASKED, Reading, Record

MEASURED, HANG, ERROR = "measured", "hang", "error"
"""How one measurement ended: `hang` is one that its time limit ended."""

PEER, HOST = "peer", "host"
"""The way data took: from card to card, or through the host's memory."""


@dataclass(frozen=True)
class FabricCard(Record):
    """One GPU of the run, and the member of the spec that it stood for then."""

    uuid: str
    member: str
    name: Reading[str] = NOT_ASKED


@dataclass(frozen=True)
class PairReading(Record):
    """One ordered pair, by UUID: GB/s of 10⁹ bytes, µs per small write."""

    source: str
    target: str
    one_way_gb_s: Reading[float] = NOT_ASKED
    two_way_gb_s: Reading[float] = NOT_ASKED
    """Both directions at once, summed."""
    latency_us: Reading[float] = NOT_ASKED
    worst_latency_us: Reading[float] = NOT_ASKED
    path: Reading[str] = NOT_ASKED
    """`peer` or `host`."""
    values_ok: Reading[bool] = NOT_ASKED
    """Whether every byte of every pattern arrived as it was sent."""
    moved: Reading[bool] = NOT_ASKED
    """False: the copy ended without error, and the target still held what it held before."""
    wrong_share: Reading[float] = NOT_ASKED
    """Of the numbers that were checked, how many were not what was sent (0 to 1)."""
    staged_gb_s: Reading[float] = NOT_ASKED
    """The same copy sent through the host's memory on purpose, in two steps."""
    ended: str = MEASURED
    error: str = ""
    """In which step and what was said, where it did not end by itself."""


@dataclass(frozen=True)
class PatternReading(Record):
    """Several copies at once, as the PCIe tree suggests them."""

    name: str
    copies: tuple[tuple[str, str], ...]
    """Source and target of each copy, UUIDs."""
    each_gb_s: Reading[tuple[float, ...]] = NOT_ASKED
    """In the order of `copies`."""
    values_ok: Reading[bool] = NOT_ASKED
    ended: str = MEASURED
    error: str = ""

    @property
    def gb_s(self) -> float | None:
        """All copies together, GB/s; None when it was not measured."""
        return sum(self.each_gb_s) if isinstance(self.each_gb_s, tuple) else None


@dataclass(frozen=True)
class AllReduceReading(Record):
    """One all-reduce over the cards of a service; busbw = algbw · 2(n-1)/n (nccl-tests)."""

    service: str
    gpus: tuple[str, ...]
    """UUIDs in the order of their ranks."""
    bytes: int
    algbw_gb_s: Reading[float] = NOT_ASKED
    busbw_gb_s: Reading[float] = NOT_ASKED
    latency_us: Reading[float] = NOT_ASKED
    """Of a message of a few KiB, as decoding sends them."""
    ready_ms: Reading[tuple[float, ...]] = NOT_ASKED
    """Per rank: its own work before the collective; a slow rank stands out."""
    values_ok: Reading[bool] = NOT_ASKED
    wrong_ranks: tuple[int, ...] = ()
    peer_to_peer: bool = True
    """False: it was run with NCCL_P2P_DISABLE=1."""
    ended: str = MEASURED
    error: str = ""


@dataclass(frozen=True)
class FabricReading(Record):
    """One run of the benchmark."""

    taken_at: str
    """UTC, ISO 8601."""
    device_kind: str
    """`cuda`, or `cpu` in tests."""
    cards: tuple[FabricCard, ...] = ()
    pairs: tuple[PairReading, ...] = ()
    patterns: tuple[PatternReading, ...] = ()
    all_reduce: tuple[AllReduceReading, ...] = ()
    simulated: bool = False
    tool: str = "torch"
    """What measured: `torch` in the service's image, or `nvbandwidth`."""

    def member(self, uuid: str) -> str:
        """The member a card stood for; its UUID where it is none of the rig's."""
        return next((card.member for card in self.cards if card.uuid == uuid), uuid)

    def pair(self, source: str, target: str) -> PairReading | None:
        """The reading of one ordered pair; None where it was not measured."""
        ways = ((pair.source, pair.target) for pair in self.pairs)
        return next((self.pairs[n] for n, way in enumerate(ways) if way == (source, target)), None)
