"""Power caps and clock ceilings by member, and the unit that sets them at every boot."""

from __future__ import annotations

from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import PowerPlan, RenderedFile
from rigspec.spec.rig import Rig, all_members

POWER_UNIT = "rigspec-power.service"
POWER_TABLE = "/etc/rigspec/power.tsv"

Card = tuple[str, int | str, int | str]
"""Member, watts, MHz; `-` is the card's own default."""


def plan_power(rig: Rig) -> PowerPlan:
    """One number per card; cards without a cap are listed too, and set to their default."""
    groups = {member: rig.gpus[member.partition(".")[0]] for member in all_members(rig.gpus)}
    return PowerPlan(
        limits_w=tuple((m, g.power_limit_w) for m, g in groups.items() if g.power_limit_w),
        ceilings_mhz=tuple(
            (m, g.clock_ceiling_mhz) for m, g in groups.items() if g.clock_ceiling_mhz
        ),
        files=_files(
            rig,
            tuple(
                (m, g.power_limit_w or "-", g.clock_ceiling_mhz or "-") for m, g in groups.items()
            ),
        ),
        units=(POWER_UNIT,),
    )


def _files(rig: Rig, cards: tuple[Card, ...]) -> tuple[RenderedFile, ...]:
    origin = "gpus.*.power_limit_w and gpus.*.clock_ceiling_mhz"
    return (
        render(POWER_TABLE, rig=rig.name, origin=origin, cards=cards),
        render(f"{SCRIPTS}/power", rig=rig.name, origin=origin, mode="755"),
        render(f"{UNITS}/{POWER_UNIT}", rig=rig.name, origin=origin),
    )
