"""What a power cap costs in speed; watts and supplies are summed in `rigspec.rules.power_budget`.

Sources: power sweeps published by local-inference-lab/rtx6kpro (RTX PRO 6000, driver 595.58.03,
gpu_burn), sudoingX/qwen38-mtp (RTX 5090) and noonghunna/club-3090 (RTX 3090).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings

Work = Literal["decode", "batch", "prefill"]


@dataclass(frozen=True)
class CapCost:
    """Speed at a cap relative to the default limit; `measured` is false when nobody measured it."""

    value: float
    low: float
    """What is surely left of the speed; `value` where it was measured."""
    most: float
    """What is left at most: below a sweep what its lowest cap keeps, 1 without a sweep."""
    measured: bool
    source: str
    """Empty where a cap costs nothing: there is none, or it is the limit the card has anyway."""
    below_sweep: bool = False
    """Below the lowest measured cap, from which `value` then falls in proportion to power (reckoned
    so from the next one, two boards' lowest points are 0.75 and 0.64; measured: 0.78, 0.68)."""


_SWEEPS: dict[str, dict[Work, tuple[tuple[float, float], ...]]] = {
    "rtx-3090": {
        "decode": ((220.0, 0.78), (280.0, 0.95), (350.0, 1.0)),
        "batch": ((280.0, 0.95), (350.0, 1.0)),
        "prefill": ((280.0, 0.95), (350.0, 1.0)),
    },
    "rtx-5090": {
        "decode": ((400.0, 0.952), (450.0, 0.983), (500.0, 0.996), (600.0, 1.0)),
    },
    "rtx-pro-6000-workstation": {
        "decode": ((200.0, 0.68), (300.0, 0.96), (600.0, 1.0)),
        "batch": ((300.0, 0.70), (600.0, 1.0)),
        "prefill": ((300.0, 0.55), (350.0, 0.642), (400.0, 0.728), (450.0, 0.801), (600.0, 1.0)),
    },
    "rtx-pro-6000-server": {
        "prefill": ((300.0, 0.785), (350.0, 0.854), (400.0, 0.911), (500.0, 1.0)),
    },
}  # fmt: skip
_SOURCES = {
    "rtx-3090": "owners' sweeps: 280 W keeps about 95 % (club-3090); 220 W from one rig",
    "rtx-5090": "sudoingX/qwen38-mtp, Qwen3.8-27B decode",
    "rtx-pro-6000-workstation": "rtx6kpro blackwell-power-limit-sweep.md; 200 W: a llama-bench",
    "rtx-pro-6000-server": "rtx6kpro blackwell-power-limit-sweep.md, relative to 500 W",
}


_BINNED = "max-q"
"""In the name of a board with the workstation board's chip that is sold at a lower limit. By the
other's sweep 300 W keep 96, 70 and 55 %; one published pair of runs kept 94 % with one to eight
streams and 73 % of prompts, and four such boards with 1 to 16 streams run at 0.9 to 1.1 of the
figure without a cap (five configurations): the speed is not lowered, its low end is."""


MANY = 8
"""Streams from which a step is one of the sweeps' batches."""


def decode_cost(card: Card, settings: EngineSettings, streams: int) -> CapCost:
    """What a cap costs of so many streams; more than one keep all cards of a split at work."""
    turns = settings.turns if streams == 1 else 1
    return speed_at_cap(card, "decode" if streams < MANY else "batch", turns)


def prompt_cost(card: Card, settings: EngineSettings) -> CapCost:
    """What a cap costs of a prompt."""
    return speed_at_cap(card, "prefill", settings.turns)


def speed_at_cap(card: Card, work: Work, turns: int = 1) -> CapCost:
    """Relative speed at the card's cap: measured for four boards, 1 and unknown for others.

    The limit is one of the average, so cards that take turns may each draw more while it is theirs:
    a 9B Q8_0 on one 3090 at 220 W makes 54 tok/s, split by layers over four such cards 85.
    """
    cap, default = card.power_limit_w, card.power_default_w
    if _is_binned(card):
        least = _in_sweep(card, work, (cap or default or 0.0) * turns).low
        return CapCost(1.0, least, 1.0, measured=False, source="unknown: no sweep of this board")
    cap = cap * turns if cap else cap
    if cap is None or (default and cap >= default):
        return CapCost(1.0, 1.0, 1.0, measured=True, source="")
    return _in_sweep(card, work, cap)


def _in_sweep(card: Card, work: Work, watts: float) -> CapCost:
    name = _sweep_name(card.name)
    points = _SWEEPS.get(name, {}).get(work) if name else None
    if not points:
        least = _in_proportion(watts, card.power_default_w)
        source = "unknown: nobody published a sweep of this card"
        return CapCost(1.0, least, 1.0, measured=False, source=source)
    source, (lowest_w, kept) = _SOURCES[name or ""], points[0]
    if watts >= lowest_w:
        value = _between(points, watts)
        return CapCost(value, value, value, measured=True, source=source)
    value = kept * watts / lowest_w
    least = min(value, _in_proportion(watts, points[-1][0]))
    return CapCost(value, least, kept, measured=False, source=source, below_sweep=True)


def _in_proportion(watts: float, default: float | None) -> float:
    """The least that a cap leaves of the speed: it costs no more than it saves. A half where the
    board's own limit is not known."""
    return min(1.0, watts / default) if default else 0.5


def _is_binned(card: Card) -> bool:
    return _BINNED in card.name.lower() and _sweep_name(card.name) is not None


def _sweep_name(name: str) -> str | None:
    text = name.lower()
    if "pro 6000" in text:
        return "rtx-pro-6000-server" if "server" in text else "rtx-pro-6000-workstation"
    if "3090" in text and "ti" not in text.split():
        return "rtx-3090"
    return "rtx-5090" if "5090" in text else None


def _between(points: Sequence[tuple[float, float]], watts: float) -> float:
    """Straight lines between measured points."""
    pairs = list(itertools.pairwise(points))
    (low_w, low), (high_w, high) = next((pair for pair in pairs if watts <= pair[1][0]), pairs[-1])
    return min(1.0, low + (high - low) * (watts - low_w) / (high_w - low_w))
