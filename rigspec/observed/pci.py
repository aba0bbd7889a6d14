"""The PCI tree as observed: functions, links, ACS bits, and questions about paths in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, fields
from enum import StrEnum
from functools import cached_property
from itertools import combinations

from rigspec.frozen import dataclass
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown, known

NVIDIA = 0x10DE
"""PCI vendor id of NVIDIA, pci.ids."""

GEN_OF_GTS = {"2.5": 1, "5": 2, "5.0": 2, "8": 3, "8.0": 3, "16": 4, "16.0": 4}
GEN_OF_GTS |= {"32": 5, "32.0": 5, "64": 6, "64.0": 6, "128": 7, "128.0": 7}
"""PCIe generation per GT/s, as lspci and sysfs print the speed (PCI Express base specification)."""


CLASS_NAMES = {
    "Non-Volatile memory controller": 0x0108,
    "SATA controller": 0x0106,
    "Ethernet controller": 0x0200,
    "Infiniband controller": 0x0207,
    "VGA compatible controller": 0x0300,
    "3D controller": 0x0302,
    "Display controller": 0x0380,
    "Audio device": 0x0403,
    "Host bridge": 0x0600,
    "ISA bridge": 0x0601,
    "PCI bridge": 0x0604,
    "IOMMU": 0x0806,
    "USB controller": 0x0C03,
}
"""Class codes of the names lspci prints without -nn (pci.ids, class list)."""


class Kind(StrEnum):
    """What a function is in the fabric: the device/port type of its PCI Express capability."""

    ROOT_PORT = "root-port"
    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    ENDPOINT = "endpoint"
    LEGACY = "legacy"
    INTEGRATED = "integrated"
    COLLECTOR = "event-collector"
    PCI_BRIDGE = "pci-bridge"
    CONVENTIONAL = "conventional"
    UNKNOWN = "unknown"

    def is_port(self) -> bool:
        """Whether packets for other functions pass through it."""
        return self in {Kind.ROOT_PORT, Kind.UPSTREAM, Kind.DOWNSTREAM, Kind.PCI_BRIDGE}


class Connection(StrEnum):
    """How two functions reach each other, in nvidia-smi's words."""

    SELF = "X"
    PIX = "PIX"
    PXB = "PXB"
    PHB = "PHB"
    NODE = "NODE"
    SYS = "SYS"


@dataclass(frozen=True)
class Link(Record):
    """One side of a link: PCIe generation and lanes; width 0 is no link."""

    gen: Reading[int]
    width: Reading[int]


@dataclass(frozen=True)
class AcsBits(Record):
    """The bits of ACSCap or ACSCtl, named as lspci prints them."""

    src_valid: bool
    trans_blk: bool
    req_redir: bool
    cmplt_redir: bool
    upstream_fwd: bool
    egress_ctrl: bool
    direct_trans: bool

    @classmethod
    def from_word(cls, word: int) -> AcsBits:
        """From the register: bit 0 is source validation, bit 6 direct translated P2P."""
        return cls(*(bool(word >> bit & 1) for bit in range(7)))

    @property
    def word(self) -> int:
        """The register value of the seven bits."""
        return sum(1 << place for place, f in enumerate(fields(self)) if getattr(self, f.name))

    @property
    def redirects(self) -> bool:
        """Whether peer traffic is sent up to the root: request, completion or egress bit set.

        SrcValid and UpstreamFwd do not redirect: healthy switches have them set.
        """
        return self.req_redir or self.cmplt_redir or self.egress_ctrl


@dataclass(frozen=True)
class Acs(Record):
    """The ACS capability of a function: what it can do, what is switched on."""

    cap: AcsBits
    ctl: AcsBits


@dataclass(frozen=True)
class Bar(Record):
    """One base address register; address 0 or unknown is unassigned."""

    index: int
    address: Reading[int]
    size_bytes: Reading[int]
    is_memory: bool = True
    prefetchable: bool = False


@dataclass(frozen=True)
class ResizableBar(Record):
    """One entry of the (physical) Resizable BAR capability."""

    index: int
    current_bytes: Reading[int]
    supported_bytes: tuple[int, ...]


@dataclass(frozen=True)
class PciFunction(Record):
    """One PCI function. None is "has none", Unknown is "could not be read"."""

    address: str
    vendor_id: Reading[int] = NOT_ASKED
    device_id: Reading[int] = NOT_ASKED
    subsystem_vendor_id: Reading[int] | None = NOT_ASKED
    subsystem_device_id: Reading[int] | None = NOT_ASKED
    class_code: Reading[int] = NOT_ASKED
    """Base class and subclass: 0x0604 is a PCI bridge, 0x0300 and 0x0302 are GPUs."""
    kind: Kind = Kind.UNKNOWN
    parent: Reading[str] | None = NOT_ASKED
    """Address of the bridge above; None on a root bus."""
    secondary_bus: Reading[int] | None = NOT_ASKED
    link_cap: Reading[Link] | None = NOT_ASKED
    link_status: Reading[Link] | None = NOT_ASKED
    link_target_gen: Reading[int] | None = NOT_ASKED
    speed_disabled: Reading[bool] | None = NOT_ASKED
    """LnkCtl2 hardware autonomous speed disable: freezes the speed it was set at."""
    aspm_supported: Reading[tuple[str, ...]] | None = NOT_ASKED
    aspm_enabled: Reading[tuple[str, ...]] | None = NOT_ASKED
    acs: Reading[Acs] | None = NOT_ASKED
    bars: Reading[tuple[Bar, ...]] = NOT_ASKED
    resizable_bars: Reading[tuple[ResizableBar, ...]] | None = NOT_ASKED
    sriov_total_vfs: Reading[int] | None = NOT_ASKED
    numa_node: Reading[int] | None = NOT_ASKED
    """None: the firmware names no node (sysfs -1)."""
    driver: Reading[str] | None = NOT_ASKED
    iommu_group: Reading[int] | None = NOT_ASKED
    physical_slot: Reading[str] | None = NOT_ASKED
    description: str = ""

    @property
    def bus(self) -> str:
        """Domain and bus, `0000:03`."""
        return self.address[: self.address.rindex(":")]

    @property
    def is_gpu(self) -> bool:
        """Whether it is an NVIDIA display or 3D function (audio and USB functions are not)."""
        nvidia = known(self.vendor_id) == NVIDIA or "NVIDIA Corporation" in self.description
        return nvidia and (known(self.class_code) or 0) >> 8 == 0x03

    @property
    def is_bridge(self) -> bool:
        """Whether it is a PCI-to-PCI bridge: any port of the fabric."""
        return self.kind.is_port() or known(self.class_code) == 0x0604

    @property
    def largest_bar_bytes(self) -> Reading[int]:
        """Size of the largest memory region: BAR1 of a GPU, whatever its index."""
        if isinstance(self.bars, Unknown):
            return self.bars
        memory = [bar for bar in self.bars if bar.is_memory]
        lost = next((bar.address for bar in memory if isinstance(bar.address, Unknown)), None)
        if lost is not None:
            return lost
        sizes = [s for bar in memory if (s := known(bar.size_bytes))]
        return max(sizes) if sizes else Unknown("no memory region is assigned")


@dataclass(frozen=True)
class PciTree(Record):
    """All functions of a host, in bus order, with questions about the way between them."""

    functions: tuple[PciFunction, ...]
    complete: bool = field(default=True)
    """False where the text was cut: a missing function proves nothing then."""

    @cached_property
    def by_address(self) -> dict[str, PciFunction]:
        """Functions by normalised address."""
        return {function.address: function for function in self.functions}

    @property
    def gpus(self) -> tuple[PciFunction, ...]:
        """NVIDIA GPUs in bus order."""
        return tuple(function for function in self.functions if function.is_gpu)

    def path(self, address: str) -> Reading[tuple[PciFunction, ...]]:
        """From the root port down to the function, both included."""
        steps: list[PciFunction] = []
        current: str | None = address
        while current is not None:
            function = self.by_address.get(current)
            if function is None or any(function is step for step in steps):
                return Unknown(f"the bridge {current} above {address} was not seen")
            steps.append(function)
            if isinstance(function.parent, Unknown):
                return function.parent
            current = function.parent
        return tuple(reversed(steps))

    def bridges_between(self, a: str, b: str) -> Reading[tuple[PciFunction, ...]]:
        """The bridges that traffic between two functions passes: below their common bridge.

        Ports further up carry it only when one of these redirects.
        """
        ways = self._ways(a, b)
        if isinstance(ways, Unknown):
            return ways
        return tuple(step for way in ways for step in way if step.is_bridge)

    def bridges_between_gpus(self) -> Reading[tuple[PciFunction, ...]]:
        """Every bridge on any GPU-to-GPU path, once, in bus order."""
        found: dict[str, PciFunction] = {}
        for a, b in combinations(self.gpus, 2):
            bridges = self.bridges_between(a.address, b.address)
            if isinstance(bridges, Unknown):
                return bridges
            found |= {bridge.address: bridge for bridge in bridges}
        return tuple(found[address] for address in sorted(found))

    def connection(self, a: str, b: str) -> Reading[Connection]:
        """PIX, PXB, PHB, NODE or SYS from the tree alone, as `nvidia-smi topo -m` defines them."""
        if a == b:
            return Connection.SELF
        ways = self._ways(a, b)
        if isinstance(ways, Unknown):
            return ways
        counts = [sum(step.is_bridge for step in way) for way in ways]
        first_a, first_b = ways[0][0], ways[1][0]
        if first_a.parent is not None:
            return Connection.PIX if max(counts) <= 1 else Connection.PXB
        if first_a.bus == first_b.bus:
            return Connection.PHB
        node_a, node_b = self.by_address[a].numa_node, self.by_address[b].numa_node
        for node in (node_a, node_b):
            if isinstance(node, Unknown):
                return node
        return Connection.NODE if node_a == node_b else Connection.SYS

    def _ways(
        self, a: str, b: str
    ) -> Reading[tuple[tuple[PciFunction, ...], tuple[PciFunction, ...]]]:
        """Both paths without the part they share."""
        path_a, path_b = self.path(a), self.path(b)
        if isinstance(path_a, Unknown):
            return path_a
        if isinstance(path_b, Unknown):
            return path_b
        shared = sum(1 for _ in _common(path_a, path_b))
        if shared in {len(path_a), len(path_b)}:
            return Unknown(f"{a} and {b} lie on one path")
        return path_a[shared:], path_b[shared:]


def _common(a: Iterable[PciFunction], b: Iterable[PciFunction]) -> Iterator[PciFunction]:
    for one, other in zip(a, b, strict=False):
        if one.address != other.address:
            return
        yield one
