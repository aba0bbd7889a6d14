"""The PCIe fabric: the unit that keeps switches from sending GPU traffic up to the CPU."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.plan.expected import Uplink
from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import PciePlan, RenderedFile
from rigspec.spec.pcie import Switch
from rigspec.spec.rig import Rig, members

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
        uplinks=tuple(_uplinks(rig)),
    )


def _uplinks(rig: Rig) -> Iterator[Uplink]:
    """The upward link of every declared switch, and a card by which it is found on the host."""
    for index, switch in enumerate(rig.pcie.switches):
        yield from _uplinks_below(rig, switch, f"pcie.switches[{index}]")


def _uplinks_below(rig: Rig, switch: Switch, origin: str) -> Iterator[Uplink]:
    below = [
        link
        for index, inner in enumerate(switch.switches)
        for link in _uplinks_below(rig, inner, f"{origin}.switches[{index}]")
    ]
    own, depth = members(rig.gpus, switch.gpus), 0
    if not own and below:
        own, depth = below[-1].members, below[-1].depth + 1
    if own:
        generation, width = switch.generation, switch.upstream_width
        yield Uplink(switch.name, origin, generation, width, own, depth)
    yield from below


def _acs_files(rig: Rig) -> tuple[RenderedFile, ...]:
    return (
        render(f"{SCRIPTS}/acs", rig=rig.name, origin="pcie.acs", mode="755"),
        render(f"{UNITS}/{ACS_UNIT}", rig=rig.name, origin="pcie.acs"),
    )
