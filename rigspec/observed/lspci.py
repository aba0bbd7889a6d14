"""`lspci -vvv` (with or without -nn, -D, -x) into the PCI tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from rigspec.observed.configspace import decode_config
from rigspec.observed.dressing import bare_lines, unwrapped
from rigspec.observed.pci import (
    CLASS_NAMES,
    GEN_OF_GTS,
    Acs,
    AcsBits,
    Bar,
    Kind,
    Link,
    PciFunction,
    PciTree,
    ResizableBar,
)
from rigspec.observed.pci_parents import with_parents
from rigspec.observed.record import Reading, Unknown
from rigspec.observed.text import ends_open, normal_bdf, read_size

_HEADER = re.compile(r"^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7] \S", re.IGNORECASE)
_IDS = re.compile(r"\[([0-9a-f]{4}):([0-9a-f]{4})\]")
_PLAIN_IDS = re.compile(r"^Device ([0-9a-f]{4}):([0-9a-f]{4})")
_CLASS = re.compile(r"\[([0-9a-f]{4})\]$|^Class ([0-9a-f]{4})")
_BEGINS = re.compile(rf"{_HEADER.pattern}|[0-9a-f]{{2,3}}: |[$#`|]", re.IGNORECASE)
_HEX_ROW = re.compile(r"^([0-9a-f]{2,3}):((?: [0-9a-f]{2}){16})\s*$")
_KINDS = (
    ("Root Complex Integrated Endpoint", Kind.INTEGRATED),
    ("Root Complex Event Collector", Kind.COLLECTOR),
    ("Root Port", Kind.ROOT_PORT),
    ("Upstream Port", Kind.UPSTREAM),
    ("Downstream Port", Kind.DOWNSTREAM),
    ("Legacy Endpoint", Kind.LEGACY),
    ("to PCI/PCI-X Bridge", Kind.PCI_BRIDGE),
    ("PCI/PCI-X to PCI-Express Bridge", Kind.PCI_BRIDGE),
    ("Endpoint", Kind.ENDPOINT),
)
_SPEED = re.compile(r"Speed ([\d.]+)GT/s|Speed (\S+)")
_WIDTH = re.compile(r"Width x(\d+)")
_COMPLETE_WIDTH = re.compile(r"Width x\d+(?=[ ,])|Width x(?!1$)\d+$")
"""`Width x1` at the very end of a text may be half of `x16`."""
_BUS = re.compile(r"Bus: primary=\S+, secondary=([0-9a-f]{2})")
_SPEED_DISABLED = re.compile(r"SpeedDis([+-])")
_TARGET = re.compile(r"LnkCtl2:.*Target Link Speed: (\S+?)(?:GT/s)?,")
_REGION = re.compile(r"^\s*Region (\d): (?:\[virtual\] )?(Memory|I/O ports) at (\S+)(.*)")
_REBAR = re.compile(r"^\s*BAR (\d): current size: (\S+?),? supported:(.*)")
_FROM_CAPABILITIES = (
    "link_cap",
    "link_status",
    "link_target_gen",
    "speed_disabled",
    "aspm_supported",
    "aspm_enabled",
    "acs",
    "resizable_bars",
    "sriov_total_vfs",
)
_CUT = Unknown("line was not printed")
_DENIED = "Capabilities: <access denied>"


def parse_lspci(text: str | Iterable[str]) -> PciTree:
    """All functions of a `lspci -v…` listing; a hex dump beside the text is decoded too."""
    blocks: list[list[str]] = []
    lines = bare_lines(text)
    if ends_open(text) and "Width" in lines[-1] and not _COMPLETE_WIDTH.search(lines[-1]):
        lines[-1] = _WIDTH.sub("Width (cut)", lines[-1])
    for line in unwrapped(lines, _BEGINS):
        if _HEADER.match(line):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return PciTree(with_parents([_function(block) for block in blocks]))


def _function(block: list[str]) -> PciFunction:
    address = normal_bdf(block[0]) or block[0].split()[0]
    fields = _header(block[0].split(" ", 1)[1])
    details = block[1:]
    dump = _hex_dump(details)
    if any(_DENIED in line for line in details):
        fields |= _nothing_below(Unknown("lspci ran without root", _DENIED))
    elif any("Capabilities:" in line or "Status: Cap-" in line for line in details):
        fields |= _capabilities(details)
    elif details and not dump:
        fields |= _nothing_below(Unknown("no capabilities were printed"))
        fields |= _named_lines(details)
    function = PciFunction(address, **fields, **_lines(details))
    decoded = decode_config(dump) if dump else None
    if decoded is None or isinstance(decoded, Unknown):
        return function
    return decoded.on(function) if function.kind is Kind.UNKNOWN else function


def _header(rest: str) -> dict[str, Any]:
    class_name, _, device = rest.partition(": ")
    ids = _IDS.findall(device) or _PLAIN_IDS.findall(device)
    code = _CLASS.search(class_name)
    class_code: Reading[int] = Unknown("class is named without its number", class_name)
    if code:
        class_code = int(code.group(1) or code.group(2), 16)
    elif class_name in CLASS_NAMES:
        class_code = CLASS_NAMES[class_name]
    missing = Unknown("printed without -nn", device)
    vendor, product = (int(ids[-1][0], 16), int(ids[-1][1], 16)) if ids else (missing, missing)
    return {
        "vendor_id": vendor,
        "device_id": product,
        "class_code": class_code,
        "description": rest,
    }


def _hex_dump(details: Iterable[str]) -> bytes:
    rows = [match for line in details if (match := _HEX_ROW.match(line))]
    expected = 0
    data = b""
    for row in rows:
        if int(row.group(1), 16) != expected:
            break
        data += bytes.fromhex(row.group(2))
        expected += 16
    return data


def _lines(details: list[str]) -> dict[str, Any]:
    """Everything outside the capabilities."""
    found: dict[str, Any] = {"driver": None, "numa_node": None, "physical_slot": None}
    found["iommu_group"] = Unknown("not printed")
    found |= {"subsystem_vendor_id": None, "subsystem_device_id": None}
    if not details:
        return {}
    for line in details:
        key, _, value = line.strip().partition(": ")
        if key == "NUMA node":
            found["numa_node"] = int(value) if value.isdecimal() else None
        elif key == "Kernel driver in use" or line.strip() == "Kernel driver in use":
            found["driver"] = value or _CUT
        elif key == "Physical Slot":
            found["physical_slot"] = value
        elif key == "IOMMU group":
            found["iommu_group"] = int(value) if value.isdecimal() else Unknown("no number", value)
        elif key == "Subsystem":
            ids = _IDS.findall(value) or _PLAIN_IDS.findall(value)
            missing = Unknown("printed without -nn", value)
            found["subsystem_vendor_id"] = int(ids[-1][0], 16) if ids else missing
            found["subsystem_device_id"] = int(ids[-1][1], 16) if ids else missing
        elif match := _BUS.match(line.strip()):
            found["secondary_bus"] = int(match.group(1), 16)
    found["bars"] = _bars(details)
    found.setdefault("secondary_bus", None)
    return found


def _bars(details: Iterable[str]) -> tuple[Bar, ...]:
    """Regions above the capabilities; those inside belong to SR-IOV."""
    own = takewhile(lambda line: "Capabilities:" not in line, details)
    return tuple(_bar(match) for line in own if (match := _REGION.match(line)))


def _bar(match: re.Match[str]) -> Bar:
    index, what, at, rest = match.groups()
    size = re.search(r"\[size=(\w+)\]", rest)
    assigned = re.fullmatch(r"[0-9a-f]+", at) if rest else None  # at the end: perhaps cut
    return Bar(
        int(index),
        int(at, 16) if assigned else Unknown("not assigned", at),
        read_size(size.group(1)) if size else Unknown("no size printed", match.group().strip()),
        is_memory=what == "Memory",
        prefetchable=" prefetchable" in rest,
    )


def _nothing_below(reason: Unknown) -> dict[str, Any]:
    return dict.fromkeys(_FROM_CAPABILITIES, reason)


def _capabilities(details: list[str]) -> dict[str, Any]:
    express = next((line for line in details if re.search(r"\] Express ", line)), None)
    found = dict.fromkeys(_FROM_CAPABILITIES, None) | {"kind": Kind.CONVENTIONAL}
    if express is None:
        return found
    found["kind"] = next((kind for name, kind in _KINDS if name in express), Kind.UNKNOWN)
    if found["kind"] not in {Kind.INTEGRATED, Kind.COLLECTOR}:
        found |= _link_fields(details)
    found["acs"] = _acs(details)
    found["resizable_bars"] = _resizable(details)
    found["sriov_total_vfs"] = _total_vfs(details)
    return found


def _named_lines(details: list[str]) -> dict[str, Any]:
    """What `grep -E 'LnkCap:|LnkSta:|ACSCtl:'` left of a listing: whole lines, no heads."""
    found = _link_fields(details) if _named(details, "LnkSta:") else {}
    return found | ({"acs": _acs(details)} if _named(details, "ACSCtl:") else {})


def _link_fields(details: list[str]) -> dict[str, Any]:
    cap, sta, ctl = (_named(details, name) for name in ("LnkCap:", "LnkSta:", "LnkCtl:"))
    ctl2 = _named(details, "LnkCtl2:")
    target = _TARGET.search(ctl2 or "")
    return {
        "link_cap": _link(cap),
        "link_status": _link(sta),
        "aspm_supported": _aspm(cap),
        "aspm_enabled": _aspm(ctl),
        "link_target_gen": _gen(target.group(1)) if target else (_CUT if ctl2 else None),
        "speed_disabled": _speed_disabled(ctl2) if ctl2 else None,
    }


def _speed_disabled(ctl2: str) -> Reading[bool]:
    match = _SPEED_DISABLED.search(ctl2)
    return match.group(1) == "+" if match else Unknown("no SpeedDis in the line", ctl2)


def _named(details: Iterable[str], name: str) -> str | None:
    return next((line.strip() for line in details if line.lstrip().startswith(name)), None)


def _gen(gts: str) -> Reading[int]:
    return GEN_OF_GTS.get(gts, Unknown("no PCIe speed", gts))


def _link(line: str | None) -> Reading[Link]:
    if line is None:
        return _CUT
    speed, width = _SPEED.search(line), _WIDTH.search(line)
    gen = _gen((speed.group(1) or speed.group(2)).strip(",")) if speed else Unknown("cut", line)
    return Link(gen, int(width.group(1)) if width else Unknown("no width", line))


def _aspm(line: str | None) -> Reading[tuple[str, ...]]:
    """`ASPM L0s L1 Enabled`, `ASPM Disabled`, `ASPM L1, Exit Latency …`, `ASPM not supported`."""
    match = re.search(r"ASPM ([^,;]*)", line or "")
    if match is None:
        return Unknown("no ASPM in the line", line) if line else _CUT
    words = match.group(1).split()
    ended = line is not None and match.end() < len(line)
    if not ended and not re.search(r"Enabled|Disabled|not supported", match.group(1)):
        return Unknown("the line was cut", line or "")
    if "unknown" in match.group(1).lower():
        return Unknown("ASPM unknown", line or "")
    return tuple(word for word in words if word in {"L0s", "L1"})


def _acs(details: list[str]) -> Reading[Acs] | None:
    cap, ctl = _named(details, "ACSCap:"), _named(details, "ACSCtl:")
    if cap is None and ctl is None:
        shown = any("Access Control Services" in line for line in details)
        return _CUT if shown else None
    if cap is None or ctl is None:
        return Unknown("ACSCap or ACSCtl is missing", cap or ctl or "")
    cap_bits, ctl_bits = parse_acs_bits(cap), parse_acs_bits(ctl)
    if isinstance(cap_bits, Unknown):
        return cap_bits
    return ctl_bits if isinstance(ctl_bits, Unknown) else Acs(cap_bits, ctl_bits)


def parse_acs_bits(line: str) -> Reading[AcsBits]:
    """The seven flags of one `ACSCap:` or `ACSCtl:` line."""
    names = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl")
    flags = dict(re.findall(r"(\w+)([+-])", line))
    values = [flags.get(name) for name in (*names, "DirectTrans")]
    if None in values:
        return Unknown("ACS line is cut", line.strip())
    return AcsBits(*(value == "+" for value in values))


def _resizable(details: list[str]) -> Reading[tuple[ResizableBar, ...]] | None:
    start = next(
        (n for n, line in enumerate(details) if re.search(r"\] (Physical )?Resizable BAR", line)),
        None,
    )
    if start is None:
        return None
    entries = []
    for line in details[start + 1 :]:
        match = _REBAR.match(line)
        if match is None:
            break
        sizes = [read_size(word) for word in match.group(3).split() if word.endswith("B")]
        offered = tuple(size for size in sizes if isinstance(size, int))
        entries.append(ResizableBar(int(match.group(1)), read_size(match.group(2)), offered))
    return tuple(entries) or _CUT


def _total_vfs(details: Iterable[str]) -> Reading[int] | None:
    match = re.search(r"Total VFs: (\d+)(?=[,\s])", "\n".join(details))
    return int(match.group(1)) if match else None
