"""Parts of the plan's sections that only verify reads: budgets, uplinks, and what links can do."""

from __future__ import annotations

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Supplied:
    """Cards behind one supply: watts are (caps × `spikes` + `base_w`) / `efficiency`."""

    members: tuple[str, ...]
    base_w: float
    spikes: float = 1.0
    efficiency: float = 1.0


@dataclass(frozen=True)
class Budget:
    """What a supply or the circuit gives, and what hangs on it; `origin` is the YAML path."""

    name: str
    origin: str
    limit_w: float
    parts: tuple[Supplied, ...]


@dataclass(frozen=True)
class Uplink:
    """A switch's link to the processor as declared; its cards name the switch in the host's tree.

    `depth` counts switches from the card up: 0 is the one that the card sits in.
    """

    name: str
    origin: str
    generation: int
    width: int
    members: tuple[str, ...]
    depth: int = 0


@dataclass(frozen=True)
class PairPlan:
    """Two cards, and what the links between them can do: GB/s of 10⁹ bytes."""

    first: str
    second: str
    form: str
    """The narrowest hop, `Gen4 x16`, with its name when it is no card's own link."""
    one_way_gb_s: float
    two_way_gb_s: float
    """Both directions, summed."""


@dataclass(frozen=True)
class PatternPlan:
    """Copies at once, source and target of each, and what all of them together can move."""

    name: str
    copies: tuple[tuple[str, str], ...]
    gb_s: float


@dataclass(frozen=True)
class AllReducePlan:
    """The ranks of one service, in order; None: its links are not declared, so nothing expected."""

    service: str
    members: tuple[str, ...]
    busbw_gb_s: float | None
