"""The table that plain `nvidia-smi` prints: three lines per GPU, what owners paste most."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from rigspec.observed.dressing import bare_lines
from rigspec.observed.nvidia_smi import GpuReading, gpu_from_cells, latest, smi_failure
from rigspec.observed.nvidia_smi_log import parse_smi_versions
from rigspec.observed.record import Reading, Unknown

_FIRST = re.compile(
    r"^\|\s+(?P<index>\d+)\s+(?P<name>[^|\s][^|]*?)\s+(?P<persistence_mode>[^|\s]+)\s*"
    r"\|\s*(?P<bus>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f:.]+|N/A)\s+(?P<display_active>[^|\s]+)\s*\|\s*(?P<ecc>[^|\s]+)\s*\|\s*$"
)
_SECOND = re.compile(
    r"^\|\s*[^|\s]+\s+(?P<temperature>[^|\s]+)\s+[^|\s]+\s+(?P<draw>N/A|[^|/]+?)\s*/\s*"
    r"(?P<limit>N/A|[^|/]+?)\s*\|\s*(?P<used>N/A|[^|/]+?)\s*(?:/\s*(?P<total>N/A|[^|/]+?)\s*)?"
    r"\|\s*(?P<utilization>[^|\s]+)\s[^|]*\|\s*$"
)
_THIRD = re.compile(r"^\|\s*\|\s*\|\s*(?P<mig>Enabled|Disabled|N/A)\*?\s*\|\s*$")
"""`Enabled*`: the mode changes at the next reset."""


def parse_smi_table(text: str | Iterable[str]) -> Reading[tuple[GpuReading, ...]]:
    """Every GPU of the table; of a table that was printed again and again, the last."""
    lines = bare_lines(text)
    versions = parse_smi_versions(lines)
    found: list[dict[str, str]] = []
    for line in lines:
        if first := _FIRST.match(line):
            found.append(_first(first))
        elif found and (second := _SECOND.match(line)) and "power.draw" not in found[-1]:
            found[-1] |= _second(second)
        elif found and (third := _THIRD.match(line)):
            found[-1]["mig.mode.current"] = third["mig"]
    if not found:
        return smi_failure(lines) or Unknown("no GPU in the table")
    if not isinstance(versions.driver, Unknown):
        found = [{**cells, "driver_version": versions.driver} for cells in found]
    return latest(_gpu(cells) for cells in found)


def _gpu(cells: dict[str, str]) -> GpuReading:
    gpu, name = gpu_from_cells(cells), cells["name"]
    return replace(gpu, name=Unknown("the table cuts names", name)) if name[-3:] == "..." else gpu


def _first(match: re.Match[str]) -> dict[str, str]:
    """Index, name, bus id, display, and errors: `Off` is ECC that is off, `N/A` a card without."""
    errors = match["ecc"]
    cells = {
        "index": match["index"],
        "name": match["name"],
        "persistence_mode": match["persistence_mode"],
        "pci.bus_id": match["bus"],
        "display_active": match["display_active"],
        "ecc.mode.current": "On" if errors.isdecimal() else errors,
    }
    return cells | ({"ecc.errors.uncorrected.volatile.total": errors} if errors.isdecimal() else {})


def _second(match: re.Match[str]) -> dict[str, str]:
    """Watts are rounded to whole ones; a card that shares the host's memory names none."""
    return {
        "temperature.gpu": match["temperature"],
        "power.draw": match["draw"],
        "power.limit": match["limit"],
        "memory.used": match["used"],
        "memory.total": match["total"] or "N/A",
        "utilization.gpu": match["utilization"],
    }
