"""Rows as an aligned text table: numbers to the right, unknown as `?`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len


def as_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A header line and one line per row; empty text for no rows."""
    if not rows:
        return ""
    columns = list(rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    right = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in columns]
    widths = [
        max(cell_len(text) for text in (column, *(line[i] for line in cells)))
        for i, column in enumerate(columns)
    ]
    lines = [columns, *cells]
    return "\n".join(
        "  ".join(
            _padded(text, width, to_right)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _padded(text: str, width: int, to_right: bool) -> str:
    fill = " " * (width - cell_len(text))
    return fill + text if to_right else text + fill
