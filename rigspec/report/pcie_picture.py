"""The PCIe tree above the GPUs as an SVG picture: a line per link, as thick as it has lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from rigspec.observed.pci import Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.verify.pcie_links import gpu_paths, link_of

WIDTH, ROW, STEP, LEFT = 350, 44, 20, 16
"""Pixels: a phone of 360 shows it unscaled."""
_KINDS = {Kind.ROOT_PORT: "CPU root port", Kind.UPSTREAM: "switch", Kind.DOWNSTREAM: "switch port"}


@dataclass(frozen=True)
class Node:
    """One function of the picture: its row, its depth, what stands beside it."""

    address: str
    name: str
    row: int
    depth: int
    parent: int | None
    """Row of the bridge above."""
    lanes: int
    narrow: bool
    link: str
    """What the link to the bridge above runs at; empty where it is none (inside a switch)."""
    is_gpu: bool


def picture(tree: Reading[PciTree], members: Mapping[str, str]) -> Reading[str]:
    """The SVG, its colours from the page; `members` by PCI address."""
    nodes = nodes_of(tree, members)
    if isinstance(nodes, Unknown):
        return nodes
    height = ROW * len(nodes) + 8
    title = f"PCIe tree: {sum(node.is_gpu for node in nodes)} GPUs and the bridges above them"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" class="pcie" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{title}</title>',
        *(_wire(node) for node in nodes if node.parent is not None),
        *(_labels(node) for node in nodes),
        "</svg>",
    ]
    return "\n".join(parts)


def nodes_of(tree: Reading[PciTree], members: Mapping[str, str]) -> Reading[tuple[Node, ...]]:
    """The functions on GPU paths, each below its bridge."""
    steps = gpu_paths(tree)
    if isinstance(steps, Unknown):
        return steps
    if isinstance(tree, Unknown):
        return tree
    found: dict[str, Node] = {}

    def add(parent: str | None) -> None:
        for step in sorted(steps, key=lambda step: step.address):
            if step.parent == parent:
                found[step.address] = _node(step, tree, found, members)
                add(step.address)

    add(None)
    return tuple(found.values())


def _node(
    step: PciFunction, tree: PciTree, above: Mapping[str, Node], members: Mapping[str, str]
) -> Node:
    parent = above.get(step.parent) if isinstance(step.parent, str) else None
    link = link_of(step, tree) if parent and step.kind is not Kind.DOWNSTREAM else None
    lanes, narrow, text = _link(link)
    name = members.get(step.address) or _KINDS.get(step.kind, "bridge")
    if step.is_gpu and step.address not in members:
        name = "GPU that is not of the plan"
    return Node(
        step.address,
        name,
        row=len(above),
        depth=parent.depth + 1 if parent else 0,
        parent=parent.row if parent else None,
        lanes=lanes,
        narrow=narrow,
        link=text,
        is_gpu=step.is_gpu,
    )


def _link(link: Reading[tuple[Link, Link]] | None) -> tuple[int, bool, str]:
    """Lanes, whether some are missing, and the words."""
    if link is None:
        return 0, False, ""
    if isinstance(link, Unknown):
        return 0, False, f"link unknown: {link.reason}"
    now, can = link
    lanes, most = known(now.width), known(can.width)
    narrow = lanes is not None and most is not None and lanes < most
    width = f"x{lanes} of x{most}" if narrow else f"x{'?' if lanes is None else lanes}"
    gen, best = known(now.gen), known(can.gen)
    speed = f"Gen{gen} now, can Gen{best}" if gen != best else f"Gen{'?' if gen is None else gen}"
    return lanes or 0, narrow, f"{width}, {speed}{', NARROW' if narrow else ''}"


def _place(depth: int, row: int) -> tuple[int, int]:
    return LEFT + depth * STEP, row * ROW + ROW // 2


def _wire(node: Node) -> str:
    """Down from the bridge, then across: the part across is the link."""
    x, y = _place(node.depth, node.row)
    left, top = _place(node.depth - 1, node.parent or 0)
    thick = max(1.5, node.lanes / 2) if node.link else 1.5
    kind = "narrow" if node.narrow else "link" if node.link else "inside"
    return (
        f'<path class="trunk" d="M{left} {top}V{y}"/>'
        f'<path class="{kind}" stroke-width="{thick:g}" d="M{left} {y}H{x}"/>'
    )


def _labels(node: Node) -> str:
    x, y = _place(node.depth, node.row)
    shape = (
        f'<rect class="gpu" x="{x - 6}" y="{y - 9}" width="12" height="18" rx="2"/>'
        if node.is_gpu
        else f'<circle class="bridge" cx="{x}" cy="{y}" r="5"/>'
    )
    first = f'<tspan class="name">{escape(node.name)}</tspan> {escape(node.address)}'
    below = f'<text class="note" x="{x + 13}" y="{y + 15}">{escape(node.link)}</text>'
    # one line is centred, two stand above and below
    lift = 1 if node.link else -4
    return f'{shape}<text x="{x + 13}" y="{y - lift}">{first}</text>{below if node.link else ""}'
