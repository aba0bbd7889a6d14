"""nvidia-smi: one record per GPU, whichever of its outputs it came from.

Cells are kept under the names of `--query-gpu` (SMI 590 help text); `-q` and `-q -x` are
translated into the same names by `rigspec.observed.nvidia_smi_log`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.nvidia_smi_cells import (
    ALIASES,
    LOST_GPU,
    mark_cut,
    read_bus_id,
    read_device_id,
    read_vbios,
    without_echoes,
)
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown, known
from rigspec.observed.sections import CUT, body, section
from rigspec.observed.text import read_bool, read_cell, read_float, read_int

QUERY_FIELDS = (
    "index",
    "uuid",
    "pci.bus_id",
    "name",
    "pci.device_id",
    "vbios_version",
    "driver_version",
    "memory.total",
    "memory.used",
    "power.draw",
    "power.limit",
    "enforced.power.limit",
    "power.default_limit",
    "power.min_limit",
    "power.max_limit",
    "persistence_mode",
    "pcie.link.gen.current",
    "pcie.link.gen.max",
    "pcie.link.width.current",
    "pcie.link.width.max",
    "temperature.gpu",
    "utilization.gpu",
    "compute_cap",
    "mig.mode.current",
    "ecc.mode.current",
    "ecc.errors.uncorrected.volatile.total",
    "display_active",
    "clocks.current.sm",
    "clocks.max.sm",
)
"""Fields that drivers from R515 on answer; a single unknown field makes nvidia-smi refuse all."""

EXTRA_FIELDS = (
    "uuid",
    "addressing_mode",
    "gpu_recovery_action",
    "clocks_event_reasons.active",
    "remapped_rows.pending",
    "remapped_rows.failure",
    "retired_pages.pending",
    "pcie.link.gen.gpumax",
    "pcie.link.gen.hostmax",
)
"""Fields that came later (asked for apart, so that an old driver still answers the rest)."""


@dataclass(frozen=True)
class GpuReading(Record):
    """One GPU as nvidia-smi shows it; what was not asked for is unknown."""

    index: Reading[int] = NOT_ASKED
    uuid: Reading[str] = NOT_ASKED
    bus_id: Reading[str] = NOT_ASKED
    """As sysfs writes it: `0000:41:00.0`."""
    name: Reading[str] = NOT_ASKED
    pci_device_id: Reading[int] = NOT_ASKED
    """Device id in the upper, vendor id in the lower 16 bits."""
    vbios: Reading[str] = NOT_ASKED
    driver_version: Reading[str] = NOT_ASKED
    compute_cap: Reading[str] = NOT_ASKED
    memory_total_mib: Reading[int] = NOT_ASKED
    memory_used_mib: Reading[int] = NOT_ASKED
    bar1_total_mib: Reading[int] = NOT_ASKED
    power_draw_w: Reading[float] = NOT_ASKED
    power_limit_w: Reading[float] = NOT_ASKED
    """The software limit that was asked for."""
    power_enforced_w: Reading[float] = NOT_ASKED
    """The least of all limiters: what really holds."""
    power_default_w: Reading[float] = NOT_ASKED
    power_min_w: Reading[float] = NOT_ASKED
    power_max_w: Reading[float] = NOT_ASKED
    persistence: Reading[bool] = NOT_ASKED
    link_gen: Reading[int] = NOT_ASKED
    """May drop at idle; judge it only under load."""
    link_gen_max: Reading[int] = NOT_ASKED
    link_gen_gpu_max: Reading[int] = NOT_ASKED
    link_gen_host_max: Reading[int] = NOT_ASKED
    link_width: Reading[int] = NOT_ASKED
    link_width_max: Reading[int] = NOT_ASKED
    temperature_c: Reading[int] = NOT_ASKED
    utilization_percent: Reading[int] = NOT_ASKED
    clock_sm_mhz: Reading[int] = NOT_ASKED
    clock_sm_max_mhz: Reading[int] = NOT_ASKED
    addressing_mode: Reading[str] = NOT_ASKED
    """`None` or `HMM`, as printed."""
    recovery_action: Reading[str] = NOT_ASKED
    event_reasons: Reading[int] = NOT_ASKED
    """Bit mask of what holds the clocks down (nvml.h, nvmlClocksEventReason*)."""
    mig_enabled: Reading[bool] = NOT_ASKED
    ecc_enabled: Reading[bool] = NOT_ASKED
    ecc_uncorrected: Reading[int] = NOT_ASKED
    remap_pending: Reading[bool] = NOT_ASKED
    remap_failed: Reading[bool] = NOT_ASKED
    retired_pending: Reading[bool] = NOT_ASKED
    """Pages that are taken out of use at the next reset (cards without row remapping)."""
    display_active: Reading[bool] = NOT_ASKED
    cells: Mapping[str, str] = field(default_factory=dict)
    """Every cell as printed, by query name."""


_Reader = Callable[[str], Any]
_FIELDS: Mapping[str, tuple[str, _Reader]] = {
    "index": ("index", read_int),
    "uuid": ("uuid", read_cell),
    "pci.bus_id": ("bus_id", read_bus_id),
    "name": ("name", read_cell),
    "pci.device_id": ("pci_device_id", read_device_id),
    "vbios_version": ("vbios", read_vbios),
    "driver_version": ("driver_version", read_cell),
    "kmd_version": ("driver_version", read_cell),
    "compute_cap": ("compute_cap", read_cell),
    "memory.total": ("memory_total_mib", read_int),
    "memory.used": ("memory_used_mib", read_int),
    "bar1.memory.total": ("bar1_total_mib", read_int),
    "power.draw": ("power_draw_w", read_float),
    "power.limit": ("power_limit_w", read_float),
    "enforced.power.limit": ("power_enforced_w", read_float),
    "power.default_limit": ("power_default_w", read_float),
    "power.min_limit": ("power_min_w", read_float),
    "power.max_limit": ("power_max_w", read_float),
    "persistence_mode": ("persistence", read_bool),
    "pcie.link.gen.current": ("link_gen", read_int),
    "pcie.link.gen.gpucurrent": ("link_gen", read_int),
    "pcie.link.gen.max": ("link_gen_max", read_int),
    "pcie.link.gen.gpumax": ("link_gen_gpu_max", read_int),
    "pcie.link.gen.hostmax": ("link_gen_host_max", read_int),
    "pcie.link.width.current": ("link_width", read_int),
    "pcie.link.width.max": ("link_width_max", read_int),
    "temperature.gpu": ("temperature_c", read_int),
    "utilization.gpu": ("utilization_percent", read_int),
    "clocks.current.sm": ("clock_sm_mhz", read_int),
    "clocks.max.sm": ("clock_sm_max_mhz", read_int),
    "addressing_mode": ("addressing_mode", read_cell),
    "gpu_recovery_action": ("recovery_action", read_cell),
    "clocks_event_reasons.active": ("event_reasons", read_int),
    "mig.mode.current": ("mig_enabled", read_bool),
    "ecc.mode.current": ("ecc_enabled", read_bool),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", read_int),
    "remapped_rows.pending": ("remap_pending", read_bool),
    "remapped_rows.failure": ("remap_failed", read_bool),
    "retired_pages.pending": ("retired_pending", read_bool),
    "display_active": ("display_active", read_bool),
}
_FAILURES = re.compile(
    r"NVIDIA-SMI has failed|Failed to initialize NVML|couldn't find libnvidia-ml|"
    r"is not a valid field to query|Unable to determine the device handle|GPU is lost|"
    r"Invalid combination of input|[Ii]nsufficient [Pp]ermissions|"
    r"couldn't communicate with|Segmentation fault|command not found"
)


def gpu_from_cells(cells: Mapping[str, str]) -> GpuReading:
    """The record of one GPU from cells by query name."""
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        attribute, reader = _FIELDS.get(ALIASES.get(name, name), (None, None))
        if attribute is None or reader is None:
            continue
        value = reader(cell)
        if isinstance(value, Unknown) and attribute in values:
            continue
        values[attribute] = value
    return GpuReading(**values, cells=dict(cells))


def latest(gpus: Iterable[GpuReading]) -> tuple[GpuReading, ...]:
    """Each GPU once, as it was read last: `-l` and `watch` print all of them again and again."""
    found: dict[object, GpuReading] = {}
    for place, gpu in enumerate(gpus):
        key = known(gpu.uuid) or known(gpu.bus_id) or (known(gpu.index), known(gpu.name))
        found[place if key == (None, None) else key] = gpu
    return tuple(found.values())


def smi_failure(lines: Iterable[str]) -> Unknown | None:
    """nvidia-smi's own words when it could not answer, None when it could."""
    said = [line.strip() for line in lines if line.strip()]
    for place, line in enumerate(said):
        if _FAILURES.search(line):
            detail = said[place + 1] if place + 1 < len(said) else ""
            more = f" ({detail})" if detail.startswith("NVML library version") else ""
            return Unknown(line + more, line)
    return None


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a line names fields of GPUs (a `pid` is of a program), with or without units."""
    named = any(ALIASES.get(cell, cell) in _FIELDS for cell in cells)
    return (
        named and "pid" not in cells and all(re.fullmatch(r"[a-z][\w.]*", cell) for cell in cells)
    )


def parse_query_gpu(
    text: str | Iterable[str], fields: Sequence[str] | None = None
) -> Reading[tuple[GpuReading, ...]]:
    """`--query-gpu=FIELDS --format=csv[,noheader][,nounits]`; without fields, by its header.

    "No devices were found" is an answer: no GPUs.
    """
    said = bare_lines(text)
    lines = without_echoes([line for line in body(said) if line.strip()])
    is_cut = any(line.startswith(CUT) for line in said)
    if any("No devices were found" in line for line in lines):
        return ()
    rows, lost = [], smi_failure(lines)
    names = list(fields or ())
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.split(",")]
        bare = [re.sub(r" \[[^\]]*\]$", "", cell) for cell in cells]
        if _is_header(bare):
            names = bare
        elif len(cells) == len(names) and (len(names) > 1 or not _FAILURES.search(line)):
            cells = mark_cut(names, cells) if number == len(lines) - 1 else cells
            if number == len(lines) - 1 and is_cut:
                rows.append(_broken_row(line, names, cells))
            else:
                rows.append(gpu_from_cells(dict(zip(names, cells, strict=True))))
        elif lost_gpu := LOST_GPU.search(line):
            rows.append(_lost_row(lost_gpu, line))
        elif len(cells) > 1 and names:
            rows.append(_broken_row(line, names, cells))
    if lost is not None and not any(row.cells for row in rows):
        return lost
    return latest(rows) if rows else Unknown("nvidia-smi listed nothing")


def _lost_row(match: re.Match[str], line: str) -> GpuReading:
    """A GPU that the driver knows and cannot reach: all but its bus id is unknown."""
    lost: dict[str, Any] = dict.fromkeys(_attributes(_FIELDS), Unknown("the GPU is lost", line))
    return replace(GpuReading(), **{**lost, "bus_id": read_bus_id(match.group(1))})


def _broken_row(line: str, names: Sequence[str], cells: Sequence[str]) -> GpuReading:
    """A row of another length is a GPU of which only the first cells can be trusted."""
    if len(cells) > len(names):
        reason = Unknown("more cells than fields", line)
        every: dict[str, Any] = dict.fromkeys(_attributes(names), reason)
        return replace(GpuReading(), **every)
    whole = dict(zip(names, cells[:-1], strict=False))
    cut: dict[str, Any] = dict.fromkeys(_attributes(names[len(whole) :]), Unknown("cut", line))
    return replace(gpu_from_cells(whole), **cut)


def _attributes(names: Iterable[str]) -> list[str]:
    return [_FIELDS[name][0] for name in names if name in _FIELDS]


def parse_smi_probe(sections: Mapping[str, Sequence[str]]) -> Reading[tuple[GpuReading, ...]]:
    """GPUs from the sections `smi` and `smi-extra`, joined by UUID."""
    lines = section(sections, "smi")
    if isinstance(lines, Unknown) and not body(sections.get("smi", ())):
        return lines
    gpus = parse_query_gpu(sections["smi"], QUERY_FIELDS)  # with the mark of a cut, if any
    extra = section(sections, "smi-extra")
    if isinstance(gpus, Unknown) or isinstance(extra, Unknown):
        return gpus
    more = parse_query_gpu(extra, EXTRA_FIELDS)
    if isinstance(more, Unknown):
        lost: dict[str, Any] = dict.fromkeys(_attributes(EXTRA_FIELDS[1:]), more)
        return tuple(replace(gpu, **lost) for gpu in gpus)
    by_uuid = {gpu.cells.get("uuid", ""): gpu.cells for gpu in more}
    return tuple(
        gpu_from_cells({**by_uuid.get(gpu.cells.get("uuid", ""), {}), **gpu.cells})
        if by_uuid.get(gpu.cells.get("uuid", ""))
        else gpu
        for gpu in gpus
    )
