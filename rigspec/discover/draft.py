"""A commented draft spec of a live machine: what was read, from where, and what is the owner's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from rigspec.discover.capture import masked
from rigspec.discover.cards import Card, Group, cards_of, groups_of
from rigspec.discover.draft_host import (
    board_lines,
    container_lines,
    driver_lines,
    host_lines,
    kernel_lines,
    storage_lines,
)
from rigspec.discover.fabric import (
    Fabric,
    SwitchNode,
    able_gen,
    fabric_of,
    link_of,
    trained_width,
)
from rigspec.discover.lines import block, entry, owner, quoted, remark
from rigspec.discover.managed import Way, managed_draft
from rigspec.discover.seen import Seen
from rigspec.errors import RigspecError
from rigspec.observed.pci import PciFunction, PciTree
from rigspec.observed.record import Unknown, known

_SMALL_BAR_MIB = 256
NO_WAY: Way = MappingProxyType({})


def draft_spec(seen: Seen, name: str, way: Way = NO_WAY) -> str:
    """The YAML text; loads with our loader, and `check` names the choices that are left.

    `way` is how the host was reached: fields of `host`.
    """
    planned = known(seen.planned)
    if planned and (rig := planned.rig):
        return managed_draft(seen, planned, rig, name, way)
    cards = cards_of(seen)
    if not cards:
        raise RigspecError(
            "no NVIDIA GPU with its bus id is in these texts",
            hint="save `lspci -vvvnn` (as root) or `nvidia-smi -q` beside them, or run the probe",
        )
    groups = groups_of(cards)
    fabric = fabric_of(known(seen.tree), cards)
    lines = [
        "# Draft by `rigspec discover`: every value says where it was read.",
        f"# What a host cannot say is marked `owner:`; then `rigspec check {name}.yaml`.",
        *(["# SIMULATED: read off a virtual rig, GPUs and driver are stand-ins."] * seen.simulated),
        "rigspec: 1",
        entry(0, "name", name, "owner: as pyinfra shall show it"),
        *block("host", host_lines(seen, way)),
        *board_lines(seen),
        *block("gpus", _gpu_lines(seen, groups)),
        *block("pcie", _pcie_lines(seen, groups, fabric, cards)),
        *block("kernel", kernel_lines(seen)),
        *block("power", _power_lines(groups)),
        *block("driver", driver_lines(seen)),
        *block("containers", container_lines(seen)),
        *storage_lines(seen),
        "",
        owner(0, "models and services: what shall be served (docs/spec.md, rigs/home.yaml)"),
    ]
    return "\n".join(lines) + "\n"


def spec_name(text: str) -> str:
    """A folder's name as a rig's name: lower case, digits, dashes, 32 at most."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-") or "rig"


def _gpu_lines(seen: Seen, groups: tuple[Group, ...]) -> Iterator[str]:
    attached, shown = known(seen.attached) or 0, sum(len(group.cards) for group in groups)
    if attached > shown:
        yield owner(1, f"the driver shows {attached} GPUs, these texts describe {shown} of them")
    for group in groups:
        first = group.cards[0]
        said = f"{first.origin}: {first.model.name}" if first.model else f"{first.origin}"
        yield entry(1, group.name, "")
        yield entry(2, "sku", quoted(group.sku), said)
        if first.model is None:
            why = "not in the catalog" if first.named else "shown without its whole name"
            yield owner(2, f"this card is {why}; `rigspec catalog gpus` lists SKUs")
        yield entry(2, "count", len(group.cards), f"{first.origin}: GPUs of this kind")
        yield from _cap_lines(group)
        for card in group.cards:
            uuid = known(card.reading.uuid) if card.reading else None
            yield remark(2, f"{group.member(card)}: slot {card.address}, {uuid or 'UUID not read'}")


def _cap_lines(group: Group) -> Iterator[str]:
    readings = [card.reading for card in group.cards if card.reading]
    limits = {known(reading.power_limit_w) for reading in readings} - {None}
    if not limits:
        yield owner(2, "power_limit_w: the cap was not read; without one cards run at default")
        return
    first = readings[0]
    span = [known(w) for w in (first.power_min_w, first.power_default_w, first.power_max_w)]
    low, default, high = (f"{w:.0f}" if w else "?" for w in span)
    said = f"{group.cards[0].origin}: lowest {low}, default {default}, highest {high} W"
    if len(limits) > 1:
        yield owner(2, f"cards have different caps: {sorted(f'{w:.0f}' for w in limits if w)} W")
    watts = min(watts for watts in limits if watts)
    yield entry(2, "power_limit_w", f"{watts:.0f}", said)


def _pcie_lines(
    seen: Seen, groups: tuple[Group, ...], fabric: Fabric, cards: tuple[Card, ...]
) -> Iterator[str]:
    tree, origin = known(seen.tree), seen.where("tree")
    names = {card.address: g.member(card) for g in groups for card in g.cards}
    generation, said = _generation(tree, cards, origin)
    yield entry(1, "generation", generation, said)
    yield from _width_line(cards, origin)
    if fabric.direct or fabric.lost:
        yield "  direct:"
        yield from _direct_lines(fabric, names, origin)
    if fabric.switches:
        yield "  switches:"
        for number, node in enumerate(fabric.switches):
            yield from _switch_lines(node, names, f"switch-{number}", 2, origin)
    yield from _wish_lines(seen, tree, cards)


def _parent(tree: PciTree | None, function: PciFunction | None) -> PciFunction | None:
    above = function.parent if function else None
    return tree.by_address.get(above) if tree and isinstance(above, str) else None


def _generation(tree: PciTree | None, cards: tuple[Card, ...], origin: str) -> tuple[int, str]:
    ends = [(card.function, _parent(tree, card.function)) for card in cards]
    gens = [gen for pair in ends if (gen := able_gen(*pair))]
    if gens:
        both = all(able_gen(above) for _, above in ends)
        said = "LnkCap of both ends" if both else "LnkCap of the card; owner: the slot was not read"
        return min(gens), f"{origin}: {said}"
    shown = [known(card.reading.link_gen_max) for card in cards if card.reading]
    found = [gen for gen in shown if gen]
    if found:
        return min(found), f"{cards[0].origin}: highest PCIe generation of card and slot"
    model = cards[0].model
    return (model.pcie_gen if model else 4) or 4, "owner: not read; what the card can do"


def _width_line(cards: tuple[Card, ...], origin: str) -> Iterator[str]:
    width = trained_width(*(card.function for card in cards))
    shown = [known(card.reading.link_width) for card in cards if card.reading]
    if width is None and any(shown):
        width, origin = next(w for w in shown if w), cards[0].origin
    if width:
        yield entry(1, "width", width, f"{origin}: LnkSta of most cards")
    else:
        yield entry(1, "width", 16, "owner: link width was not read")


def _number(reading: int | Unknown | None) -> int:
    return reading if isinstance(reading, int) else 0


def _numa(card: Card) -> int:
    return _number(card.function.numa_node) if card.function else 0


def _direct_lines(fabric: Fabric, names: dict[str, str], origin: str) -> Iterator[str]:
    nodes = sorted({_numa(card) for card in fabric.direct})
    usual = trained_width(*(c.function for c in fabric.direct))
    for node in nodes:
        own = [card for card in fabric.direct if _numa(card) == node]
        for width in sorted({_width(card) for card in own}, key=lambda w: -(w or 99)):
            held = ", ".join(names[c.address] for c in own if _width(c) == width)
            yield entry(2, "- gpus", f"[{held}]", f"{origin}: no switch above")
            if width and width != usual:
                yield entry(3, "width", width, f"{origin}: LnkSta; owner: is this wanted?")
            if node:
                yield entry(3, "numa_node", node, f"{origin}: NUMA node")
    if fabric.lost:
        held = ", ".join(names[card.address] for card in fabric.lost)
        yield entry(2, "- gpus", f"[{held}]", "owner: the bridges above were not read (lspci)")


def _width(card: Card) -> int | None:
    link = link_of(card.function)
    return known(link.width) if link else None


def _chip(port: PciFunction) -> str:
    return port.description.partition(" (")[0].removeprefix("PCI bridge: ")


def _switch_lines(
    node: SwitchNode, names: dict[str, str], name: str, indent: int, origin: str
) -> Iterator[str]:
    at = node.port.address
    yield entry(indent, "- name", name, f"{origin}: upstream port {at}; owner: name it")
    inner = indent + 1
    model = node.model
    said = f"{origin}: {masked(_chip(node.port)) or at}"
    yield entry(inner, "model", model or "generic", said if model else f"owner: {said}")
    said = f"{origin}: LnkCap of the uplink" if node.generation else "owner: not read"
    yield entry(inner, "generation", node.generation or 4, said)
    uplink = trained_width(node.port)
    said = f"{origin}: LnkSta of {at}" if uplink else "owner: not read"
    yield entry(inner, "upstream_width", uplink or 16, said)
    below = [card.function for card in node.cards] or [other.port for other in node.switches]
    width = trained_width(*below)
    said = f"{origin}: LnkSta below it" if width else "owner: not read"
    yield entry(inner, "downstream_width", width or 16, said)
    if node.cards:
        held = ", ".join(names[card.address] for card in node.cards)
        yield entry(inner, "gpus", f"[{held}]", f"{origin}: below {at}")
    numa = _number(node.port.numa_node) or max((_numa(c) for c in node.cards), default=0)
    if numa:
        yield entry(inner, "numa_node", numa, f"{origin}: NUMA node")
    if node.switches:
        yield f"{'  ' * inner}switches:"
        for number, other in enumerate(node.switches):
            yield from _switch_lines(other, names, f"{name}-{number}", inner + 1, origin)


def _wish_lines(seen: Seen, tree: PciTree | None, cards: tuple[Card, ...]) -> Iterator[str]:
    """What is wanted of the links, as far as the machine shows it."""
    yield _bar_line(cards)
    redirect, said = _redirect(tree)
    peer = known(seen.p2p)
    granted = peer is not None and all(w in {"X", "OK"} for row in peer.rows for w in row.words)
    off = granted and redirect is False
    yield entry(1, "acs", "off_on_gpu_paths" if off else "keep", said)
    policy = next(iter(seen.sections.get("aspm", ())), "")
    performance = "[performance]" in policy
    read = f"kernel policy {policy.strip()}" if policy else "owner: policy was not read"
    yield entry(1, "aspm", "off" if performance else "firmware", read)
    read = f"{seen.where('p2p')}: every pair {'OK' if granted else 'is not OK'}"
    said = read if peer else "owner: `nvidia-smi topo -p2p r` was not read"
    yield entry(1, "peer_to_peer", str(granted).lower(), said)


def _bar_line(cards: tuple[Card, ...]) -> str:
    small: list[str] = []
    seen_any = False
    for card in cards:
        bar = known(card.function.largest_bar_bytes) if card.function else None
        shown = known(card.reading.bar1_total_mib) if card.reading else None
        mib = shown or (bar >> 20 if bar else None)
        seen_any |= mib is not None
        small += [card.address] if mib is not None and mib <= _SMALL_BAR_MIB else []
    if not seen_any:
        return entry(1, "resizable_bar", "true", "owner: BAR1 was not read")
    said = f"BAR1 is {_SMALL_BAR_MIB} MiB on {', '.join(small)}" if small else "BAR1 is large"
    return entry(1, "resizable_bar", str(not small).lower(), f"{cards[0].origin}: {said}")


def _redirect(tree: PciTree | None) -> tuple[bool | None, str]:
    """Whether a bridge between GPUs redirects; None where ACSCtl could not be read."""
    bridges = tree.bridges_between_gpus() if tree else Unknown("no PCI listing")
    if isinstance(bridges, Unknown):
        return None, f"owner: {bridges.reason}"
    lost = [b.address for b in bridges if isinstance(b.acs, Unknown)]
    on = [b.address for b in bridges if b.acs and (acs := known(b.acs)) and acs.ctl.redirects]
    if lost:
        return None, f"owner: ACSCtl of {lost[0]} was not read (needs root)"
    if on:
        return True, f"owner: redirect is on at {', '.join(on)}; `off_on_gpu_paths` clears it"
    if not bridges:
        return False, "redirect is off: no bridge lies between GPUs"
    many = f"all {len(bridges)} bridges" if len(bridges) > 1 else "the one bridge"
    return False, f"redirect is off on {many} between GPUs"


def _power_lines(groups: tuple[Group, ...]) -> Iterator[str]:
    names = ", ".join(group.name for group in groups)
    yield entry(1, "circuit", "{volts: 120, amps: 15}", "owner: placeholder, read the breaker")
    yield entry(1, "base_load_w", 200, "owner: placeholder, all but the GPUs under load")
    yield "  psus:"
    yield entry(2, "- name", "main", "owner: which supply feeds which card")
    yield entry(3, "watts", 1000, "owner: placeholder, read the label")
    yield entry(3, "gpus", f"[{names}]", "owner: placeholder, all on one")
    yield entry(3, "feeds_host", "true", "owner: placeholder")
