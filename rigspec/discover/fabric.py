"""The PCIe tree of a capture as a spec writes it: direct slots and switches, nested."""

from __future__ import annotations

from collections import Counter
from dataclasses import field

from rigspec.catalog.switches import all_switches, switches_with_pci_id
from rigspec.discover.cards import Card
from rigspec.frozen import dataclass
from rigspec.observed.pci import Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Unknown, known


@dataclass
class SwitchNode:
    """One switch: its upstream port, the cards and switches below it."""

    port: PciFunction
    above: PciFunction | None
    cards: list[Card] = field(default_factory=list)
    switches: list[SwitchNode] = field(default_factory=list)

    @property
    def generation(self) -> int | None:
        """What both ends of the uplink can do."""
        return able_gen(self.port, self.above)

    @property
    def model(self) -> str | None:
        """Catalog name by the bridge's ids; None when none or several have them."""
        vendor, device = known(self.port.vendor_id), known(self.port.device_id)
        if vendor is None or device is None:
            named = [s.model for s in all_switches() if _family(s.model) in self.port.description]
            return named[0] if len(named) == 1 else None
        found = switches_with_pci_id(f"{vendor:04x}:{device:04x}")
        return found[0].model if len(found) == 1 else None


def _family(model: str) -> str:
    """`PEX890xx` of `broadcom-pex890xx`: how lspci names the chip."""
    return model.rpartition("-")[2].replace("pex", "PEX")


@dataclass(frozen=True)
class Fabric:
    """Cards on CPU lanes and switches on CPU lanes; `lost` are cards with an unknown way."""

    direct: tuple[Card, ...]
    switches: tuple[SwitchNode, ...]
    lost: tuple[Card, ...]


def link_of(function: PciFunction | None) -> Link | None:
    """The link as it is trained; None where unknown."""
    return known(function.link_status) if function and function.link_status else None


def able_gen(*ends: PciFunction | None) -> int | None:
    """The generation all ends can do."""
    caps = [known(end.link_cap) for end in ends if end and end.link_cap]
    gens = [known(cap.gen) for cap in caps if cap]
    found = [gen for gen in gens if gen]
    return min(found) if found else None


def trained_width(*functions: PciFunction | None) -> int | None:
    """The most common width of links as trained."""
    links = [link_of(function) for function in functions]
    widths = [known(link.width) for link in links if link]
    found = Counter(width for width in widths if width)
    return found.most_common(1)[0][0] if found else None


def fabric_of(tree: PciTree | None, cards: tuple[Card, ...]) -> Fabric:
    """Where every card hangs."""
    nodes: dict[str, SwitchNode] = {}
    direct: list[Card] = []
    roots: list[SwitchNode] = []
    lost: list[Card] = []
    for card in cards:
        path = tree.path(card.address) if tree and card.function else None
        if path is None or isinstance(path, Unknown):
            lost.append(card)
            continue
        last = _walk(path, nodes, roots)
        (last.cards if last else direct).append(card)
    return Fabric(tuple(direct), tuple(roots), tuple(lost))


def _walk(
    path: tuple[PciFunction, ...], nodes: dict[str, SwitchNode], roots: list[SwitchNode]
) -> SwitchNode | None:
    """The lowest switch on a path; switches are made as they are met."""
    last: SwitchNode | None = None
    for place, step in enumerate(path):
        if step.kind is not Kind.UPSTREAM:
            continue
        if step.address not in nodes:
            nodes[step.address] = SwitchNode(step, path[place - 1] if place else None)
            (last.switches if last else roots).append(nodes[step.address])
        last = nodes[step.address]
    return last
