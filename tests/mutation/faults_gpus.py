"""Faults of the cards as such."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def off_the_bus(raw: Raw) -> Raw:
    """The last card is gone from sysfs and from configuration space; the driver still lists it."""
    return raw.without_function(raw.slots[-1])


def silent(raw: Raw) -> Raw:
    """A card that the driver lost: its rows are missing, the bus still has it."""
    uuid = raw.uuids[-1]
    return raw.drop("smi", uuid).drop("smi-extra", uuid)


def swapped(raw: Raw) -> Raw:
    """Two cards changed their slots; UUIDs travel with the cards."""
    (a, b), (slot_a, slot_b) = raw.uuids[:2], raw.slots[:2]
    bus = {slot: f"0000{slot.upper()}" for slot in (slot_a, slot_b)}
    text = raw.text("smi")
    lines = []
    for line in text.split("\n"):
        if a in line:
            line = line.replace(bus[slot_a], bus[slot_b])
        elif b in line:
            line = line.replace(bus[slot_b], bus[slot_a])
        lines.append(line)
    return raw.put("smi", "\n".join(lines))


FAULTS = (
    Fault(
        "gpus.present",
        "a card is missing on the bus",
        off_the_bus,
        "declared card(s) do not show up on the bus",
        also=("pcie.width", "pcie.generation"),
    ),
    Fault("gpus.answers", "a card does not answer", silent, "the bound card is gone"),
    Fault("gpus.answers", "two cards were swapped", swapped, "moved to another slot"),
    Fault(
        "gpus.temperature",
        "a card is hot",
        lambda raw: raw.cell("temperature.gpu", "97", card=2),
        "97 °C",
    ),
)
