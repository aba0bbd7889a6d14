"""Rows into an error table: per quantity, engine and architecture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.sizing_predict import Declined, Row


@dataclass(frozen=True)
class Line:
    """One line of the table; errors in per cent, or in GiB for memory left over."""

    quantity: str
    group: str
    count: int
    median_error: float
    worst_error: float
    inside: float
    half_width: float
    unit: str


def error_of(row: Row) -> float:
    """Absolute error: GiB for the free pool, else per cent of the measured figure."""
    gap = abs(number(row.predicted) - number(row.measured))
    return gap if row.quantity == "available_kv_gib" else 100 * gap / _base(row)


def half_width_of(row: Row) -> float:
    """Half the band, in the unit of the error."""
    half = (number(row.high) - number(row.low)) / 2
    return half if row.quantity == "available_kv_gib" else 100 * half / _base(row)


def _base(row: Row) -> float:
    return max(1e-9, abs(number(row.measured)))


def number(figure: float | str) -> float:
    """A figure that is known not to be a word."""
    return float(figure)


def is_inside(row: Row) -> bool:
    """Whether the truth lies within the stated band, with the print's rounding."""
    if isinstance(row.measured, str):
        return row.predicted in (row.measured, "close")
    slack = 0.005 + 1e-6 * abs(row.measured) if row.unit == "GiB" else 0.5
    return number(row.low) - slack <= row.measured <= number(row.high) + slack


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Per quantity: all rows, then by engine and architecture."""
    for quantity in sorted({row.quantity for row in rows}):
        own = [
            row for row in rows if row.quantity == quantity and not isinstance(row.measured, str)
        ]
        if not own:
            continue
        yield _line(quantity, "all", own)
        for group in sorted({f"{row.engine} {row.arch}" for row in own}):
            yield _line(quantity, group, [r for r in own if f"{r.engine} {r.arch}" == group])


def _line(quantity: str, group: str, rows: Sequence[Row]) -> Line:
    errors = [error_of(row) for row in rows]
    return Line(
        quantity=quantity,
        group=group,
        count=len(rows),
        median_error=median(errors),
        worst_error=max(errors),
        inside=sum(is_inside(row) for row in rows) / len(rows),
        half_width=median(half_width_of(row) for row in rows),
        unit="GiB" if quantity == "available_kv_gib" else "%",
    )


def verdicts(rows: Iterable[Row], quantity: str) -> dict[tuple[str, str], int]:
    """How often each prediction met each outcome."""
    counted: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.quantity == quantity:
            key = (str(row.predicted), str(row.measured))
            counted[key] = counted.get(key, 0) + 1
    return counted


def markdown(rows: Sequence[Row], declined: Sequence[Declined], *, groups: bool) -> str:
    """The whole table as Markdown."""
    out = [
        "| quantity | group | n | median error | worst | truth in band | half band |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for line in lines(rows):
        if line.group != "all" and not groups:
            continue
        out.append(
            f"| {line.quantity if line.group == 'all' else ''} | {line.group} | {line.count} "
            f"| {line.median_error:.3g} {line.unit} | {line.worst_error:.3g} {line.unit} "
            f"| {100 * line.inside:.0f} % | {line.half_width:.3g} {line.unit} |"
        )
    for quantity in ("fits", "accepted"):
        counted = verdicts(rows, quantity)
        if counted:
            out += [
                "",
                f"`{quantity}`: "
                + ", ".join(
                    f"predicted {p}, was {m}: {n}" for (p, m), n in sorted(counted.items())
                ),
            ]
    out += ["", f"Answered {len(rows)}, declined {len(declined)}."]
    return "\n".join(out)
