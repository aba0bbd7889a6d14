"""What must be found, and which small tools must be there, before anything is touched."""

from __future__ import annotations

from rigspec.plan.sections import GpuMember, Package, PreflightPlan
from rigspec.spec.rig import Rig

TOOLS = ("ca-certificates", "curl", "gpg", "jq", "pciutils")
"""What our scripts on the host call beside a minimal system: curl and jq fetch weights, gpg reads a
repository key's fingerprint, pciutils has setpci and lspci."""

DRIVER_GIB = 4
"""Root space for driver, DKMS tree and container engine: an estimate with room to spare."""

INSTALLED_FREE_GIB = 1
"""Room that upgrades and logs need once everything is installed."""


def plan_preflight(rig: Rig, gpus: tuple[GpuMember, ...]) -> PreflightPlan:
    """The host as declared, and the tools that later stages call."""
    return PreflightPlan(
        os=rig.host.os,
        cpu=rig.host.cpu,
        secure_boot=rig.driver.secure_boot,
        gpus=gpus,
        packages=tuple(Package(name) for name in TOOLS),
        min_root_free_gib=DRIVER_GIB,
    )
