"""Cells of nvidia-smi that need care: ids, cut rows, and what `-q` spreads over many lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rigspec.observed.record import Reading, Unknown
from rigspec.observed.text import normal_bdf, read_bool, read_cell, read_hex

ALIASES = {
    "gpu_name": "name",
    "gpu_uuid": "uuid",
    "gpu_bus_id": "pci.bus_id",
    "clocks_throttle_reasons.active": "clocks_event_reasons.active",
    "clocks.sm": "clocks.current.sm",
}
"""Other names that `--query-gpu` takes, and prints as they were asked for."""
LOST_GPU = re.compile(
    r"[Uu]nable to determine the device handle for (?:GPU|gpu) ?\d*:? ?"
    r"([0-9A-Fa-f]+:[0-9A-Fa-f:.]+)"
)


def without_echoes(lines: Sequence[str]) -> list[str]:
    """The rows of a query; a lost GPU's row of errors below its sentence is left out."""
    pairs = zip(["", *lines], lines, strict=False)
    return [
        line
        for above, line in pairs
        if not (LOST_GPU.search(above) and re.fullmatch(r"(\[Unknown Error\](, )?)+", line.strip()))
    ]


REASONS: dict[str, int] = {
    "idle": 0x1,
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "display_clock_setting": 0x100,
    "display_clocks_setting": 0x100,
}
"""Bits of nvmlClocksEventReason* (nvml.h) by the words of `-q`, in XML's spelling."""
_LAST = "sw_thermal_slowdown"
"""Printed after every other reason that matters: a block without it was cut."""


def reason_word(key: str) -> str:
    """A line's key, or an XML tag of either driver generation, as a key of `REASONS`."""
    word = key.strip().lower().replace(" ", "_")
    for prefix in ("clocks_event_reason_", "clocks_throttle_reason_"):
        word = word.removeprefix(prefix)
    return word


def reasons_cell(said: Iterable[tuple[str, str]]) -> str | None:
    """The bit mask as `--query-gpu` prints it; None for no reasons or a block that was cut."""
    mask, seen = 0, set[str]()
    for key, value in said:
        word = reason_word(key)
        if read_bool(value) in {True, False}:
            seen.add(word)
            mask |= REASONS.get(word, 0) if read_bool(value) is True else 0
    return f"0x{mask:016x}" if _LAST in seen else None


def uncorrected_cell(said: Iterable[tuple[str, str]]) -> str | None:
    """The sum of uncorrectable errors since boot; None where the card counts none.

    Before Turing they are called double bit errors, place by place, with a total.
    """
    counted = [(key, int(value)) for key, value in said if value.strip().isdecimal()]
    counts = [count for key, count in counted if "ncorrectable" in key]
    totals = [n for key, n in counted if re.fullmatch(r"(?i)double[ _]bit/total", key)]
    return str(sum(counts or totals)) if counts or totals else None


def read_bus_id(cell: str) -> Reading[str]:
    """As sysfs writes it, whatever the driver's width: `0000:41:00.0`."""
    return normal_bdf(cell) or Unknown("no bus id", cell.strip())


def read_device_id(cell: str) -> Reading[int]:
    """Eight hexadecimal digits, with `0x` (text, CSV) or without (XML): `1E8110DE` is no float."""
    value = read_cell(cell)
    if isinstance(value, Unknown):
        return value
    is_whole = re.fullmatch(r"(?:0x)?[0-9A-Fa-f]{8}", value)
    return read_hex(value) if is_whole else Unknown("not eight hexadecimal digits", value)


def read_vbios(cell: str) -> Reading[str]:
    """Five pairs of hexadecimal digits."""
    value = read_cell(cell)
    if isinstance(value, Unknown) or re.fullmatch(r"[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f]{2}){4}", value):
        return value
    return Unknown("not a VBIOS version", value)


_UNITS = {"memory": "MiB", "power": "W", "clocks": "MHz", "utilization": "%"}


def mark_cut(names: Sequence[str], cells: list[str]) -> list[str]:
    """The last row, its last cell marked when it lacks the unit that all others show."""
    pairs = [
        (_UNITS.get(name.replace("enforced.", "").split(".")[0]), cell)
        for name, cell in zip(names, cells, strict=True)
    ]
    shown = any(unit and cell.endswith(f" {unit}") for unit, cell in pairs[:-1])
    unit, last = pairs[-1]
    if shown and unit and last[-1:].isdecimal():
        return [*cells[:-1], f"[the line was cut at {last}]"]
    return cells
