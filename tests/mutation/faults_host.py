"""Faults of the machine itself."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault

OLD_KEYS = "secure-boot"


def another_os(raw: Raw) -> Raw:
    return raw.sub("host", "^VERSION_ID=.*", 'VERSION_ID="12"')


def full_disk(raw: Raw) -> Raw:
    """The line of `/` in `df -P -k`: 200 MiB left."""
    return raw.sub("df", r"^(\S+ +\d+ +\d+ +)\d+( +\d+% /)$", r"\g<1>204800\2")


FAULTS = (
    Fault("host.os", "another release of the OS", another_os, "debian-12"),
    Fault(
        "host.arch",
        "another architecture",
        lambda raw: raw.sub("host", "^rig_machine=.*", "rig_machine=aarch64"),
        "aarch64",
    ),
    Fault(
        "host.cpu",
        "another CPU vendor",
        lambda raw: raw.sub("machine", "^vendor_id.*", "vendor_id\t: GenuineIntel"),
        "intel",
        rig="metal",
    ),
    Fault(
        "host.root",
        "the commands do not run as root",
        lambda raw: raw.sub("host", "^rig_uid=.*", "rig_uid=1000"),
        "do not run as root",
    ),
    Fault("host.space", "the disk is nearly full", full_disk, "0.2 GiB free"),
    Fault(
        "host.secure-boot",
        "Secure Boot on after a firmware update",
        lambda raw: raw.put(OLD_KEYS, "uefi yes\nefivar 06 00 00 00 01\nlockdown none [integrity]"),
        "refuses drivers that are not signed",
    ),
    Fault(
        "host.signing-key",
        "the firmware forgot the signing key",
        lambda raw: raw.sub("machine", "^key .*", "key new"),
        "not enrolled",
        rig="metal",
    ),
)
