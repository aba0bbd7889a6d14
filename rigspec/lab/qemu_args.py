"""A machine tree as QEMU's arguments and as edits of its devices' configuration spaces. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rigspec.lab.topology import (
    MAX_GPUS,
    MAX_SOCKETS,
    GpuEndpoint,
    Link,
    MachineTree,
    Port,
    Switch,
)

# ids of the stock QEMU devices that stand in
ROOT_PORT = (0x1B36, 0x000C)
UPSTREAM = (0x104C, 0x8232)
DOWNSTREAM = (0x104C, 0x8233)
ENDPOINT = (0x1AF4, 0x1110)  # ivshmem-plain: the one with a 64-bit prefetchable BAR of any size

FIRST_ROOT_SLOT = 0x10  # below are the lab's own disks and network
ROOT_SLOTS = 0x1F - FIRST_ROOT_SLOT  # 0x1f is the chipset's
PXB_SLOTS = 32

ASPM_L1 = 2  # LnkCtl bits 1:0, PCIe base specification 7.5.3.7


@dataclass(frozen=True)
class ConfigEdit:
    """What one device's configuration space shall show; None leaves a thing as QEMU made it."""

    ident: str
    stock: tuple[int, int]
    ids: tuple[int, int]
    capable: Link
    trained: Link
    firmware_aspm: int = 0
    class_code: int | None = None
    subsystem: tuple[int, int] | None = None
    card: int | None = None
    acs: bool | None = None


class _Builder:
    """Walks a tree once, numbering devices; QEMU wants ids, chassis and slots to be unique."""

    def __init__(self, tree: MachineTree) -> None:
        self.tree = tree
        self.args: list[str] = []
        self.edits: list[ConfigEdit] = []
        self.chassis = 0
        self.aspm = ASPM_L1 if tree.firmware_aspm == "l1" else 0

    def device(self, text: str) -> None:
        self.args += ["-device", text]

    def sockets(self) -> None:
        several = len(self.tree.sockets) > 1
        for number, socket in enumerate(self.tree.sockets):
            bus, first = "pcie.0", FIRST_ROOT_SLOT
            if several:
                bus, first = f"pxb{number}", 0
                node = f",numa_node={socket.numa_node}" if socket.numa_node >= 0 else ""
                where = f"bus_nr={64 * (number + 1)},bus=pcie.0,addr={8 + number:#x}"
                self.device(f"pxb-pcie,id={bus},{where}{node}")
            for slot, port in enumerate(socket.ports, start=first):
                self.root_port(port, bus, slot)

    def root_port(self, port: Port, bus: str, slot: int) -> None:
        self.chassis += 1
        ident = f"rp{self.chassis}"
        place = f"bus={bus},addr={slot:#x},chassis={self.chassis},slot={self.chassis}"
        # no I/O window: sixteen ports of 4 KiB would be all there is
        self.device(f"pcie-root-port,id={ident},{place},io-reserve=0")
        self.edit_port(port, ident, ROOT_PORT, ROOT_PORT)
        self.child(port, ident)

    def child(self, port: Port, bus: str) -> None:
        if isinstance(port.child, GpuEndpoint):
            self.endpoint(port.child, port.trained, bus)
        elif isinstance(port.child, Switch):
            self.switch(port.child, port.trained, bus)

    def switch(self, switch: Switch, trained: Link, bus: str) -> None:
        up = f"up{self.chassis}"
        self.device(f"x3130-upstream,id={up},bus={bus}")
        ids = (switch.vendor_id, switch.upstream_id)
        self.edits.append(ConfigEdit(up, UPSTREAM, ids, switch.link, trained, self.aspm))
        for port in switch.downstream:
            self.chassis += 1
            ident = f"dn{self.chassis}"
            place = f"bus={up},chassis={self.chassis},slot={self.chassis}"
            self.device(f"xio3130-downstream,id={ident},{place}")
            self.edit_port(port, ident, DOWNSTREAM, (switch.vendor_id, switch.downstream_id))
            self.child(port, ident)

    def edit_port(
        self, port: Port, ident: str, stock: tuple[int, int], ids: tuple[int, int]
    ) -> None:
        edit = ConfigEdit(ident, stock, ids, port.link, port.trained, self.aspm, acs=port.has_acs)
        self.edits.append(edit)

    def endpoint(self, gpu: GpuEndpoint, trained: Link, bus: str) -> None:
        ident = f"gpu{gpu.slot}"
        # a BAR is a power of two
        size = f"size={1 << (gpu.bar1_mib - 1).bit_length()}M,share=on,reserve=off"
        self.args += ["-object", f"memory-backend-ram,id=mem{gpu.slot},{size}"]
        self.device(f"ivshmem-plain,id={ident},bus={bus},memdev=mem{gpu.slot}")
        self.edits.append(
            ConfigEdit(
                ident,
                ENDPOINT,
                (gpu.vendor_id, gpu.device_id),
                gpu.link,
                trained,
                self.aspm,
                class_code=gpu.class_code,
                subsystem=gpu.subsystem,
                card=gpu.card,
            )
        )


def check_tree(tree: MachineTree) -> None:
    """Raise ValueError for a tree QEMU cannot show: too many GPUs, sockets or root ports."""
    slots = [gpu.slot for gpu in tree.gpus]
    if len(slots) > MAX_GPUS:
        raise ValueError(f"{len(slots)} GPUs, at most {MAX_GPUS}")
    if len(set(slots)) != len(slots):
        raise ValueError("two GPUs in one slot")
    if len(tree.sockets) > MAX_SOCKETS:
        raise ValueError(f"{len(tree.sockets)} sockets, at most {MAX_SOCKETS}")
    most = ROOT_SLOTS if len(tree.sockets) == 1 else PXB_SLOTS
    for socket in tree.sockets:
        if len(socket.ports) > most:
            raise ValueError(f"{len(socket.ports)} root ports on one bus, at most {most}")


def qemu_device_args(tree: MachineTree) -> tuple[str, ...]:
    """The arguments for processors, memory, IOMMU and the PCIe tree, in the order QEMU needs."""
    check_tree(tree)
    builder = _Builder(tree)
    builder.sockets()
    return (*_memory_args(tree), *_iommu_args(tree), *builder.args)


def config_edits(tree: MachineTree) -> tuple[ConfigEdit, ...]:
    """What the configuration space of each port, switch and GPU of the tree shall show."""
    builder = _Builder(tree)
    builder.sockets()
    return tuple(builder.edits)


def _iommu_args(tree: MachineTree) -> tuple[str, ...]:
    # the IOMMU must come before the devices it covers
    if tree.iommu == "intel":
        return ("-device", "intel-iommu,intremap=on,caching-mode=on")
    return ("-device", "amd-iommu") if tree.iommu == "amd" else ()


def _memory_args(tree: MachineTree) -> tuple[str, ...]:
    nodes = sorted({socket.numa_node for socket in tree.sockets if socket.numa_node >= 0})
    cpus = max(tree.cpus, len(nodes), 1)
    plain = ("-m", str(tree.memory_mib))
    if len(nodes) < 2:
        return (*plain, "-smp", str(cpus))
    per_node, share = cpus // len(nodes), tree.memory_mib // len(nodes)
    smp = f"{per_node * len(nodes)},sockets={len(nodes)},cores={per_node}"
    whole = ("-m", str(share * len(nodes)), "-smp", smp)
    return (*whole, *(word for n in nodes for word in _node_args(n, per_node, share)))


def _node_args(node: int, cpus: int, memory_mib: int) -> Iterator[str]:
    span = f"{node * cpus}-{node * cpus + cpus - 1}" if cpus > 1 else str(node)
    yield from ("-object", f"memory-backend-ram,id=node{node},size={memory_mib}M")
    yield from ("-numa", f"node,nodeid={node},cpus={span},memdev=node{node}")
