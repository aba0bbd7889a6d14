"""The PCIe tree of a virtual rig as data: sockets, ports, switches, GPUs, and their faults.

Pure: no process is started here. `qemu_args.py` turns a tree into QEMU's arguments and
`configspace.py` into what their configuration spaces show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

NVIDIA = 0x10DE
Iommu = Literal["intel", "amd", "none"]
Aspm = Literal["off", "l1"]
CpuVendor = Literal["amd", "intel"]

MAX_GPUS = 16
# an emulated processor has 40 address bits, and the firmware aligns the cards' whole window to its
# own size: 4 x 64 GiB is placed, 4 x 128 GiB is not (tried with SeaBIOS and OVMF)
MAX_BARS_MIB = 256 << 10
MAX_SOCKETS = 3  # each socket gets 64 of the 256 bus numbers, the first 64 are the chipset's


@dataclass(frozen=True, order=True)
class Link:
    """A PCIe link: generation 1..6 (2.5, 5, 8, 16, 32, 64 GT/s) and lanes."""

    gen: int
    width: int


@dataclass(frozen=True)
class GpuEndpoint:
    """A simulated GPU: what lspci shows of it, and what the simulated driver says about it.

    `slot` and `salt` make the UUID, so a card that was exchanged is one with another salt.
    `trained` is the link as it came up, None for the best that card and port can do together.
    """

    slot: int
    name: str
    device_id: int
    memory_mib: int
    power_min_w: int
    power_default_w: int
    power_max_w: int
    link: Link
    vendor_id: int = NVIDIA
    class_code: int = 0x0300
    subsystem: tuple[int, int] = (NVIDIA, 0x1234)
    trained: Link | None = None
    compute_capability: str = "8.9"
    max_clock_mhz: int = 2520
    bar1_mib: int = 256
    salt: int = 0

    @property
    def card(self) -> int:
        """The number that tells this very card from others (32 bits)."""
        return self.salt << 16 | self.slot

    @property
    def uuid(self) -> str:
        """The UUID the simulated nvidia-smi gives this card; 5eed marks it as simulated."""
        return f"GPU-5eed0000-{self.slot:04x}-4000-8000-{self.salt:04x}0000{self.slot:04x}"


@dataclass(frozen=True)
class Port:
    """A root port or a switch's downstream port, and what is plugged in (None: empty)."""

    child: GpuEndpoint | Switch | None
    link: Link = Link(4, 16)
    has_acs: bool = True

    @property
    def trained(self) -> Link:
        """The link as it came up, which both ends show."""
        if self.child is None:
            return Link(1, 0)
        if isinstance(self.child, GpuEndpoint) and self.child.trained is not None:
            return self.child.trained
        if isinstance(self.child, Switch) and self.child.trained is not None:
            return self.child.trained
        ours, theirs = self.link, self.child.link
        return Link(min(ours.gen, theirs.gen), min(ours.width, theirs.width))


@dataclass(frozen=True)
class Switch:
    """A PCIe switch; the ids are those of its upstream and downstream ports."""

    downstream: tuple[Port, ...]
    link: Link = Link(4, 16)
    trained: Link | None = None
    vendor_id: int = 0x104C
    upstream_id: int = 0x8232
    downstream_id: int = 0x8233


@dataclass(frozen=True)
class Socket:
    """One processor: its NUMA node (-1: the machine has none) and its root ports."""

    ports: tuple[Port, ...]
    numa_node: int = -1


@dataclass(frozen=True)
class MachineTree:
    """A whole machine; one socket hangs at the chipset, several get a root bus each."""

    sockets: tuple[Socket, ...] = (Socket(()),)
    iommu: Iommu = "intel"
    firmware_aspm: Aspm = "off"
    cpu: CpuVendor = "amd"
    memory_mib: int = 1536
    cpus: int = 2
    faults: tuple[str, ...] = field(default=())

    @property
    def gpus(self) -> tuple[GpuEndpoint, ...]:
        """Every GPU, in the order in which the firmware finds them."""
        ports = (port for socket in self.sockets for port in walk_ports(socket.ports))
        return tuple(port.child for port in ports if isinstance(port.child, GpuEndpoint))


def walk_ports(ports: tuple[Port, ...]) -> Iterator[Port]:
    """These ports and all ports below them, each before its children."""
    for port in ports:
        yield port
        if isinstance(port.child, Switch):
            yield from walk_ports(port.child.downstream)


def _change_ports(tree: MachineTree, change: Callable[[Port], Port]) -> MachineTree:
    def visit(port: Port) -> Port:
        new = change(port)
        if isinstance(new.child, Switch):
            below = tuple(visit(inner) for inner in new.child.downstream)
            return replace(new, child=replace(new.child, downstream=below))
        return new

    sockets = (replace(s, ports=tuple(visit(port) for port in s.ports)) for s in tree.sockets)
    return replace(tree, sockets=tuple(sockets))


def _at_slot(
    tree: MachineTree, slot: int, fault: str, change: Callable[[Port], Port]
) -> MachineTree:
    def visit(port: Port) -> Port:
        here = isinstance(port.child, GpuEndpoint) and port.child.slot == slot
        return change(port) if here else port

    if slot not in {gpu.slot for gpu in tree.gpus}:
        raise ValueError(f"no GPU in slot {slot}")
    return replace(_change_ports(tree, visit), faults=(*tree.faults, fault))


def fit_bars(tree: MachineTree) -> MachineTree:
    """The same machine with BARs halved until the emulated processor has room for them all."""
    largest = max((gpu.bar1_mib for gpu in tree.gpus), default=0)
    while sum(1 << (min(g.bar1_mib, largest) - 1).bit_length() for g in tree.gpus) > MAX_BARS_MIB:
        largest //= 2

    def change(port: Port) -> Port:
        if not isinstance(port.child, GpuEndpoint):
            return port
        return replace(port, child=replace(port.child, bar1_mib=min(port.child.bar1_mib, largest)))

    return _change_ports(tree, change)


def without_gpu(tree: MachineTree, slot: int) -> MachineTree:
    """The same machine with the GPU in this slot not answering."""
    return _at_slot(tree, slot, f"slot {slot}: no card", lambda port: replace(port, child=None))


def with_trained_link(tree: MachineTree, slot: int, link: Link) -> MachineTree:
    """The same machine with this GPU's link trained lower than it could."""

    def change(port: Port) -> Port:
        if not isinstance(port.child, GpuEndpoint):
            return port
        return replace(port, child=replace(port.child, trained=link))

    return _at_slot(tree, slot, f"slot {slot}: link at gen {link.gen} x{link.width}", change)


def with_other_card(tree: MachineTree, slot: int, salt: int) -> MachineTree:
    """The same machine with the card in this slot exchanged for another of its kind."""

    def change(port: Port) -> Port:
        if not isinstance(port.child, GpuEndpoint):
            return port
        return replace(port, child=replace(port.child, salt=salt))

    return _at_slot(tree, slot, f"slot {slot}: another card", change)


def without_acs(tree: MachineTree, slot: int) -> MachineTree:
    """The same machine with no ACS capability on the port above this GPU."""
    fault = f"slot {slot}: port without ACS"
    return _at_slot(tree, slot, fault, lambda port: replace(port, has_acs=False))
