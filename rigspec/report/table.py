"""Rows as an aligned text table: numbers to the right, unknown as `?`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from rigspec.report.words import wrapped

MOST = 60
"""Terminal cells of a column; longer texts go on below, words whole."""


def as_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A header line and one line per row, more where a text is long; empty text for no rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [[wrapped(_cell(row.get(column)), MOST, "") for column in columns] for row in rows]
    right = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in columns]
    whole = [[[column] for column in columns], *cells]
    widths = [max(cell_len(part) for line in whole for part in line[i]) for i in range(len(right))]
    return "\n".join(
        "  ".join(map(_padded, parts, widths, right)).rstrip()
        for line in whole
        for parts in zip_longest(*line, fillvalue="")
    )


def _cell(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _padded(text: str, width: int, to_right: bool) -> str:
    fill = " " * (width - cell_len(text))
    return fill + text if to_right else text + fill
