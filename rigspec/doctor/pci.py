"""Symptoms that the PCI tree shows: each function yields the lines that prove it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.discover.capture import Capture, Place
from rigspec.discover.capture import Kind as Text
from rigspec.discover.cards import cards_of
from rigspec.discover.fabric import able_gen, link_of
from rigspec.discover.seen import Seen
from rigspec.doctor.planned import acs_cleared, acs_kept, is_declared, peers_unwanted, rig_of
from rigspec.doctor.shown import at_function, short
from rigspec.observed.kernel import cmdline_values
from rigspec.observed.pci import Acs, Connection, Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Unknown, known

_BUSY_PERCENT = 50
_CHIPSET_IDS = frozenset({0x43C6, 0x43C7, 0x43E9, 0x43EA, 0x43F4, 0x43F5, 0x57A3, 0x57A4, 0x57AD})
"""Bridges of AMD chipsets (pci.ids: 300 to 600 series and Matisse); Intel's say `Chipset`."""


def _tree(seen: Seen) -> PciTree:
    return known(seen.tree) or PciTree(())


def _bridges(seen: Seen) -> tuple[PciFunction, ...]:
    bridges = _tree(seen).bridges_between_gpus()
    return () if isinstance(bridges, Unknown) else bridges


def _acs(function: PciFunction) -> Acs | None:
    return known(function.acs) if function.acs else None


def acs_redirect(capture: Capture, seen: Seen) -> Iterator[Place]:
    """ReqRedir, CmpltRedir or EgressCtrl set on a bridge between two GPUs."""
    if not acs_kept(seen) and not acs_cleared(seen):
        yield from _redirecting(capture, seen)


def acs_set_again(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The same although the plan has these bits cleared at every boot."""
    if acs_cleared(seen):
        yield from _redirecting(capture, seen)


def _redirecting(capture: Capture, seen: Seen) -> Iterator[Place]:
    for bridge in _bridges(seen):
        acs = _acs(bridge)
        if acs and acs.ctl.redirects:
            yield from at_function(capture, bridge, "ACSCtl:")


_REDIRECTS = re.compile(r"ACSCtl:.*\b(?:ReqRedir|CmpltRedir|EgressCtrl)\+")


def acs_lines(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`lspci -vvv | grep ACSCtl`: a redirect is set, of which device the text does not say."""
    for file in () if acs_kept(seen) else capture.files:
        if file.kind in {Text.LSPCI, Text.PROBE, Text.SAVED_LOOK}:
            continue
        for number, line in enumerate(file.lines, 1):
            if _REDIRECTS.search(line):
                yield file.place(number)


def acs_harmless(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Only SrcValid or UpstreamFwd set, nowhere a redirect."""
    found = [(bridge, acs) for bridge in _bridges(seen) if (acs := _acs(bridge))]
    if any(acs.ctl.redirects for _, acs in found):
        return
    for bridge, acs in found:
        if acs.ctl.src_valid or acs.ctl.upstream_fwd:
            yield from at_function(capture, bridge, "ACSCtl:")
            return


def _above(tree: PciTree, function: PciFunction) -> PciFunction | None:
    return tree.by_address.get(function.parent) if isinstance(function.parent, str) else None


def _steps(seen: Seen) -> Iterator[tuple[PciFunction, PciFunction | None]]:
    """Every GPU and every upstream port above one, once, with the port it is plugged into."""
    tree, done = _tree(seen), set[str]()
    for gpu in tree.gpus:
        path = tree.path(gpu.address)
        way = (gpu,) if isinstance(path, Unknown) else path
        for step in way:
            is_lower_end = step is gpu or step.kind is Kind.UPSTREAM
            if is_lower_end and step.address not in done:
                done.add(step.address)
                yield step, _above(tree, step)


def _cap(function: PciFunction | None) -> Link | None:
    return known(function.link_cap) if function and function.link_cap else None


def _narrow(seen: Seen, *, both: bool) -> Iterator[PciFunction]:
    """Steps with fewer lanes than the ends have of which lanes were read, by whether both were."""
    for step, above in _steps(seen):
        link, caps = link_of(step), [_cap(step), _cap(above)]
        able = [w for cap in caps if cap and (w := known(cap.width))]
        width = known(link.width) if link else None
        is_narrow = width and able and width < min(able) and (len(able) == 2) is both
        if is_narrow and not is_declared(seen, step, width=width):
            yield step


def narrow_link(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Trained lanes below what both ends have."""
    for step in _narrow(seen, both=True):
        yield from at_function(capture, step, "LnkSta:")


def narrow_card(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Trained lanes below what the card has; the slot was not read."""
    for step in _narrow(seen, both=False):
        yield from at_function(capture, step, "LnkSta:")
    for card in () if _tree(seen).gpus else known(seen.cards) or ():
        now, able = known(card.link_width), known(card.link_width_max)
        place = capture.find(str(known(card.uuid)))
        if now and able and now < able and place:
            yield place


def _slow(seen: Seen, *, busy: bool) -> Iterator[PciFunction]:
    """GPUs whose link runs below both ends, by whether the card works."""
    load = {known(c.bus_id): known(c.utilization_percent) or 0 for c in known(seen.cards) or ()}
    for step, above in _steps(seen):
        link, able = link_of(step), able_gen(step, above)
        gen = known(link.gen) if link else None
        works = load.get(step.address, 0) >= _BUSY_PERCENT
        is_slow = step.is_gpu and gen and able and gen < able
        if is_slow and works is busy and not is_declared(seen, step, gen=gen):
            yield step


def slow_busy_link(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A working card on a slow link."""
    for function in _slow(seen, busy=True):
        yield from at_function(capture, function, "LnkSta:")
    if _tree(seen).gpus:
        return
    for card in known(seen.cards) or ():
        now, able = known(card.link_gen), known(card.link_gen_max)
        works = (known(card.utilization_percent) or 0) >= _BUSY_PERCENT
        place = capture.find(str(known(card.uuid)))
        if works and now and able and now < able and place:
            yield place


def slow_idle_link(capture: Capture, seen: Seen) -> Iterator[Place]:
    """An idle card on a slow link, or one of unknown load: no fault by itself."""
    for function in _slow(seen, busy=False):
        yield from at_function(capture, function, "LnkSta:")


def slow_uplink(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A switch's uplink below both ends: ports save no power that way."""
    for step, above in _steps(seen):
        link, able = link_of(step), able_gen(step, above)
        gen = known(link.gen) if link else None
        is_slow = step.kind is Kind.UPSTREAM and _cap(above) and gen and able and gen < able
        if is_slow and not is_declared(seen, step, gen=gen):
            yield from at_function(capture, step, "LnkSta:")


def known_width(function: PciFunction) -> int | None:
    """Lanes of its link now."""
    link = link_of(function)
    return known(link.width) if link else None


def mixed_links(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A card with a quarter of the lanes of the widest."""
    links = [(gpu, link) for gpu in _tree(seen).gpus if (link := link_of(gpu))]
    widths = [(gpu, width) for gpu, link in links if (width := known(link.width))]
    widest = max((width for _, width in widths), default=0)
    for gpu, width in widths:
        if width * 4 <= widest and not is_declared(seen, gpu, width=width):
            yield from at_function(capture, gpu, "LnkSta:")


def frozen_speed(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Bit 5 of LnkCtl2 set while the link is below its target."""
    for function in _tree(seen).functions:
        link = link_of(function)
        gen, target = (known(link.gen) if link else None), function.link_target_gen
        if function.speed_disabled is True and gen and isinstance(target, int) and gen < target:
            yield from at_function(capture, function, "LnkCtl2:")


def aspm_left_on(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`pcie_aspm=off` on the command line, a link state still enabled."""
    if "off" not in cmdline_values(known(seen.cmdline) or (), "pcie_aspm"):
        return
    for gpu in _tree(seen).gpus:
        enabled = known(gpu.aspm_enabled) if gpu.aspm_enabled else None
        if enabled:
            yield from at_function(capture, gpu, "LnkCtl:")


def bar_disagrees(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A Resizable BAR whose current size is not the region's."""
    for gpu in _tree(seen).gpus:
        bars = {bar.index: known(bar.size_bytes) for bar in known(gpu.bars) or ()}
        for entry in (known(gpu.resizable_bars) or ()) if gpu.resizable_bars else ():
            size, region = known(entry.current_bytes), bars.get(entry.index)
            if size and region and size != region:
                yield from at_function(capture, gpu, "current size:")


def small_bar(capture: Capture, seen: Seen) -> Iterator[Place]:
    """BAR1 of 256 MiB on a card that can give more (Ampere and newer)."""
    rig = rig_of(seen)
    if rig and not rig.pcie.resizable_bar:
        return
    for card in cards_of(seen):
        bar = known(card.function.largest_bar_bytes) if card.function else None
        shown = known(card.reading.bar1_total_mib) if card.reading else None
        mib = shown or (bar >> 20 if bar else None)
        able = card.model is not None and card.model.compute_capability >= (8, 0)
        if mib is None or mib > 256 or not able:
            continue
        place = capture.find(short(card.address), "BAR1") or capture.find(short(card.address))
        if place:
            yield place


def nouveau(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The open driver of the kernel on an NVIDIA card."""
    for gpu in _tree(seen).gpus:
        if gpu.driver == "nouveau":
            yield from at_function(capture, gpu, "nouveau")


def behind_chipset(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A GPU below a bridge of the chipset, unless its link is planned so and no peer needs it."""
    tree = _tree(seen)
    for gpu in tree.gpus:
        if peers_unwanted(seen) and is_declared(seen, gpu, width=known_width(gpu)):
            continue
        path = tree.path(gpu.address)
        for step in () if isinstance(path, Unknown) else path[:-1]:
            is_amd = known(step.vendor_id) == 0x1022 and known(step.device_id) in _CHIPSET_IDS
            if is_amd or re.search(r"Chipset|\bPCH\b|Promontory", step.description):
                yield from at_function(capture, step, "")
                break


def topology_differs(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The tree has a common switch, the driver says PHB, NODE or SYS."""
    tree, topo = _tree(seen), known(seen.topo)
    gpus = tree.gpus
    if topo is None or len(gpus) != len(topo.gpus) or peers_unwanted(seen):
        return
    for a, one in enumerate(gpus):
        for b, other in list(enumerate(gpus))[a + 1 :]:
            word = topo.between(a, b)
            if tree.connection(one.address, other.address) in {Connection.PIX, Connection.PXB} and (
                word in {"PHB", "NODE", "SYS"}
            ):
                place = capture.find("NUMA Affinity", f"GPU{a}")
                if place:
                    yield place
