"""Our own PCI probe (`probes.PCI`): sysfs attributes and raw configuration space into the tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rigspec.frozen import dataclass
from rigspec.observed.configspace import decode_config
from rigspec.observed.pci import GEN_OF_GTS, Bar, Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import body, section, trouble
from rigspec.observed.text import normal_bdf, read_hex

_DEVICE = re.compile(r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]) (.*)$")
_PARENT = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])/[^/]+$")
_ROW = re.compile(r"^([0-9a-fA-F]+)((?: +[0-9a-fA-F]{2})*)\s*$")
_FILE = re.compile(rb"(?:\A|\n)==> ([^\n]*/([0-9a-f:.]+)/config) <==\n")
_AER = re.compile(r"^/sys/bus/pci/devices/([0-9a-f:.]+)/aer_dev_(\w+):(\S+) (\d+)$")
_IORESOURCE_IO, _IORESOURCE_MEM, _IORESOURCE_PREFETCH = 0x100, 0x200, 0x2000
"""Flags in sysfs `resource`: Linux include/linux/ioport.h."""


def parse_pci_probe(sections: Mapping[str, Sequence[str]]) -> Reading[PciTree]:
    """The tree from the sections `pci` and `pci-config`."""
    lines = section(sections, "pci")
    if isinstance(lines, Unknown):
        return lines
    dump = sections.get("pci-config", ())
    configs = config_bytes(dump)
    missing = trouble(dump) or Unknown("configuration space was not read")
    functions = []
    for line in lines:
        match = _DEVICE.match(line.strip())
        if match:
            function = _from_sysfs(match.group(1), match.group(2), missing)
            functions.append(_with_config(function, configs.get(function.address)))
    cut = trouble(sections["pci"]) is not None
    return PciTree(tuple(functions), complete=not cut)


def _from_sysfs(address: str, rest: str, missing: Unknown) -> PciFunction:
    at = dict(item.split("=", 1) for item in rest.split() if "=" in item)
    class_word = _hex(at, "class")
    class_code = class_word if isinstance(class_word, Unknown) else class_word >> 8
    is_bridge = class_code == 0x0604
    parent = _PARENT.search(at.get("path", ""))
    # the PCIe attributes are there for every PCI Express function and for no other
    not_read = missing if "max_link_width" in at or is_bridge else None
    return PciFunction(
        normal_bdf(address) or address,
        vendor_id=_hex(at, "vendor"),
        device_id=_hex(at, "device"),
        subsystem_vendor_id=_hex(at, "subsystem_vendor") if not is_bridge else None,
        subsystem_device_id=_hex(at, "subsystem_device") if not is_bridge else None,
        class_code=class_code,
        parent=_parent(at, parent),
        secondary_bus=Unknown("only in configuration space") if is_bridge else None,
        link_cap=_link(at, "max_link_speed", "max_link_width"),
        link_status=_link(at, "current_link_speed", "current_link_width"),
        link_target_gen=not_read,
        speed_disabled=not_read,
        aspm_supported=not_read,
        aspm_enabled=not_read,
        acs=not_read,
        resizable_bars=not_read,
        bars=_bars(at),
        sriov_total_vfs=_int(at, "sriov_totalvfs"),
        numa_node=_int(at, "numa_node"),
        driver=at.get("driver"),
        iommu_group=_int(at, "iommu_group"),
        physical_slot=None,
    )


def _parent(at: Mapping[str, str], found: re.Match[str] | None) -> Reading[str] | None:
    if "path" not in at:
        return Unknown("no sysfs path was printed")
    return normal_bdf(found.group(1)) if found else None


def _hex(at: Mapping[str, str], key: str) -> Reading[int]:
    return read_hex(at[key]) if key in at else Unknown(f"sysfs has no `{key}`")


def _int(at: Mapping[str, str], key: str) -> Reading[int] | None:
    """None where sysfs has no such file, or says -1 (no NUMA node)."""
    value = at.get(key)
    if value is None or value == "-1":
        return None
    return int(value) if value.isdecimal() else Unknown("not a number", value)


def _link(at: Mapping[str, str], speed: str, width: str) -> Reading[Link] | None:
    if speed not in at and width not in at:
        return None
    gts = at.get(speed, "")
    gen: Reading[int] = GEN_OF_GTS.get(gts, Unknown("no PCIe speed", gts))
    lanes = at.get(width, "")
    # 255 is what sysfs prints when the device does not answer
    answered = lanes.isdecimal() and lanes != "255"
    return Link(gen, int(lanes) if answered else Unknown("no link width", lanes))


def _bars(at: Mapping[str, str]) -> Reading[tuple[Bar, ...]]:
    bars = []
    for index in range(6):
        words = [read_hex(word) for word in at.get(f"bar{index}", "").split(",")]
        numbers = [word for word in words if isinstance(word, int)]
        if len(numbers) != 3 or not any(numbers):
            continue
        start, end, flags = numbers
        bars.append(
            Bar(
                index,
                start or Unknown("not assigned", at[f"bar{index}"]),
                end - start + 1,
                is_memory=bool(flags & _IORESOURCE_MEM) and not flags & _IORESOURCE_IO,
                prefetchable=bool(flags & _IORESOURCE_PREFETCH),
            )
        )
    return tuple(bars)


def _with_config(function: PciFunction, data: bytes | None) -> PciFunction:
    if data is None:
        return function
    decoded = decode_config(data)
    if isinstance(decoded, Unknown):
        lost: dict[str, Any] = dict.fromkeys(
            ("link_target_gen", "speed_disabled", "aspm_supported", "aspm_enabled"), decoded
        )
        return replace(function, kind=Kind.UNKNOWN, acs=decoded, resizable_bars=decoded, **lost)
    seen = decoded.on(function)
    if isinstance(seen.link_cap, Unknown):  # sysfs shows links without root
        return replace(
            seen,
            link_cap=function.link_cap,
            link_status=function.link_status,
            sriov_total_vfs=function.sriov_total_vfs,
        )
    return replace(seen, sriov_total_vfs=function.sriov_total_vfs)


def config_bytes(lines: Iterable[str]) -> dict[str, bytes]:
    """Raw configuration space per address, from `head -v … | od -Ax -tx1` (`*` repeats a row)."""
    found: dict[str, bytes] = {}
    data = _undump(body(lines))
    marks = list(_FILE.finditer(data))
    ends = [*(mark.start() for mark in marks[1:]), len(data)]
    for mark, end in zip(marks, ends, strict=False):
        address = normal_bdf(mark.group(2).decode("ascii", "replace"))
        if address:
            found[address] = data[mark.end() : end][:4096]
    return found


def _undump(lines: Iterable[str]) -> bytes:
    """Bytes of an `od -Ax -tx1` dump, as far as it is whole."""
    data, row, repeated = bytearray(), b"", False
    for line in lines:
        if line.strip() == "*":
            repeated = True
            continue
        match = _ROW.match(line)
        if match is None:
            continue
        at = int(match.group(1), 16)
        if repeated and row:
            data.extend(row * ((at - len(data)) // len(row)))
        if at != len(data):
            break  # a lost line: what follows cannot be placed
        row, repeated = bytes.fromhex(match.group(2)), False
        data.extend(row)
    return bytes(data)


@dataclass(frozen=True)
class AerCounter(Record):
    """One AER counter of one function since boot (`correctable`, `nonfatal` or `fatal`)."""

    address: str
    severity: str
    name: str
    count: int


def parse_aer_probe(sections: Mapping[str, Sequence[str]]) -> Reading[tuple[AerCounter, ...]]:
    """AER counters that are not zero, and all totals; Unknown where the OS does not own AER."""
    lines = section(sections, "pci-aer")
    if isinstance(lines, Unknown):
        return lines
    found = tuple(
        AerCounter(normal_bdf(m.group(1)) or m.group(1), m.group(2), m.group(3), int(m.group(4)))
        for line in lines
        if (m := _AER.match(line.strip()))
    )
    return found or Unknown("no function has AER counters: the firmware keeps AER to itself")
