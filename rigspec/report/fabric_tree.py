"""What hangs where between CPU and GPUs: boxes and the links above them, ready to be drawn.

The two ends of one link are two PCI functions; here they are one wire: a root port or a switch's
downstream port is the upper end of the wire of what hangs below it, no box of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum

from rigspec.frozen import dataclass
from rigspec.observed.pci import Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.verify.pcie_links import gpu_paths, link_of

MISSING = "GPU not of the plan"


class BoxKind(StrEnum):
    """What a box stands for; also its class on the page."""

    CPU = "cpu"
    SWITCH = "switch"
    BRIDGE = "bridge"
    GPU = "gpu"


@dataclass(frozen=True)
class Wire:
    """The link to what is above: lanes now (0 when unknown), the words beside it, its upper end."""

    label: str
    """`x16 Gen4`, `x8 of x16 Gen4`."""
    note: str = ""
    """`NARROW`, `can Gen4`, why it is unknown."""
    lanes: int = 0
    narrow: bool = False
    port: str = ""

    @property
    def text(self) -> str:
        """Both in one line."""
        return f"{self.label}, {self.note}" if self.note else self.label


@dataclass(frozen=True)
class Box:
    """A CPU, a switch, a bridge or a GPU, and what hangs below."""

    kind: BoxKind
    name: str
    detail: str
    """PCI address, or what else tells it from its neighbours."""
    wire: Wire | None = None
    below: tuple[Box, ...] = ()
    mark: str = ""
    """Outcome that needs a hand, by its word."""

    @property
    def leaves(self) -> int:
        """How many rows it spans."""
        return sum(box.leaves for box in self.below) or 1

    @property
    def depth(self) -> int:
        """Columns from this box to its deepest GPU, both included."""
        return 1 + max((box.depth for box in self.below), default=0)

    def walk(self) -> Iterator[Box]:
        """This box and all below it, top down."""
        yield self
        for box in self.below:
            yield from box.walk()


@dataclass(frozen=True)
class Named:
    """What the plan says of a place: which member it is, its lanes, how its checks ended."""

    member: str
    lanes: int | None = None
    mark: str = ""


@dataclass(frozen=True)
class _Forest:
    tree: PciTree
    steps: tuple[PciFunction, ...]
    named: Mapping[str, Named] = field(default_factory=dict)

    def children(self, address: str) -> Iterator[PciFunction]:
        found = (step for step in self.steps if step.parent == address)
        return iter(sorted(found, key=lambda step: step.address))

    def boxes(self, port: PciFunction) -> Iterator[Box]:
        """What hangs at a port."""
        for step in self.children(port.address):
            yield self.box(step, port.address)

    def box(self, step: PciFunction, port: str) -> Box:
        named = self.named.get(step.address, Named(MISSING if step.is_gpu else ""))
        wire = _wire(step, self.tree, named.lanes, port)
        if step.is_gpu:
            return Box(BoxKind.GPU, named.member, step.address, wire, mark=named.mark)
        if step.kind is Kind.UPSTREAM:
            below = tuple(box for port in self.children(step.address) for box in self.inside(port))
            return Box(BoxKind.SWITCH, "PCIe switch", step.address, wire, below)
        return Box(BoxKind.BRIDGE, "bridge", step.address, wire, tuple(self.boxes(step)))

    def inside(self, step: PciFunction) -> Iterator[Box]:
        """Below a switch's inner bus: its ports are ends of wires, anything else hangs there."""
        if step.kind is Kind.DOWNSTREAM:
            yield from self.boxes(step)
        else:
            yield self.box(step, "")

    def roots(self) -> Iterator[tuple[PciFunction, tuple[Box, ...]]]:
        for step in sorted(self.steps, key=lambda step: step.address):
            if step.parent is None:
                yield step, tuple(self.boxes(step)) if step.is_bridge else (self.box(step, ""),)


def fabric_tree(tree: Reading[PciTree], named: Mapping[str, Named]) -> Reading[tuple[Box, ...]]:
    """One box per CPU (NUMA node, where the firmware tells several); `named` by PCI address."""
    steps = gpu_paths(tree)
    if isinstance(steps, Unknown):
        return steps
    if isinstance(tree, Unknown):
        return tree
    by_node: dict[int | None, list[Box]] = {}
    for root, boxes in _Forest(tree, steps, named).roots():
        by_node.setdefault(_node(root, boxes, tree), []).extend(boxes)
    several = len(by_node) > 1
    return tuple(
        Box(BoxKind.CPU, "CPU", _detail(node) if several else "", below=tuple(boxes))
        for node, boxes in sorted(by_node.items(), key=lambda item: (item[0] is None, item[0] or 0))
    )


def _detail(node: int | None) -> str:
    return "NUMA node not told" if node is None else f"NUMA node {node}"


def _node(root: PciFunction, boxes: tuple[Box, ...], tree: PciTree) -> int | None:
    """The root's own, or that of the first GPU below that tells one."""
    gpus = (box.detail for top in boxes for box in top.walk() if box.kind is BoxKind.GPU)
    found = [known(f.numa_node) for f in (root, *(tree.by_address[gpu] for gpu in gpus))]
    return next((node for node in found if node is not None), None)


def _wire(step: PciFunction, tree: PciTree, planned: int | None, port: str) -> Wire:
    link = link_of(step, tree)
    if isinstance(link, Unknown):
        return Wire("link unknown", link.reason, port=port)
    return _said(*link, planned, port)


def _said(now: Link, can: Link, planned: int | None, port: str) -> Wire:
    """Narrow is less than planned; without a plan (uplinks), less than both ends can."""
    lanes, gen, best = known(now.width), known(now.gen), known(can.gen)
    wanted = planned or known(can.width)
    narrow = lanes is not None and wanted is not None and lanes < wanted
    of = f" of x{wanted}" if narrow else ""
    notes = ["NARROW"] if narrow else []
    notes += [f"can Gen{best}"] if gen is not None and best is not None and gen < best else []
    label = f"x{'?' if lanes is None else lanes}{of} Gen{'?' if gen is None else gen}"
    return Wire(label, ", ".join(notes), lanes or 0, narrow, port)
