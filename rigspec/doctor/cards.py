"""Symptoms that nvidia-smi, NCCL and bandwidth tests show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

from rigspec.catalog.gpus import find_gpu
from rigspec.discover.capture import Capture, CaptureFile, Place
from rigspec.discover.cards import cards_of
from rigspec.discover.seen import Seen
from rigspec.doctor.planned import peers_unwanted
from rigspec.observed.nccl_tests import parse_nccl_tests
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.p2p import parse_matrices
from rigspec.observed.record import known
from rigspec.observed.topology import TopologyMatrix

HW_THERMAL, SW_THERMAL, POWER_BRAKE = 0x40, 0x20, 0x80
"""nvml.h, nvmlClocksEventReason*."""


def _cards(seen: Seen) -> tuple[GpuReading, ...]:
    return known(seen.cards) or ()


def _place(capture: Capture, card: GpuReading) -> Iterator[Place]:
    needle = known(card.uuid) or known(card.bus_id)
    short = needle.removeprefix("0000:") if needle else ""
    found = (capture.find(short) or capture.find(short.upper())) if short else None
    if found:
        yield found


def _stuck(seen: Seen) -> tuple[GpuReading, ...]:
    """All cards busy at a third of their watts: they spin, they do not compute."""
    cards = _cards(seen)
    stuck = [
        card
        for card in cards
        if (known(card.utilization_percent) or 0) >= 95
        and (known(card.power_draw_w) or 1e9) < 0.35 * (known(card.power_limit_w) or 0)
    ]
    return tuple(stuck) if len(cards) > 1 and len(stuck) == len(cards) else ()


_NCCL_BEGINS = re.compile(
    r"(?:vLLM|sglang) is using nccl==|Init torch distributed begin|"
    r"NCCL INFO (?:comm 0x\w+ rank .*Init (?:START|COMPLETE)|ncclCommInitRank|Connected all)"
)
"""What an engine, or NCCL itself under NCCL_DEBUG=INFO, says last before the first collective."""


def nccl_hang(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Cards that spin, or a log that ends where NCCL begins."""
    if not _idle_apps(seen):
        for card in _stuck(seen):
            yield from _place(capture, card)
    for file in capture.files:
        last = [n for n, line in enumerate(file.lines, 1) if line.strip()][-1:]
        if last and _NCCL_BEGINS.search(file.lines[last[0] - 1]):
            yield file.place(last[0])


def _idle_apps(seen: Seen) -> bool:
    """Whether the driver was asked for processes and named none."""
    lines = seen.sections.get("smi-apps")
    return lines is not None and not any("GPU-" in line for line in lines)


def busy_without_process(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Utilization above 90 % and no compute process."""
    if _idle_apps(seen):
        for card in _cards(seen):
            if (known(card.utilization_percent) or 0) > 90:
                yield from _place(capture, card)


def _reasons(capture: Capture, seen: Seen, bits: int) -> Iterator[Place]:
    for card in _cards(seen):
        if (known(card.event_reasons) or 0) & bits:
            yield from _place(capture, card)


def thermal_slowdown(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Clocks held down by heat."""
    yield from _reasons(capture, seen, HW_THERMAL | SW_THERMAL)


def power_brake(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The power brake, or an enforced limit below the one asked for."""
    yield from _reasons(capture, seen, POWER_BRAKE)
    for card in _cards(seen):
        asked, held = known(card.power_limit_w), known(card.power_enforced_w)
        if asked and held and held < asked - 1:
            yield from _place(capture, card)


def slow_card(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Clocks 12 % below the median while every card works."""
    cards = _cards(seen)
    busy = all((known(card.utilization_percent) or 0) >= 90 for card in cards)
    clocks = [known(card.clock_sm_mhz) for card in cards]
    if len(cards) < 2 or not busy or not all(clocks):
        return
    usual = median(clock for clock in clocks if clock)
    for card, clock in zip(cards, clocks, strict=True):
        if clock and clock < 0.88 * usual:
            yield from _place(capture, card)


def idle_clocks(capture: Capture, seen: Seen) -> Iterator[Place]:
    """No load, 50 W and more, clocks near their maximum."""
    for card in _cards(seen):
        clock, most = known(card.clock_sm_mhz), known(card.clock_sm_max_mhz)
        idle = known(card.utilization_percent) == 0 and (known(card.power_draw_w) or 0) >= 50
        if idle and clock and most and clock >= 0.8 * most:
            yield from _place(capture, card)


def hmm_on(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Addressing mode HMM with more than one card, of which copies to each other are wanted."""
    cards = _cards(seen)
    for card in cards if len(cards) > 1 and not peers_unwanted(seen) else ():
        if known(card.addressing_mode) == "HMM":
            yield from _place(capture, card)


def needs_open_module(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A proprietary module with a card that only the open one drives."""
    if known(seen.is_open) is not False:
        return
    for card in _cards(seen):
        model = find_gpu(known(card.name) or "")
        if model and model.open_module == "required":
            yield from _place(capture, card)


def gpu_count(capture: Capture, seen: Seen) -> Iterator[Place]:
    """More GPUs on the bus than the driver shows, with the first that is missing."""
    tree, attached = known(seen.tree), known(seen.attached)
    if tree is None or attached is None or len(tree.gpus) <= attached:
        return
    shown = {known(card.bus_id) for card in _cards(seen)}
    missing = [gpu for gpu in tree.gpus if gpu.address not in shown]
    for gpu in missing[: len(tree.gpus) - attached]:
        found = capture.find(gpu.address.removeprefix("0000:"))
        if found:
            yield found


def memory_errors(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Uncorrectable errors since boot, or a row remapping that waits or failed."""
    for card in _cards(seen):
        remap = known(card.remap_pending) or known(card.remap_failed)
        if remap or known(card.retired_pending) or (known(card.ecc_uncorrected) or 0) > 0:
            yield from _place(capture, card)


def recovery_wanted(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`gpu_recovery_action` names one."""
    for card in _cards(seen):
        if (known(card.recovery_action) or "None").lower() != "none":
            yield from _place(capture, card)


def container_order(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Two `nvidia-smi -L` that give one UUID two indexes."""
    first: dict[str, int] = {}
    for name, gpus in seen.listed:
        for gpu in gpus:
            if first.setdefault(gpu.uuid, gpu.index) != gpu.index:
                own = next(file for file in capture.files if file.name == name)
                at = next(n for n, line in enumerate(own.lines, 1) if gpu.uuid in line)
                yield own.place(at)


def _asks_for_copies(file: CaptureFile) -> bool:
    """Not `topo -p2p n` (NVLink), `a` (atomics) or `p`: a no to these is usual on PCIe cards."""
    asked = re.findall(r"p2p[ _-]+([rwnap]{1,2})\b", " ".join((file.name, *file.lines)))
    return not asked or any(set(word) & {"r", "w"} for word in asked)


_NO_PEERS = frozenset({"GNS", "CNS", "TNS", "NS", "DR"})


def _are_geforce(seen: Seen) -> bool:
    """Whether every card that a text names is a GeForce: its driver refuses peer copies."""
    names = [card.model.name if card.model else "" for card in cards_of(seen)]
    names = names or [gpu.name for _, gpus in seen.listed for gpu in gpus]
    return bool(names) and all("GeForce" in name for name in names)


def _refused(capture: Capture, seen: Seen, words: frozenset[str]) -> Iterator[Place]:
    matrix = known(seen.p2p)
    file = next((f for f in capture.files if f.name == seen.where("p2p")), None)
    if file and not _asks_for_copies(file):
        return
    for row in matrix.rows if isinstance(matrix, TopologyMatrix) else ():
        if set(row.words) & words:
            pattern = re.compile(rf"^\W*{row.name}\b.*\b(?:{'|'.join(sorted(words))})\b")
            for number, line in enumerate(file.lines if file else (), 1):
                if file and pattern.match(line):
                    yield file.place(number)
                    return


def p2p_gns(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The driver does not grant peer access on this card."""
    if not peers_unwanted(seen):
        yield from _refused(capture, seen, frozenset({"GNS"}))


def p2p_refused(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Chipset, topology or registry stand against peer access."""
    if not peers_unwanted(seen):
        by_design = {"CNS"} if _are_geforce(seen) else set()
        yield from _refused(capture, seen, _NO_PEERS - {"GNS"} - by_design)


def p2p_geforce(capture: Capture, seen: Seen) -> Iterator[Place]:
    """CNS on GeForce cards alone."""
    if _are_geforce(seen) and not peers_unwanted(seen):
        yield from _refused(capture, seen, frozenset({"CNS"}))


def p2p_unwanted(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Any refusal, where the plan does without peer access."""
    if peers_unwanted(seen):
        yield from _refused(capture, seen, _NO_PEERS)


def p2p_slower(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Median of pairs with peer access below 0.8 of the one without."""
    for file in () if peers_unwanted(seen) else capture.files:
        values: dict[tuple[bool, bool], float] = {}
        for matrix in parse_matrices(file.lines):
            enabled = matrix.p2p_enabled
            if enabled is not None and not matrix.is_latency and matrix.pairs:
                values[matrix.bidirectional, enabled] = median(v for *_, v in matrix.pairs)
        for both in (False, True):
            on, off = values.get((both, True)), values.get((both, False))
            if on and off and on < 0.8 * off:
                at = next(n for n, line in enumerate(file.lines, 1) if "P2P=Enabled" in line)
                yield file.place(at)
                break


_X4_GB_S = 8.0
"""Above what four lanes of Gen4 carry one way (7.88 GB/s, PCI Express base specification)."""


def p2p_narrow(capture: Capture, seen: Seen) -> Iterator[Place]:
    """One-way copies between GPUs, each below what four lanes of Gen4 carry."""
    for file in capture.files:
        for matrix in parse_matrices(file.lines):
            other = matrix.bidirectional or matrix.is_latency
            one_way = "(GB/s)" in matrix.title and not other and "CPU(" not in matrix.title
            speeds = [value for *_, value in matrix.pairs]
            if one_way and speeds and max(speeds) < _X4_GB_S:
                at = next(n for n, line in enumerate(file.lines, 1) if matrix.title in line)
                yield file.place(at)
                break


def alltoall_collapse(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`alltoall_perf` below 5 GB/s at its best."""
    for file in capture.files:
        head = next((n for n, line in enumerate(file.lines, 1) if "alltoall" in line), None)
        test = known(parse_nccl_tests(file.lines)) if head else None
        peak = known(test.peak_busbw) if test else None
        large = test is not None and any(row.size_bytes >= 1 << 26 for row in test.rows)
        if head and peak is not None and peak < 5 and large:
            yield file.place(head)
