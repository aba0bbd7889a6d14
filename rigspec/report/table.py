"""Rows as an aligned text table: numbers to the right, unknown as `?`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from rigspec.report.words import wrapped

MOST = 60
"""Terminal cells of a column; longer texts go on below, words whole."""
_BETWEEN = "  "
Row = Mapping[str, object]


def as_table(rows: Sequence[Row], columns: int | None = None) -> str:
    """A header line and one line per row, more where a text is long; empty text for no rows.

    Where a terminal has fewer `columns`, texts are broken earlier; where words that someone may
    copy are too wide even so, those of the first column stand above their row, and where that is
    still too wide, every value stands in a line of its own.
    """
    if not rows:
        return ""
    most = [MOST] * len(rows[0])
    widths = _widths(rows, most)
    while columns is not None and _total(widths) > columns:
        narrower = _narrower(rows, most, widths)
        if narrower is None:
            below = _below_its_name(rows)
            if _width(below) <= columns:
                return below
            return min(below, _one_by_one(rows, columns), key=_width)
        most, widths = narrower
    return "\n".join(_lines(rows, most, widths))


def _narrower(
    rows: Sequence[Row], most: list[int], widths: list[int]
) -> tuple[list[int], list[int]] | None:
    """One column broken earlier, the widest that can be; None when none can."""
    for i in sorted(range(len(widths)), key=lambda i: -widths[i]):
        less = [*most[:i], widths[i] - 1, *most[i + 1 :]]
        found = _widths(rows, less)
        if found[i] < widths[i]:
            return less, found
    return None


def _below_its_name(rows: Sequence[Row]) -> str:
    name, *others = rows[0]
    table = as_table([{column: row.get(column) for column in others} for row in rows])
    head, *lines = table.splitlines()
    if len(lines) != len(rows):
        return "\n".join(_lines(rows, most := [MOST] * len(rows[0]), _widths(rows, most)))
    named = zip((_cell(row.get(name)) for row in rows), lines, strict=True)
    return "\n".join([name, f"{_BETWEEN}{head}", *(f"{n}\n{_BETWEEN}{line}" for n, line in named)])


def _one_by_one(rows: Sequence[Row], columns: int) -> str:
    """A block per row, a line per value behind its column's name."""
    said = (
        [f"{name} {value}".strip() for name in row if (value := _cell(row[name]))] for row in rows
    )
    blocks = ([part for line in lines for part in wrapped(line, columns, "  ")] for lines in said)
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _width(text: str) -> int:
    return max(map(cell_len, text.splitlines()))


def _cells(rows: Sequence[Row], most: list[int]) -> Iterator[list[list[str]]]:
    """The lines of every cell, the header's first."""
    names = list(rows[0])
    yield [wrapped(name, width, "") for name, width in zip(names, most, strict=True)]
    for row in rows:
        texts = (_cell(row.get(name)) for name in names)
        yield [wrapped(text, width, "") for text, width in zip(texts, most, strict=True)]


def _widths(rows: Sequence[Row], most: list[int]) -> list[int]:
    whole = list(_cells(rows, most))
    return [max(cell_len(part) for line in whole for part in line[i]) for i in range(len(most))]


def _total(widths: list[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _lines(rows: Sequence[Row], most: list[int], widths: list[int]) -> Iterator[str]:
    right = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in rows[0]]
    for line in _cells(rows, most):
        for parts in zip_longest(*line, fillvalue=""):
            yield _BETWEEN.join(map(_padded, parts, widths, right)).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _padded(text: str, width: int, to_right: bool) -> str:
    fill = " " * (width - cell_len(text))
    return fill + text if to_right else text + fill
