"""A rig spec as a virtual machine: the same PCIe tree, the same cards, nothing decided twice.

Members get their place by walking the declared tree, so `main.0` is the first card that the
firmware finds below the first port, as on a real board whose slots are filled in order.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.errors import LabError
from rigspec.lab.topology import Aspm, GpuEndpoint, Link, MachineTree, Port, Socket, Switch
from rigspec.spec.pcie import Switch as SwitchSpec
from rigspec.spec.rig import Rig, members


def machine_tree(rig: Rig, extra: Path | None = None) -> MachineTree:
    """The virtual machine that has this rig's PCIe tree.

    Raises LabError for a SKU the catalog does not know and for a tree the emulator cannot hold.
    """
    builder = _Builder(rig, extra)
    ports: dict[int, list[Port]] = defaultdict(list)
    for direct in rig.pcie.direct:
        link = Link(direct.generation or rig.pcie.generation, direct.width or rig.pcie.width)
        for member in members(rig.gpus, direct.gpus):
            ports[direct.numa_node].append(Port(builder.gpu(member), link))
    for switch in rig.pcie.switches:
        link = Link(switch.generation, switch.upstream_width)
        ports[switch.numa_node].append(Port(builder.switch(switch), link))
    nodes = sorted(ports)
    sockets = tuple(
        Socket(tuple(ports[node]), numa_node=node if len(nodes) > 1 else -1) for node in nodes
    )
    # where the spec wants ASPM off, a firmware that left L1 on is what proves it
    firmware: Aspm = "l1" if rig.pcie.aspm == "off" else "off"
    return MachineTree(sockets=sockets, firmware_aspm=firmware, cpu=rig.host.cpu)


def member_slots(rig: Rig) -> dict[str, int]:
    """The slot number of each member in the virtual machine, in the order of the declared tree."""
    order: list[str] = []
    for direct in rig.pcie.direct:
        order.extend(members(rig.gpus, direct.gpus))
    for switch in rig.pcie.switches:
        order.extend(_switch_members(rig, switch))
    return {member: slot for slot, member in enumerate(order)}


def _switch_members(rig: Rig, switch: SwitchSpec) -> list[str]:
    below = list(members(rig.gpus, switch.gpus))
    for inner in switch.switches:
        below.extend(_switch_members(rig, inner))
    return below


class _Builder:
    """Turns members and switches into what is plugged into a port."""

    def __init__(self, rig: Rig, extra: Path | None) -> None:
        self.rig = rig
        self.extra = extra
        self.slots = member_slots(rig)

    def gpu(self, member: str) -> GpuEndpoint:
        group = self.rig.gpus[member.split(".")[0]]
        card = find_gpu(group.sku, self.extra)
        if card is None:
            raise LabError(
                f"the catalog has no card `{group.sku}`", hint="run `rigspec check` on the spec"
            )
        return _endpoint(card, self.slots[member])

    def switch(self, spec: SwitchSpec) -> Switch:
        link = Link(spec.generation, spec.downstream_width)
        below = [Port(self.gpu(m), link) for m in members(self.rig.gpus, spec.gpus)]
        for inner in spec.switches:
            below.append(Port(self.switch(inner), Link(inner.generation, inner.upstream_width)))
        return Switch(tuple(below), Link(spec.generation, spec.upstream_width))


def _endpoint(card: Gpu, slot: int) -> GpuEndpoint:
    default_w = card.power_default_w
    return GpuEndpoint(
        slot=slot,
        name=card.name,
        device_id=int(card.pci_ids[0], 16),
        memory_mib=card.memory_mib,
        power_min_w=card.power_min_w or default_w // 2,
        power_default_w=default_w,
        power_max_w=card.power_max_w or default_w,
        link=Link(card.pcie_gen, card.pcie_width),
        class_code=int(card.pci_class, 16),
        compute_capability=".".join(str(part) for part in card.compute_capability),
        bar1_mib=card.bar1_mib or 256,
    )
