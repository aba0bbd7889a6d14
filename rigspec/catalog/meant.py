"""What a figure of a catalog row was meant to be, where it is written with its unit."""

from __future__ import annotations

import re

_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ][A-Za-z/²µ]*)\s*")
_BYTES = {
    "m": 1,
    "mb": 1,
    "mib": 1,
    "g": 1024,
    "gb": 1024,
    "gib": 1024,
    "t": 1 << 20,
    "tb": 1 << 20,
}
_SPEED = {"gb/s": 1, "gbps": 1, "gb": 1, "tb/s": 1000, "mb/s": 0.001}
_POWER = {"w": 1, "watt": 1, "watts": 1, "kw": 1000}
_UNITS: dict[str, dict[str, float]] = {"_mib": {**_BYTES}, "_gb_s": {**_SPEED}, "_w": {**_POWER}}
"""End of a key → the units that people write, in the one that the key counts in. The memory of
cards is sold in GB and counted in GiB."""


def without_unit(key: str, text: str, bounds: tuple[float, float] | None) -> str:
    """The hint for a figure with a unit: the number alone, where it is one that the key takes."""
    number = _number_meant(key, text)
    if number is None or (bounds is not None and not bounds[0] <= number <= bounds[1]):
        return "write it without unit"
    return f"write it without unit: `{number:.12g}`"


def _number_meant(key: str, text: str) -> float | None:
    """`16GB` of `memory_mib` → 16384; None where the text is no number with a unit of its kind."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    number, unit = float(found[1]), found[2].lower()
    known = next((units for end, units in _UNITS.items() if key.endswith(end)), None)
    if known is None:
        return number
    return number * known[unit] if unit in known else None
