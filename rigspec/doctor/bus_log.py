"""Symptoms of the PCI bus that the kernel log shows: of GPUs and of the bridges above them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.discover.capture import Capture, Place
from rigspec.discover.seen import Seen
from rigspec.doctor.host import log_of, place_of
from rigspec.doctor.shown import at_function
from rigspec.observed.kernel_log import Event, KernelEvent
from rigspec.observed.pci import PciFunction, PciTree
from rigspec.observed.record import Unknown, known

_AER_MANY = 1000
"""Corrected errors since boot: below, a long uptime explains them."""


def _device(address: str) -> str:
    """Without the function: a card's sound and USB are the card, too."""
    return address.rpartition(".")[0]


def _on_gpu_way(seen: Seen, address: str | None) -> bool:
    """Whether a device is a GPU or lies above one; where the tree does not say, it may be."""
    tree = known(seen.tree) or PciTree(())
    ways = [tree.path(gpu.address) for gpu in tree.gpus]
    if address is None or not ways or any(isinstance(way, Unknown) for way in ways):
        return True
    steps = [step for way in ways if not isinstance(way, Unknown) for step in way]
    exact = any(step.address == address for step in steps)
    return exact or any(_device(gpu.address) == _device(address) for gpu in tree.gpus)


_REPORTS = re.compile(r"([a-z][\w-]*) [0-9a-f:.]+: (?:AER: )?PCIe Bus Error")
_GPU_DRIVERS = frozenset({"pcieport", "pci", "nvidia", "nouveau", "vfio-pci", "snd_hda_intel"})
"""Drivers of ports, of cards and of their sound; any other has a device of its own."""


def _of_gpu(seen: Seen, event: KernelEvent) -> bool:
    driver = _REPORTS.search(event.line)
    return _on_gpu_way(seen, event.address) and not (driver and driver[1] not in _GPU_DRIVERS)


def aer_corrected(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Corrected errors in the log, or many in the counters."""
    events = [e for e in log_of(seen).of(Event.AER) if e.severity.startswith("Correct")]
    for event in [e for e in events if _of_gpu(seen, e)][:3]:
        yield from place_of(capture, event)
    for counter in known(seen.aer) or ():
        total = counter.name.startswith("TOTAL") and counter.severity == "correctable"
        found = capture.find(f"{counter.address}/aer_dev_correctable:{counter.name}")
        if total and counter.count >= _AER_MANY and found:
            yield found


def aer_uncorrected(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Uncorrected errors in the log."""
    for event in log_of(seen).of(Event.AER):
        if event.severity.startswith("Uncorrect") and _of_gpu(seen, event):
            yield from place_of(capture, event)


_FOUND = re.compile(r"pci (?P<at>[0-9a-f:.]+): \[10de:[0-9a-f]{4}\]")
"""How the kernel greets a device of NVIDIA's while it counts the bus."""


def _nvidia_devices(capture: Capture, seen: Seen) -> set[str]:
    """Devices of NVIDIA's by the tree and by the log; empty where neither names one."""
    tree = known(seen.tree) or PciTree(())
    said = (_FOUND.search(line) for _, _, line in capture.places() if ": [10de:" in line)
    return {_device(gpu.address) for gpu in tree.gpus} | {_device(m["at"]) for m in said if m}


def bar_no_room(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A BAR of a GPU that the firmware's window could not hold; other devices do without."""
    ours = _nvidia_devices(capture, seen)
    for event in log_of(seen).of(Event.NO_BAR):
        if "NVRM" in event.line or not ours or _device(event.address or "") in ours:
            yield from place_of(capture, event)
    for gpu in (known(seen.tree) or PciTree(())).gpus:
        if _is_unassigned(gpu):
            yield from at_function(capture, gpu, "<unassigned>")


def _is_unassigned(gpu: PciFunction) -> bool:
    """Whether lspci shows a memory region without a place; ports are of no use to a GPU."""
    bars = [bar.address for bar in known(gpu.bars) or () if bar.is_memory]
    return any(isinstance(at, Unknown) and at.line == "<unassigned>" for at in bars)
