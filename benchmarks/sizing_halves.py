"""Whether the fits carry over: halves of the sources, each judged by what the other would fit.

Rows of one source are siblings (one machine, one person, one log), so sources are split, never
rows. On one half the level of a prediction is fitted again (the median ratio of measured to
predicted per quantity, engine and kind of model: what η, t_layer and the shares of the peak set);
on the other half the error is counted with that level.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.sizing_predict import Row
from benchmarks.sizing_table import number


@dataclass(frozen=True)
class Half:
    """One quantity: errors of a half as shipped, and with the level fitted on the other half."""

    quantity: str
    half: int
    count: int
    sources: int
    shipped: float
    crossed: float


def half_of(source: str) -> int:
    """The half a source falls in, the same in every run."""
    return zlib.crc32(source.encode()) % 2


def halves(rows: Sequence[Row]) -> list[Half]:
    """Both halves of every numeric quantity with at least four rows in each."""
    found = []
    for quantity in sorted({row.quantity for row in rows if not isinstance(row.measured, str)}):
        own = [row for row in rows if row.quantity == quantity and number(row.measured) > 0]
        parts = [[row for row in own if half_of(row.source) == half] for half in (0, 1)]
        if min(len(part) for part in parts) < 4:
            continue
        for half in (0, 1):
            level = _levels(parts[1 - half])
            found.append(_half(quantity, half, parts[half], level))
    return found


def _group(row: Row) -> tuple[str, bool]:
    return row.engine, "moe" in row.arch


def _levels(rows: Iterable[Row]) -> Mapping[tuple[str, bool], float]:
    ratios: dict[tuple[str, bool], list[float]] = {}
    for row in rows:
        if number(row.predicted) > 0:
            ratio = number(row.measured) / number(row.predicted)
            ratios.setdefault(_group(row), []).append(ratio)
    return {group: median(values) for group, values in ratios.items() if len(values) >= 3}


def _half(
    quantity: str, half: int, rows: Sequence[Row], level: Mapping[tuple[str, bool], float]
) -> Half:
    shipped = [_error(row, 1.0) for row in rows]
    crossed = [_error(row, level.get(_group(row), 1.0)) for row in rows]
    sources = len({row.source for row in rows})
    return Half(quantity, half, len(rows), sources, median(shipped), median(crossed))


def _error(row: Row, level: float) -> float:
    return 100 * abs(number(row.predicted) * level / number(row.measured) - 1)


def markdown(rows: Sequence[Row]) -> str:
    """The halves as a Markdown table."""
    out = [
        "| quantity | half | sources | n | median error | with the other half's level |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    out += [
        f"| {h.quantity} | {h.half + 1} | {h.sources} | {h.count} | {h.shipped:.3g} % "
        f"| {h.crossed:.3g} % |"
        for h in halves(rows)
    ]
    return "\n".join(out)
