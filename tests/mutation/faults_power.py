"""Faults of caps, ceilings and budgets: cells of nvidia-smi's CSV."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def other_writer(raw: Raw) -> Raw:
    """A second unit set the cap it likes."""
    return raw.cell("power.limit", "400.00").cell("enforced.power.limit", "400.00")


def all_caps(raw: Raw, watts: str) -> Raw:
    """Somebody raised every cap by hand."""
    for card in range(len(raw.slots)):
        raw = raw.cell("power.limit", watts, card=card)
        raw = raw.cell("enforced.power.limit", watts, card=card)
    return raw


FAULTS = (
    Fault("power.limit", "another writer changed the cap", other_writer, "something else set it"),
    Fault(
        "power.limit",
        "a power brake holds the card below its cap",
        lambda raw: raw.cell("enforced.power.limit", "270.00", card=1),
        "another limiter acts",
    ),
    Fault(
        "power.ceiling",
        "a card clocks above its ceiling",
        lambda raw: raw.cell("clocks.current.sm", "2790", card=3),
        "2790 MHz",
        rig="metal",
    ),
    Fault(
        "power.circuit",
        "all caps raised by hand to 450 W",
        lambda raw: all_caps(raw, "450.00"),
        "2261 W",
        also=("power.limit",),
    ),
    Fault(
        "power.supply",
        "the caps add up to more than the supplies carry",
        lambda raw: all_caps(raw, "725.00"),
        "3760 W",
        also=("power.limit", "power.circuit"),
    ),
)
