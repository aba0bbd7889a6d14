"""Symptoms that words of the boot show: the running kernel line before what a file says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.discover.capture import Capture, Place
from rigspec.discover.seen import Seen
from rigspec.observed.kernel_log import Event, KernelLog
from rigspec.observed.record import known

_X2APIC_THREADS = 255
"""From so many on, an APIC id does not fit into eight bits (one of 256 is the broadcast)."""


def cpus_lost(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Fewer CPUs than sockets × cores × threads, with x2APIC off."""
    cpu, log = known(seen.cpu), known(seen.log) or KernelLog((), (), False)
    have, silicon = (known(cpu.online), known(cpu.expected)) if cpu else (None, None)
    found = capture.find("CPU(s) list")
    if have and silicon and have < silicon and log.of(Event.X2APIC_OFF) and found:
        yield found


def x2apic_off(capture: Capture, seen: Seen) -> Iterator[Place]:
    """x2APIC is off, and the machine may have threads that need it."""
    cpu = known(seen.cpu)
    threads = known(cpu.expected) if cpu else None
    if threads is None or threads >= _X2APIC_THREADS:
        yield from _lines(capture, re.compile(r"x2apic disabled"))


_NOACS = re.compile(r"\bpci=(?:\w+,)*noacs\b")


def noacs_running(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`pci=noacs` on the running line; where that was not read, in a text that quotes one."""
    running = known(seen.cmdline)
    if running is None or any(_NOACS.search(word) for word in running):
        for place in _lines(capture, _NOACS):
            if "GRUB_CMDLINE" not in place.text:
                yield place


def noacs_written(capture: Capture, seen: Seen) -> Iterator[Place]:
    """`pci=noacs` in a text of which the running kernel does not know."""
    yield from _lines(capture, _NOACS)


def _lines(capture: Capture, pattern: re.Pattern[str]) -> Iterator[Place]:
    for file, number, line in capture.places():
        if pattern.search(line):
            yield file.place(number)
