"""The gate before every model server: fabric, caps and container devices are as they should be."""

from __future__ import annotations

from rigspec.plan.pcie import ACS_UNIT
from rigspec.plan.power import POWER_UNIT
from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import RenderedFile
from rigspec.spec.rig import Rig

READY_UNIT = "rigspec-ready.service"


def ready_files(rig: Rig) -> tuple[RenderedFile, ...]:
    """Script and unit; the unit requires those of the earlier stages."""
    acs = (ACS_UNIT,) if rig.pcie.acs == "off_on_gpu_paths" else ()
    return (
        render(f"{SCRIPTS}/ready", rig=rig.name, origin="gpus and containers", mode="755"),
        render(
            f"{UNITS}/{READY_UNIT}",
            rig=rig.name,
            origin="gpus and containers",
            requires=" ".join((*acs, POWER_UNIT)),
        ),
    )
