"""nvidia-smi's long forms: `-q` text, `-q -x` XML, `-L`, the banner and `--version`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from xml.etree import ElementTree

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.nvidia_smi import GpuReading, gpu_from_cells, latest, smi_failure
from rigspec.observed.nvidia_smi_cells import reasons_cell, uncorrected_cell
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.text import read_cell

_LOG_NAMES: Mapping[str, str] = {
    "Product Name": "name",
    "GPU UUID": "uuid",
    "VBIOS Version": "vbios_version",
    "Persistence Mode": "persistence_mode",
    "Addressing Mode": "addressing_mode",
    "Display Active": "display_active",
    "GPU Recovery Action": "gpu_recovery_action",
    "MIG Mode/Current": "mig.mode.current",
    "ECC Mode/Current": "ecc.mode.current",
    "PCI/Bus Id": "pci.bus_id",
    "PCI/Device Id": "pci.device_id",
    "PCI/GPU Link Info/PCIe Generation/Max": "pcie.link.gen.max",
    "PCI/GPU Link Info/PCIe Generation/Current": "pcie.link.gen.current",
    "PCI/GPU Link Info/PCIe Generation/Device Max": "pcie.link.gen.gpumax",
    "PCI/GPU Link Info/PCIe Generation/Host Max": "pcie.link.gen.hostmax",
    "PCI/GPU Link Info/Link Width/Max": "pcie.link.width.max",
    "PCI/GPU Link Info/Link Width/Current": "pcie.link.width.current",
    "FB Memory Usage/Total": "memory.total",
    "FB Memory Usage/Used": "memory.used",
    "BAR1 Memory Usage/Total": "bar1.memory.total",
    "Utilization/Gpu": "utilization.gpu",
    "Utilization/GPU": "utilization.gpu",
    "Remapped Rows/Pending": "remapped_rows.pending",
    "Remapped Rows/Remapping Failure Occurred": "remapped_rows.failure",
    "Retired Pages/Pending": "retired_pages.pending",
    "Retired Pages/Pending Page Blacklist": "retired_pages.pending",
    "Temperature/GPU Current Temp": "temperature.gpu",
    "Clocks/SM": "clocks.current.sm",
    "Max Clocks/SM": "clocks.max.sm",
}
_POWER_NAMES: Mapping[str, str] = {
    "Power Draw": "power.draw",
    "Instantaneous Power Draw": "power.draw",
    "Average Power Draw": "power.draw",
    "Power Limit": "power.limit",
    "Requested Power Limit": "power.limit",
    "Enforced Power Limit": "enforced.power.limit",
    "Current Power Limit": "enforced.power.limit",
    "Default Power Limit": "power.default_limit",
    "Min Power Limit": "power.min_limit",
    "Max Power Limit": "power.max_limit",
}
"""Below `Power Readings` (to R525), `GPU Power Readings` (R530 on) or its 610 sub-block."""

_XML_NAMES: Mapping[str, str] = {
    "product_name": "name",
    "uuid": "uuid",
    "vbios_version": "vbios_version",
    "persistence_mode": "persistence_mode",
    "addressing_mode": "addressing_mode",
    "display_active": "display_active",
    "gpu_recovery_action": "gpu_recovery_action",
    "mig_mode/current_mig": "mig.mode.current",
    "ecc_mode/current_ecc": "ecc.mode.current",
    "pci/pci_bus_id": "pci.bus_id",
    "pci/pci_device_id": "pci.device_id",
    "pci/pci_gpu_link_info/pcie_gen/max_link_gen": "pcie.link.gen.max",
    "pci/pci_gpu_link_info/pcie_gen/current_link_gen": "pcie.link.gen.current",
    "pci/pci_gpu_link_info/pcie_gen/max_device_link_gen": "pcie.link.gen.gpumax",
    "pci/pci_gpu_link_info/pcie_gen/max_host_link_gen": "pcie.link.gen.hostmax",
    "pci/pci_gpu_link_info/link_widths/max_link_width": "pcie.link.width.max",
    "pci/pci_gpu_link_info/link_widths/current_link_width": "pcie.link.width.current",
    "fb_memory_usage/total": "memory.total",
    "fb_memory_usage/used": "memory.used",
    "bar1_memory_usage/total": "bar1.memory.total",
    "utilization/gpu_util": "utilization.gpu",
    "temperature/gpu_temp": "temperature.gpu",
    "clocks/sm_clock": "clocks.current.sm",
    "max_clocks/sm_clock": "clocks.max.sm",
    "remapped_rows/remapped_row_pending": "remapped_rows.pending",
    "remapped_rows/remapped_row_failure": "remapped_rows.failure",
    "retired_pages/pending_retirement": "retired_pages.pending",
    "retired_pages/pending_blacklist": "retired_pages.pending",
}
_WITH_UNIT = re.compile(
    r"(?:bar1\.)?memory\.|(?:enforced\.)?power\.|temperature\.|utilization\.|clocks\.|"
    r"pcie\.link\.width"
)
"""Cells that `-q` never prints without a unit."""
_REASONS = frozenset({"Clocks Event Reasons", "Clocks Throttle Reasons"})
_MANY = ("clocks_event_reasons.active", "ecc.errors.uncorrected.volatile.total")

_XML_GPU = re.compile(r"<gpu id=.*?</gpu>", re.DOTALL)
_XML_DRIVER = re.compile(r"<driver_version>\s*([\d.]+)")
_LINE = re.compile(r"^(\s*)(\S.*?)\s*(?::\s?(.*))?$")
_GPU = re.compile(r"^GPU ([0-9A-Fa-f:.]+)\s*$")


def parse_smi_log(text: str | Iterable[str]) -> Reading[tuple[GpuReading, ...]]:
    """`nvidia-smi -q` (also `-q -d …`), every GPU that the text shows."""
    lines = bare_lines(text)
    found: list[_Block] = []
    head = _Block({})
    for line in lines:
        start = _GPU.match(line)
        match = _LINE.match(line)
        if start:  # above the first, the end of a GPU may stand whose head was cut off
            said = {name: head.cells[name] for name in ("driver_version",) if name in head.cells}
            found.append(_Block({**said, "pci.bus_id": start.group(1)}))
        elif match:
            _take(match, found[-1] if found else head)
    if not found:
        return smi_failure(lines) or Unknown("no GPU in the text")
    return latest(gpu_from_cells(block.whole()) for block in found)


@dataclass
class _Block:
    """The lines of one GPU while they are read."""

    cells: dict[str, str]
    path: list[tuple[int, str]] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)

    def whole(self) -> dict[str, str]:
        """All cells, with those that are put together from many lines."""
        return _with_many(self.cells, self.reasons, self.errors)


def _with_many(
    cells: dict[str, str], reasons: list[tuple[str, str]], errors: list[tuple[str, str]]
) -> dict[str, str]:
    many = zip(_MANY, (reasons_cell(reasons), uncorrected_cell(errors)), strict=True)
    return cells | {name: cell for name, cell in many if cell is not None}


def _take(match: re.Match[str], block: _Block) -> None:
    """One `Key : value` line, or the head of a block, into the cells of its GPU."""
    path, cells = block.path, block.cells
    indent, key, value = len(match.group(1)), match.group(2), match.group(3)
    while path and path[-1][0] >= indent:
        path.pop()
    where = [name for _, name in path]
    if value is None:
        path.append((indent, key))
        return
    if not where and key == "Driver Version":
        cells["driver_version"] = value.partition(" [")[0]
        return
    if where[:1] and where[0] in _REASONS:
        block.reasons.append((key, value))
    if where[:2] == ["ECC Errors", "Volatile"]:
        block.errors.append(("/".join([*where[2:], key]), value))
    name = _LOG_NAMES.get("/".join([*where, key]))
    if where and where[0] in {"Power Readings", "GPU Power Readings"}:
        name = _POWER_NAMES.get(key)
    if name and _WITH_UNIT.match(name) and value[-1:].isdecimal():
        value = f"[the line was cut at {value}]"
    if name and isinstance(read_cell(cells.get(name, "")), Unknown):
        cells[name] = value  # the first of two draws that says something


def parse_smi_xml(text: str | Iterable[str]) -> Reading[tuple[GpuReading, ...]]:
    """`nvidia-smi -q -x`; a text that is cut still gives the GPUs that are whole."""
    flat = "\n".join(bare_lines(text))
    driver = _XML_DRIVER.search(flat)
    gpus, broken = [], None
    for block in _XML_GPU.findall(flat):
        try:
            element = ElementTree.fromstring(block)  # noqa: S314 — our own host printed it
        except ElementTree.ParseError as problem:
            broken = Unknown(f"XML is broken: {problem}", block[:80])
            continue
        gpus.append(gpu_from_cells(_xml_cells(element, driver.group(1) if driver else "")))
    if gpus:
        return latest(gpus)
    return smi_failure(flat.split("\n")) or broken or Unknown("no GPU in the XML")


def _xml_cells(element: ElementTree.Element, driver: str) -> dict[str, str]:
    cells = {"driver_version": driver, "pci.bus_id": element.get("id", "")}
    cells |= {name: text for path, name in _XML_NAMES.items() if (text := element.findtext(path))}
    if (element.findtext("remapped_rows") or "").strip() == "N/A":
        cells |= {"remapped_rows.pending": "N/A", "remapped_rows.failure": "N/A"}
    empty: dict[str, str] = {}
    for block in ("power_readings", "gpu_power_readings"):
        for key, name in _POWER_NAMES.items():
            tag = key.lower().replace("instantaneous", "instant").replace(" ", "_")
            value = element.findtext(f"{block}//{tag}")
            if value:
                kept = empty if isinstance(read_cell(value), Unknown) else cells
                kept.setdefault(name, value)
    cells = empty | cells
    many = ("clocks_event_reasons", "clocks_throttle_reasons", "ecc_errors/volatile")
    events, throttles, errors = (
        [(child.tag, child.text or "") for child in element.findall(f"{path}/*")] for path in many
    )
    double = element.findall("ecc_errors/volatile/double_bit/*")
    errors += [(f"double_bit/{child.tag}", child.text or "") for child in double]
    return _with_many(cells, [*events, *throttles], errors)


@dataclass(frozen=True)
class ListedGpu(Record):
    """A line of `nvidia-smi -L`; MIG devices of the GPU by UUID."""

    index: int
    name: str
    uuid: str
    mig_uuids: tuple[str, ...] = ()


_LISTED = re.compile(r"^GPU (\d+): (.*) \(UUID: (GPU-[^)]+)\)")
_MIG = re.compile(r"^\s+MIG .*\(UUID: (MIG-[^)]+)\)")


def parse_smi_list(text: str | Iterable[str]) -> Reading[tuple[ListedGpu, ...]]:
    """`nvidia-smi -L`; "No devices were found" is an answer: none."""
    lines = bare_lines(text)
    found: list[ListedGpu] = []
    for line in lines:
        gpu, mig = _LISTED.match(line), _MIG.match(line)
        if gpu:
            found.append(ListedGpu(int(gpu.group(1)), gpu.group(2), gpu.group(3)))
        elif mig and found:
            last = found[-1]
            migs = (*last.mig_uuids, mig.group(1))
            found[-1] = ListedGpu(last.index, last.name, last.uuid, migs)
    if not found and any("No devices were found" in line for line in lines):
        return ()
    return tuple(found) if found else smi_failure(lines) or Unknown("no GPU was listed")


@dataclass(frozen=True)
class SmiVersions(Record):
    """Versions from the banner or `nvidia-smi --version`, whichever words the driver uses."""

    smi: Reading[str]
    driver: Reading[str]
    cuda: Reading[str]


_WHOLE = re.compile(r"^\d{3}\.\d+\.\d{2}$|^\d{1,2}\.\d$")
"""A driver's version of three parts, or CUDA's of two."""


def parse_smi_versions(text: str | Iterable[str]) -> SmiVersions:
    """Banner table, head of `-q`, or `--version`; 610 renamed `Driver` to `KMD`."""
    flat = "\n".join(bare_lines(text))
    failure = smi_failure(flat.split("\n")) or Unknown("version was not printed")

    def find(*patterns: str) -> Reading[str]:
        for pattern in patterns:
            match = re.search(pattern + r"\s*:?\s*(\d+(?:\.\d+)+)", flat, re.IGNORECASE)
            if match is None:
                continue
            # at the very end of a text, 595.71 may be the half of 595.71.05
            if flat[match.end() :] in {"", "."} and not _WHOLE.search(match.group(1)):
                return Unknown("the line was cut", match.group())
            return match.group(1)
        return failure

    return SmiVersions(
        find(r"NVIDIA-SMI version", r"NVIDIA-SMI"),
        find(r"KMD version", r"Driver version"),
        find(r"CUDA UMD version", r"CUDA version"),
    )
