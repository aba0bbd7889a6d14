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
        also=("pcie.width", "pcie.generation", "pcie.bar"),
    ),
    Fault(
        "gpus.answers",
        "a card does not answer",
        silent,
        "the bound card is gone",
        also=(
            "gpus.errors",
            "power.limit",
            "power.supply",
            "power.circuit",
            "containers.cdi",
        ),
    ),
    Fault("gpus.answers", "two cards were swapped", swapped, "moved to another slot"),
    Fault(
        "gpus.nvlink",
        "a bridge is not seated",
        lambda raw: raw.sub("topology", "^(GPU[01].*)NV4", r"\1PHB", count=0),
        "the bridge is not seated",
        rig="metal",
    ),
    Fault(
        "gpus.temperature",
        "a card is hot",
        lambda raw: raw.cell("temperature.gpu", "97", card=2),
        "97 °C",
    ),
    Fault(
        "gpus.errors",
        "uncorrected ECC errors",
        lambda raw: raw.cell("ecc.errors.uncorrected.volatile.total", "3"),
        "uncorrected ECC errors: 3",
        rig="metal",
    ),
    Fault(
        "gpus.errors",
        "a row waits for a reset",
        lambda raw: raw.cell("remapped_rows.pending", "Yes", section="smi-extra"),
        "row remapping waits for a reset",
        rig="metal",
    ),
    Fault(
        "gpus.errors",
        "row remapping failed",
        lambda raw: raw.cell("remapped_rows.failure", "Yes", section="smi-extra"),
        "row remapping failed",
        rig="metal",
    ),
    Fault(
        "gpus.errors",
        "a page waits for its retirement",
        lambda raw: raw.cell("retired_pages.pending", "Yes", section="smi-extra"),
        "page retirement waits",
        rig="metal",
    ),
    Fault(
        "gpus.errors",
        "the driver asks for a reset",
        lambda raw: raw.cell("gpu_recovery_action", "GPU Reset", section="smi-extra", card=1),
        "asks for: GPU Reset",
    ),
    Fault(
        "gpus.xid",
        "Xid 79 in the kernel log",
        lambda raw: raw.append(
            "kernel-log",
            f"[ 9000.000000] rig kernel: NVRM: Xid (PCI:{raw.slots[1][:-2]}): 79, pid='<unknown>', "
            "name=<unknown>, GPU has fallen off the bus.",
        ),
        "Xid 79 (GPU has fallen off the bus)",
    ),
    Fault(
        "gpus.xid",
        "a card fell off the bus without an Xid",
        lambda raw: raw.append(
            "kernel-log",
            f"[ 9000.000000] rig kernel: NVRM: The NVIDIA GPU {raw.slots[2]} has fallen off the "
            "bus and is not responding to commands.",
        ),
        "fell off the bus",
    ),
)
