"""The PCIe fabric: the unit that keeps switches from sending GPU traffic up to the CPU."""

from __future__ import annotations

from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import PciePlan, RenderedFile
from rigspec.spec.rig import Rig

ACS_UNIT = "rigspec-acs.service"


def plan_pcie(rig: Rig) -> PciePlan:
    """ACS, ASPM and peer access as wanted; files only where ACS is to be cleared."""
    acs_off = rig.pcie.acs == "off_on_gpu_paths"
    return PciePlan(
        acs_off=acs_off,
        aspm_off=rig.pcie.aspm == "off",
        peer_to_peer=rig.pcie.peer_to_peer,
        files=_acs_files(rig) if acs_off else (),
        units=(ACS_UNIT,) if acs_off else (),
    )


def _acs_files(rig: Rig) -> tuple[RenderedFile, ...]:
    return (
        render(f"{SCRIPTS}/acs", rig=rig.name, origin="pcie.acs", mode="755"),
        render(f"{UNITS}/{ACS_UNIT}", rig=rig.name, origin="pcie.acs"),
    )
