"""The cards of a rig as members (`main.0`), and what the spec and the catalog say about each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.plan.sections import GpuMember
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.pcie import Switch
from rigspec.spec.rig import Rig, all_members, members


@dataclass(frozen=True)
class Place:
    """What the declared tree says about a member's own link, and the socket above it."""

    generation: int
    width: int
    numa_node: int | None


def plan_gpus(rig: Rig, extra: Path | None = None) -> tuple[GpuMember, ...]:
    """Every member, groups in the order of the YAML; `extra` is the owner's catalog folder."""
    places = find_places(rig)
    return tuple(_member(rig, name, places, extra) for name in all_members(rig.gpus))


def _member(rig: Rig, name: str, places: dict[str, Place], extra: Path | None) -> GpuMember:
    group_name, _, index = name.partition(".")
    group, at = rig.gpus[group_name], int(index)
    card = known_card(group.sku, extra)
    place = places.get(name, Place(rig.pcie.generation, rig.pcie.width, None))
    return GpuMember(
        member=name,
        sku=card.sku,
        product_name=card.name,
        pci_ids=card.pci_ids,
        memory_mib=card.memory_mib,
        link_generation=min(place.generation, card.pcie_gen or place.generation),
        link_width=min(place.width, card.pcie_width or place.width),
        numa_node=place.numa_node,
        bar1_mib=card.bar1_mib if rig.pcie.resizable_bar else None,
        power_limit_w=group.power_limit_w,
        power_default_w=card.power_default_w,
        clock_ceiling_mhz=group.clock_ceiling_mhz,
        slot=group.slots[at] if at < len(group.slots) else None,
        uuid=group.uuids[at] if at < len(group.uuids) else None,
        resizable_bar=rig.pcie.resizable_bar,
        nvlink_peer=_bridged_to(group, group_name, at),
    )


def _bridged_to(group: GpuGroup, name: str, at: int) -> str | None:
    """Bridges join the first with the second, the third with the fourth."""
    other = at ^ 1
    return f"{name}.{other}" if group.nvlink_bridge and other < group.count else None


def known_card(sku: str, extra: Path | None = None) -> Gpu:
    """The catalog's card; an unknown one is an error that `rigspec check` has already shown."""
    card = find_gpu(sku, extra)
    if card is None:
        raise RigspecError(
            f"the catalog does not know the card `{sku}`", hint="run `rigspec check` first"
        )
    return card


def find_places(rig: Rig) -> dict[str, Place]:
    """Each member's own link as declared: the port it sits on, and `pcie.generation`, `pcie.width`.

    The uplink of a switch is another link and does not narrow the links below it.
    """
    wanted = rig.pcie
    found: dict[str, Place] = {}
    for slots in wanted.direct:
        place = Place(
            slots.generation or wanted.generation, slots.width or wanted.width, slots.numa_node
        )
        found |= dict.fromkeys(members(rig.gpus, slots.gpus), place)
    for switch, numa_node in _all_switches(rig):
        place = Place(
            min(wanted.generation, switch.generation),
            min(wanted.width, switch.downstream_width),
            numa_node,
        )
        found |= dict.fromkeys(members(rig.gpus, switch.gpus), place)
    return found


def _all_switches(rig: Rig) -> Iterator[tuple[Switch, int]]:
    """Every switch with the socket that the topmost one above it hangs on."""
    waiting = [(switch, switch.numa_node) for switch in rig.pcie.switches]
    while waiting:
        switch, numa_node = waiting.pop(0)
        yield switch, numa_node
        waiting.extend((below, numa_node) for below in switch.switches)
