"""Faults of the running kernel."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def stale_entry(raw: Raw) -> Raw:
    """GRUB booted an older entry: none of our words on the line."""
    return raw.sub("host", r"^(rig_cmdline=.*?) iommu=pt\b", r"\1")


FAULTS = (
    Fault("kernel.arguments", "a stale boot entry was booted", stale_entry, "missing: iommu=pt"),
    Fault(
        "kernel.contradictions",
        "a word that undoes the plan stands on the line",
        lambda raw: raw.sub("host", "^(rig_cmdline=.*)$", r"\1 iommu=off"),
        "undo what the spec asks for",
    ),
    Fault(
        "kernel.next-boot",
        "somebody wrote grub.cfg anew without our drop-in",
        lambda raw: raw.sub("next-boot", r" iommu=pt\b", ""),
        "without iommu=pt",
    ),
    Fault(
        "kernel.understood",
        "pci=noacs was added by hand",
        lambda raw: raw.append(
            "kernel-log", "[    0.100000] rig kernel: PCI: Unknown option `noacs'"
        ),
        "noacs",
    ),
    Fault(
        "kernel.iommu",
        "the BIOS switched the IOMMU off",
        lambda raw: raw.put("iommu", ""),
        "switched off in the BIOS",
    ),
    Fault(
        "kernel.iommu",
        "devices are translated",
        lambda raw: raw.sub("iommu", r"^(group \d+) identity", r"\1 DMA-FQ", count=0),
        "is DMA-FQ",
    ),
    Fault(
        "kernel.nouveau",
        "nouveau took the cards",
        lambda raw: raw.append("modules", "nouveau 2449408 0 - Live 0x0000000000000000"),
        "blacklist came too late",
    ),
    Fault(
        "kernel.module",
        "the module was loaded with another value",
        lambda raw: raw.sub("modules", "(uvm_disable_hmm:).*", r"\1N"),
        "loaded with another value",
        rig="metal",
    ),
)
