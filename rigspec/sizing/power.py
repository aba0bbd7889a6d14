"""Watts at the wall and at the supplies, and what a power cap costs in speed.

Sources: NEC 210.19/210.20 (a continuous load may use 80 % of the breaker), ATX 3.0 excursion table,
power sweeps published by local-inference-lab/rtx6kpro (RTX PRO 6000, driver 595.58.03, gpu_burn),
sudoingX/qwen38-mtp (RTX 5090) and noonghunna/club-3090 (RTX 3090).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rigspec.sizing.cards import Card

Work = Literal["decode", "batch", "prefill"]


@dataclass(frozen=True)
class CapCost:
    """Speed at a cap relative to the default limit; `measured` is false when nobody measured it."""

    value: float
    measured: bool
    source: str


_SWEEPS: dict[str, dict[Work, tuple[tuple[float, float], ...]]] = {
    "rtx-3090": {
        "decode": ((280.0, 0.95), (350.0, 1.0)),
        "batch": ((280.0, 0.95), (350.0, 1.0)),
        "prefill": ((280.0, 0.95), (350.0, 1.0)),
    },
    "rtx-5090": {
        "decode": ((400.0, 0.952), (450.0, 0.983), (500.0, 0.996), (600.0, 1.0)),
    },
    "rtx-pro-6000-workstation": {
        "decode": ((300.0, 0.96), (600.0, 1.0)),
        "batch": ((300.0, 0.70), (600.0, 1.0)),
        "prefill": ((300.0, 0.55), (350.0, 0.642), (400.0, 0.728), (450.0, 0.801), (600.0, 1.0)),
    },
    "rtx-pro-6000-server": {
        "prefill": ((300.0, 0.785), (350.0, 0.854), (400.0, 0.911), (500.0, 1.0)),
    },
}  # fmt: skip
_SOURCES = {
    "rtx-3090": "owners' sweeps: 280 W keeps about 95 % of the speed (club-3090 and others)",
    "rtx-5090": "sudoingX/qwen38-mtp, Qwen3.8-27B decode",
    "rtx-pro-6000-workstation": "rtx6kpro blackwell-power-limit-sweep.md",
    "rtx-pro-6000-server": "rtx6kpro blackwell-power-limit-sweep.md, relative to 500 W",
}


def speed_at_cap(card: Card, work: Work) -> CapCost:
    """Relative speed at the card's cap: measured for four boards, 1 and unknown for others."""
    cap, default = card.power_limit_w, card.power_default_w
    if cap is None or (default and cap >= default):
        return CapCost(1.0, measured=cap is None, source="no cap")
    name = _sweep_name(card.name)
    points = _SWEEPS.get(name, {}).get(work) if name else None
    if not points:
        return CapCost(1.0, measured=False, source="unknown: nobody published a sweep of this card")
    inside = cap >= points[0][0]
    return CapCost(_between(points, cap), measured=inside, source=_SOURCES[name or ""])


def _sweep_name(name: str) -> str | None:
    text = name.lower()
    if "pro 6000" in text:
        if "max-q" in text:
            return None
        return "rtx-pro-6000-server" if "server" in text else "rtx-pro-6000-workstation"
    if "3090" in text and "ti" not in text.split():
        return "rtx-3090"
    return "rtx-5090" if "5090" in text else None


def _between(points: Sequence[tuple[float, float]], watts: float) -> float:
    """Straight lines between measured points; the lowest line goes on below them."""
    pairs = list(itertools.pairwise(points))
    (low_w, low), (high_w, high) = next((pair for pair in pairs if watts <= pair[1][0]), pairs[-1])
    line = low + (high - low) * (watts - low_w) / (high_w - low_w)
    return min(1.0, max(0.1, line))


@dataclass(frozen=True)
class Supply:
    """One power supply and the GPUs (by index) that hang on it."""

    name: str
    watts: float
    gpus: tuple[int, ...]
    efficiency: float = 0.92
    carries_host: bool = False
    atx3: bool = True


@dataclass(frozen=True)
class Circuit:
    """The outlet: volts, breaker amperes, and the share a continuous load may use."""

    volts: float
    amperes: float
    continuous_share: float = 0.8

    @property
    def continuous_w(self) -> float:
        """Watts that may be drawn for hours."""
        return self.volts * self.amperes * self.continuous_share


@dataclass(frozen=True)
class GpuPower:
    """One GPU's limits in watts; `cap_w` None is the default limit."""

    name: str
    default_w: float
    min_w: float | None
    cap_w: float | None = None
    idle_w: float = 20.0

    @property
    def limit_w(self) -> float:
        """The limit in force."""
        return self.cap_w if self.cap_w is not None else self.default_w


@dataclass(frozen=True)
class SupplyLoad:
    """One supply: watts it delivers, with the allowance for excursions, against its rating."""

    name: str
    steady_w: float
    transient_w: float
    rating_w: float
    highest_cap_w: int | None
    arithmetic: str

    @property
    def fits(self) -> bool:
        """Whether the steady load and its excursions stay within the rating."""
        return self.transient_w <= self.rating_w


@dataclass(frozen=True)
class PowerBudget:
    """Watts at the wall, per supply and for the circuit."""

    wall_idle_w: float
    wall_capped_w: float
    wall_default_w: float
    circuit_w: float | None
    supplies: tuple[SupplyLoad, ...]
    highest_cap_w: int | None
    """Highest equal cap per GPU that the circuit and every supply carry; None when none does."""
    arithmetic: str

    @property
    def fits_circuit(self) -> bool:
        """Whether the capped load may run for hours."""
        return self.circuit_w is None or self.wall_capped_w <= self.circuit_w

    @property
    def fits(self) -> bool:
        """Whether circuit and supplies carry the load."""
        return self.fits_circuit and all(supply.fits for supply in self.supplies)


TRANSIENT_FACTOR = 1.10
"""Excursions of 10 ms and more over a GPU's limit: 627 W of 575 W on a 5090, 640 of 600 W on an
RTX PRO 6000. ATX 3.0 supplies absorb shorter ones (160 % for 10 ms) themselves."""
OLD_SUPPLY_FACTOR = 1.35
"""Supplies without the ATX 3.0 excursion rule must carry 5–10 ms peaks (738 of 575 W) too."""


def budget(
    gpus: Sequence[GpuPower],
    supplies: Sequence[Supply],
    *,
    host_idle_w: float,
    host_busy_w: float,
    circuit: Circuit | None = None,
) -> PowerBudget:
    """The rig's power: at idle, at the caps, at the default limits."""
    efficiency = _efficiency(supplies)
    caps = sum(gpu.limit_w for gpu in gpus)
    wall = (caps + host_busy_w) / efficiency
    loads = tuple(_load(supply, gpus, host_busy_w) for supply in supplies)
    limit = circuit.continuous_w if circuit else None
    return PowerBudget(
        wall_idle_w=(sum(gpu.idle_w for gpu in gpus) + host_idle_w) / efficiency,
        wall_capped_w=wall,
        wall_default_w=(sum(gpu.default_w for gpu in gpus) + host_busy_w) / efficiency,
        circuit_w=limit,
        supplies=loads,
        highest_cap_w=_highest_cap(gpus, limit, efficiency, host_busy_w, loads),
        arithmetic=f"({_sum_of(gpus)} + {host_busy_w:.0f} W host) / {efficiency:.2f}"
        f" = {wall:.0f} W at the wall" + (f", circuit carries {limit:.0f} W" if limit else ""),
    )


def _sum_of(gpus: Sequence[GpuPower]) -> str:
    counted: dict[float, int] = {}
    for gpu in gpus:
        counted[gpu.limit_w] = counted.get(gpu.limit_w, 0) + 1
    return " + ".join(f"{count} × {watts:.0f} W" for watts, count in counted.items()) or "0 W"


def _efficiency(supplies: Sequence[Supply]) -> float:
    """Efficiency of the group, weighted by rating."""
    rated = sum(supply.watts for supply in supplies)
    if not rated:
        return 0.92
    return sum(supply.watts * supply.efficiency for supply in supplies) / rated


def _load(supply: Supply, gpus: Sequence[GpuPower], host_w: float) -> SupplyLoad:
    own = [gpus[index] for index in supply.gpus if index < len(gpus)]
    host = host_w if supply.carries_host else 0.0
    factor = TRANSIENT_FACTOR if supply.atx3 else OLD_SUPPLY_FACTOR
    steady = sum(gpu.limit_w for gpu in own) + host
    transient = sum(gpu.limit_w for gpu in own) * factor + host
    highest = _cap_within(own, (supply.watts - host) / factor)
    return SupplyLoad(
        supply.name, steady, transient, supply.watts, highest,
        f"{factor:.2f} × ({_sum_of(own)}) + {host:.0f} W host = {transient:.0f} W"
        f" of {supply.watts:.0f} W",
    )  # fmt: skip


def _cap_within(gpus: Sequence[GpuPower], watts: float) -> int | None:
    """The highest equal cap, in steps of 5 W, that a group keeps within `watts`."""
    if not gpus:
        return None
    cap = int(watts / len(gpus) // 5 * 5)
    cap = min(cap, int(max(gpu.default_w for gpu in gpus)))
    lowest = max((gpu.min_w or 0.0 for gpu in gpus), default=0.0)
    return cap if cap >= lowest and cap > 0 else None


def _highest_cap(
    gpus: Sequence[GpuPower],
    limit_w: float | None,
    efficiency: float,
    host_w: float,
    loads: Sequence[SupplyLoad],
) -> int | None:
    caps = [load.highest_cap_w for load in loads if load.steady_w > 0]
    if limit_w is not None:
        caps.append(_cap_within(gpus, limit_w * efficiency - host_w))
    known = [cap for cap in caps if cap is not None]
    return min(known) if known and len(known) == len(caps) else None
