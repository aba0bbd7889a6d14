"""Faults of systemd units: what `systemctl show` says of them."""

from __future__ import annotations

from .registry import Fault

FAULTS = (
    Fault(
        "units",
        "the power unit failed",
        lambda raw: raw.unit("rigspec-power.service", ActiveState="failed", Result="exit-code"),
        "it ended with `exit-code`",
        also=("boot.order",),
    ),
    Fault(
        "units",
        "another program has the port of a service",
        lambda raw: raw.unit(
            "rigspec-glm.service", ActiveState="activating", SubState="auto-restart", NRestarts="9"
        ),
        "another program holds port",
    ),
    Fault(
        "units",
        "a service was disabled",
        lambda raw: raw.unit("rigspec-glm.service", UnitFileState="disabled"),
        "would not come back after a boot",
    ),
    Fault(
        "units",
        "a unit's file is gone",
        lambda raw: raw.unit("rigspec-acs.service", LoadState="not-found", ActiveState="inactive"),
        "its file is missing",
        also=("boot.order",),
    ),
    Fault(
        "units",
        "a drop-in edits a unit",
        lambda raw: raw.unit(
            "rigspec-power.service",
            DropInPaths="/etc/systemd/system/rigspec-power.service.d/x.conf",
        ),
        "a drop-in that is not ours",
    ),
)
