"""Power caps and clock ceilings by member, and the unit that sets them at every boot."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.plan.expected import Budget, Supplied
from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import PowerPlan, RenderedFile
from rigspec.sizing.supplies import base_share_w, circuit_w
from rigspec.spec.rig import Rig, all_members, members

POWER_UNIT = "rigspec-power.service"
POWER_TABLE = "/etc/rigspec/power.tsv"

CIRCUIT = "circuit"

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
        budgets=(*_supplies(rig), _circuit(rig)),
    )


def _supplies(rig: Rig) -> Iterator[Budget]:
    """Each supply carries its cards, their spikes and its share of the host."""
    for index, psu in enumerate(rig.power.psus):
        fed = tuple(dict.fromkeys(members(rig.gpus, psu.gpus)))
        if fed:
            part = Supplied(fed, base_share_w(rig, psu), rig.power.transient_factor)
            watts = float(psu.watts * psu.count)
            yield Budget(f"supply.{psu.name}", f"power.psus[{index}]", watts, (part,))


def _circuit(rig: Rig) -> Budget:
    """The circuit carries for hours what all supplies draw from it."""
    parts = tuple(
        Supplied(
            tuple(dict.fromkeys(members(rig.gpus, psu.gpus))),
            base_share_w(rig, psu),
            efficiency=psu.efficiency,
        )
        for psu in rig.power.psus
    )
    return Budget(CIRCUIT, "power.circuit", circuit_w(rig.power.circuit)[0], parts)


def _files(rig: Rig, cards: tuple[Card, ...]) -> tuple[RenderedFile, ...]:
    origin = "gpus.*.power_limit_w and gpus.*.clock_ceiling_mhz"
    return (
        render(POWER_TABLE, rig=rig.name, origin=origin, cards=cards),
        render(f"{SCRIPTS}/power", rig=rig.name, origin=origin, mode="755"),
        render(f"{UNITS}/{POWER_UNIT}", rig=rig.name, origin=origin),
    )
