"""The kernel log of a rig: Xid, AER, lost GPUs, BARs without room, narrow links.

A missing line is not health: AER stays silent where the firmware keeps it, a GPU can be lost
without an Xid, and the ring buffer forgets (`KernelLog.from_boot` says whether it did).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from rigspec.frozen import dataclass
from rigspec.observed.pci import GEN_OF_GTS
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import clean_lines, normal_bdf


class Event(StrEnum):
    """What a line of the kernel log reports."""

    XID = "xid"
    FALLEN_OFF = "fallen-off-the-bus"
    AER = "aer"
    NO_BAR = "bar-without-room"
    INIT_FAILED = "driver-init-failed"
    PROBE_FAILED = "driver-probe-failed"
    VERSION_MISMATCH = "driver-version-mismatch"
    KEY_REJECTED = "module-key-rejected"
    LINK_DOWN = "link-down"
    X2APIC_OFF = "x2apic-off"
    CPU_LOST = "cpu-lost"
    ACS_CONFIGURED = "acs-configured"
    HARDWARE_RECORD = "hardware-error-record"
    OUT_OF_MEMORY = "out-of-memory"
    AER_WITHHELD = "aer-withheld"


@dataclass(frozen=True)
class XidFact(Record):
    """What NVIDIA's Xid catalogue says of a number."""

    meaning: str
    action: str


XID_CATALOGUE: Mapping[int, XidFact] = {
    8: XidFact("GPU stopped processing (watchdog)", "restart the application"),
    13: XidFact("graphics engine exception", "restart the application"),
    31: XidFact("MMU page fault", "restart the application"),
    43: XidFact("channel stopped by the application", "none"),
    45: XidFact("preemptive clean-up, follows another Xid", "look at the Xid before it"),
    48: XidFact("double bit ECC error", "reset the GPU"),
    62: XidFact("internal microcontroller halt", "reset the GPU"),
    63: XidFact("row remapping recorded", "reset the GPU at the next occasion"),
    64: XidFact("row remapping failed", "reset the GPU"),
    69: XidFact("graphics engine class error", "restart the application"),
    74: XidFact("NVLink error", "check the NVLink bridge"),
    79: XidFact("GPU has fallen off the bus", "reboot; owners report that only a cold boot helps"),
    92: XidFact("high single bit ECC rate", "watch"),
    94: XidFact("contained ECC error", "restart the application"),
    95: XidFact("uncontained ECC error", "reset the GPU"),
    109: XidFact("context switch timeout", "reset the GPU"),
    119: XidFact("GSP RPC timeout", "reset the GPU"),
    120: XidFact("GSP error", "reset the GPU"),
    140: XidFact("unrecovered ECC error", "reset the GPU"),
    143: XidFact("GPU initialization error", "reset the GPU"),
    154: XidFact("recovery action changed", "do what the line says"),
    158: XidFact("GPU fatal timeout", "reset the GPU"),
    167: XidFact("PCIe fatal timeout", "no action in the catalogue"),
}
"""docs.nvidia.com/deploy/xid-errors; numbers not listed are reported without a meaning."""


@dataclass(frozen=True)
class KernelEvent(Record):
    """One line that matters, with the function it names."""

    event: Event
    line: str
    address: str | None
    time_s: Reading[float]
    """Seconds since boot."""
    xid: int | None = None
    """None for other events, and where the line ends inside the number."""
    fact: XidFact | None = None
    severity: str = ""
    """AER: `Correctable`, `Uncorrected (Non-Fatal)`, `Uncorrected (Fatal)`."""
    names: tuple[str, ...] = ()
    """AER: the bits set (`BadTLP`, `RxErr`)."""


@dataclass(frozen=True)
class BandwidthLimit(Record):
    """`… Gb/s available PCIe bandwidth, limited by …`: the narrowest link above a device."""

    device: str
    limited_at: str
    available_gbit_s: float
    gen: Reading[int]
    width: int
    capable_gbit_s: float
    capable_gen: Reading[int]
    capable_width: int


@dataclass(frozen=True)
class KernelLog(Record):
    """Everything of interest in one boot's log."""

    events: tuple[KernelEvent, ...]
    limits: tuple[BandwidthLimit, ...]
    from_boot: bool
    """Whether the log reaches back to the first line of the boot."""

    def of(self, *wanted: Event) -> tuple[KernelEvent, ...]:
        """The events of some kinds, in order."""
        return tuple(event for event in self.events if event.event in wanted)


_TIME = re.compile(r"\[\s*(\d+\.\d+)\]")
_KMSG = re.compile(r"\d+,\d+,(\d+),[-\w,=]+;")
"""Priority, number and time, then flags (Linux Documentation/ABI/testing/dev-kmsg)."""
_XID = re.compile(r"NVRM: Xid(?: \((?P<pci>(?:PCI:)?[0-9a-fA-F:.]+)[^)]*\))?: (?P<xid>\d+)\b")
"""A MIG instance stands behind the address: `(PCI:0000:3b:00 GPU-I:00 GPU-CI:00)`."""
_AER_NAME = re.compile(r"\[\s*\d+\]\s+([A-Z]\w*(?: [A-Z][\w-]*)*)")
_NAMES = {
    "Receiver Error": "RxErr", "Bad TLP": "BadTLP", "Bad DLLP": "BadDLLP",
    "RELAY_NUM Rollover": "Rollover", "Replay Timer Timeout": "Timeout",
    "Advisory Non-Fatal": "NonFatalErr", "Data Link Protocol": "DLP", "Poisoned TLP": "TLP",
    "Flow Control Protocol": "FCP", "Completion Timeout": "CmpltTO", "Completer Abort": "CmpltAbrt",
    "Unexpected Completion": "UnxCmplt", "Receiver Overflow": "RxOF", "Malformed TLP": "MalfTLP",
    "Unsupported Request": "UnsupReq", "ACS Violation": "ACSViol",
}  # fmt: skip
"""Older kernels spell AER's bits out, newer ones print the short form (drivers/pci/pcie/aer.c)."""
_LIMIT = re.compile(
    r"(?P<device>[0-9a-f:.]+): (?P<gb>[\d.]+) Gb/s available PCIe bandwidth, limited by "
    r"(?P<gts>[\d.]+) GT/s PCIe x(?P<width>\d+) link at (?P<at>[0-9a-f:.]+) "
    r"\(capable of (?P<cap>[\d.]+) Gb/s with (?P<cgts>[\d.]+) GT/s PCIe x(?P<cwidth>\d+) link\)"
)
_MEMORY_BAR = r"(?<!VF )\bBAR ?[0-5]\b(?!.*\[io )[: ]*"
"""A memory region of the device itself: 6 is its ROM, 7 to 12 are those of virtual functions, 13
to 15 windows of a bridge (linux/pci.h); a device works without any of these."""
_PATTERNS: Sequence[tuple[Event, re.Pattern[str]]] = (
    (Event.XID, _XID),
    (Event.FALLEN_OFF, re.compile(r"fallen off the bus")),
    (Event.AER, re.compile(r"PCIe Bus Error: severity=(?P<severity>[^,]+),")),
    (Event.NO_BAR, re.compile(_MEMORY_BAR + r"(?:.*can't assign; no space|.*no space for|is 0M)")),
    (Event.INIT_FAILED, re.compile(r"RmInitAdapter failed|rm_init_adapter failed")),
    (Event.PROBE_FAILED, re.compile(r"probe (?:routine|of \S+) failed|failed with error -\d+$")),
    (Event.VERSION_MISMATCH, re.compile(r"NVRM: API mismatch")),
    (Event.KEY_REJECTED, re.compile(r"Key was rejected by service|Required key not available")),
    (Event.LINK_DOWN, re.compile(r"pciehp.*Link Down|Surprise (?:Link )?Down|Link Down event")),
    (Event.X2APIC_OFF, re.compile(r"x2apic disabled|IRQ remapping doesn't support X2APIC")),
    (Event.CPU_LOST, re.compile(r"invalid APIC ID|Aborting bringup")),
    (Event.ACS_CONFIGURED, re.compile(r"Configured ACS to 0x")),
    (
        Event.HARDWARE_RECORD,
        re.compile(
            r"BERT: (?:Error records|\[Hardware Error\])|\[Hardware Error\]: event severity"
        ),
    ),
    (Event.OUT_OF_MEMORY, re.compile(r"Out of memory: Killed process|oom-kill:")),
    (Event.AER_WITHHELD, re.compile(r"_OSC: platform does not support \[[^\]]*\bAER\b")),
)


def parse_kernel_log(text: str | Iterable[str]) -> KernelLog:
    """dmesg, journalctl -k or syslog lines, with or without times."""
    lines = clean_lines(text)
    events: list[KernelEvent] = []
    limits: list[BandwidthLimit] = []
    for line in lines:
        limit = _LIMIT.search(line)
        if limit:
            limits.append(_limit(limit))
            continue
        event = _event(line)
        if event:
            events.append(event)
        elif events and events[-1].event is Event.AER:
            names = _aer_names(_TIME.sub("", line))
            events[-1] = replace(events[-1], names=events[-1].names + names)
    from_boot = any("Linux version " in line for line in lines)
    return KernelLog(tuple(events), tuple(limits), from_boot)


def _aer_names(text: str) -> tuple[str, ...]:
    """The bits a line names, in the short form; a word that the line's end cuts is none."""
    found = []
    for match in _AER_NAME.finditer(text):
        whole = match[1] in _NAMES.values() or match.end() < len(text)
        if match[1] in _NAMES or whole:
            found.append(_NAMES.get(match[1], match[1]))
    return tuple(found)


def _event(line: str) -> KernelEvent | None:
    for kind, pattern in _PATTERNS:
        match = pattern.search(line)
        if match is None:
            continue
        found = KernelEvent(kind, line.strip(), normal_bdf(line), _time(line))
        if kind is Event.XID:
            number, fact = int(match["xid"]), XID_CATALOGUE.get(int(match["xid"]))
            address = normal_bdf(match["pci"] or "")
            if fact is None and match.end() == len(line):  # always followed by a comma
                return replace(found, address=address)
            return replace(found, xid=number, fact=fact, address=address)
        if kind is Event.AER:
            names = _aer_names(line[match.end() :])
            return replace(found, severity=match["severity"], names=names)
        return found
    return None


def _time(line: str) -> Reading[float]:
    """Seconds since boot; /dev/kmsg counts microseconds."""
    time, kmsg = _TIME.search(line), _KMSG.match(line)
    if time:
        return float(time.group(1))
    return int(kmsg.group(1)) / 1e6 if kmsg else Unknown("line has no time", line.strip())


def _limit(match: re.Match[str]) -> BandwidthLimit:
    return BandwidthLimit(
        normal_bdf(match["device"]) or match["device"],
        normal_bdf(match["at"]) or match["at"],
        float(match["gb"]),
        GEN_OF_GTS.get(match["gts"], Unknown("no PCIe speed", match["gts"])),
        int(match["width"]),
        float(match["cap"]),
        GEN_OF_GTS.get(match["cgts"], Unknown("no PCIe speed", match["cgts"])),
        int(match["cwidth"]),
    )


def parse_kernel_log_probe(sections: Mapping[str, Sequence[str]]) -> Reading[KernelLog]:
    """The section `kernel-log`; a log one may not read is unknown, not clean."""
    lines = section(sections, "kernel-log")
    if isinstance(lines, Unknown):
        return lines
    for line in lines:
        if re.search(r"Operation not permitted|not seeing messages|No journal files", line):
            return Unknown("the kernel log needs root", line.strip())
    log = parse_kernel_log(lines)
    return log if log.from_boot or log.events else Unknown("the kernel log is empty")
