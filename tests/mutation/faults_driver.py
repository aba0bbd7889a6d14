"""Faults of the driver."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def half_upgraded(raw: Raw) -> Raw:
    return raw.sub("nvidia-proc", r"(NVRM version: .*?)595\.\S+", r"\g<1>595.45.04")


def another_branch(raw: Raw) -> Raw:
    return raw.sub("smi", r"\b595\.[0-9.]+", "580.95.05", count=0).sub(
        "nvidia-proc", r"(NVRM version: .*?)595\.\S+", r"\g<1>580.95.05"
    )


FAULTS = (
    Fault(
        "driver.version",
        "one half of the driver was upgraded",
        half_upgraded,
        "only half of it was upgraded",
        rig="metal",
    ),
    Fault("driver.version", "another driver runs", another_branch, "580.95.05", rig="metal"),
    Fault(
        "driver.packages",
        "a driver package was removed",
        lambda raw: raw.drop("packages", r"^nvidia-kernel-open-dkms\t"),
        "nvidia-kernel-open-dkms is not installed",
    ),
    Fault(
        "driver.packages",
        "dpkg was interrupted",
        lambda raw: raw.put(
            "dpkg-audit", "The following packages are only half configured:\n nvidia-open"
        ),
        "only half configured",
    ),
    Fault(
        "driver.flavour",
        "the proprietary module is loaded",
        lambda raw: raw.sub("nvidia-proc", "Open Kernel Module", "Kernel Module"),
        "proprietary",
        rig="metal",
    ),
    Fault(
        "driver.hold",
        "somebody lifted the hold",
        lambda raw: raw.drop("holds", "^nvidia-kernel-open-dkms$"),
        "unattended upgrades may take it",
    ),
    Fault(
        "driver.persistence",
        "persistence mode is off",
        lambda raw: raw.cell("persistence_mode", "Disabled", card=1),
        "lost when the card goes idle",
    ),
)
