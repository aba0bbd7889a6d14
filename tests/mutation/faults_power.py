"""Faults of caps, ceilings and budgets: cells of nvidia-smi's CSV."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def other_writer(raw: Raw) -> Raw:
    """A second unit set the cap it likes."""
    return raw.cell("power.limit", "400.00").cell("enforced.power.limit", "400.00")


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
)
