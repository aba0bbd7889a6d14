"""Faults of boots: how the last one ended, what this one started too early."""

from __future__ import annotations

from .raw import Raw
from .registry import Fault


def late_driver(raw: Raw) -> Raw:
    """The driver came 60 s late, and the engine did not wait for what stands on it."""
    return raw.unit("rigspec-ready.service", ActiveEnterTimestampMonotonic="9999000000")


FAULTS = (
    Fault(
        "boot.order",
        "the driver was late and the engine did not wait",
        late_driver,
        "started before rigspec-ready.service",
    ),
    Fault(
        "host.last-boot",
        "a watchdog reset the machine",
        lambda raw: raw.put("last-boot", f"watchdog watchdog0 32\n{raw.text('last-boot')}"),
        "watchdog0 reset the machine",
    ),
    Fault(
        "host.last-boot",
        "the dying kernel left a record",
        lambda raw: raw.put(
            "last-boot", f"record /sys/fs/pstore/dmesg-efi-1\n{raw.text('last-boot')}"
        ),
        "/sys/fs/pstore/dmesg-efi-1",
    ),
    Fault(
        "host.last-boot",
        "the firmware recorded a hardware error",
        lambda raw: raw.append(
            "kernel-log", "[    1.200000] rig kernel: BERT: Error records from previous boot:"
        ),
        "BERT: Error records",
    ),
)
