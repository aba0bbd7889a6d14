"""nccl-tests (`all_reduce_perf` and its siblings): speed per size, and whether values held."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.text import clean_lines


@dataclass(frozen=True)
class NcclRow(Record):
    """One message size; bandwidths in GB/s, times in µs, out of place and in place."""

    size_bytes: int
    time_us: float
    algbw: float
    busbw: float
    wrong: Reading[int]
    inplace_time_us: Reading[float]
    inplace_busbw: Reading[float]
    inplace_wrong: Reading[int]


@dataclass(frozen=True)
class NcclTest(Record):
    """One run; a run that hangs ends without its last lines."""

    test: Reading[str]
    ranks: int
    rows: tuple[NcclRow, ...]
    avg_busbw: Reading[float]
    out_of_bounds: Reading[int]
    finished: bool
    errors: tuple[str, ...]

    @property
    def values_right(self) -> Reading[bool]:
        """Whether every checked value was right; unknown where nothing was checked."""
        wrongs = [w for row in self.rows for w in (row.wrong, row.inplace_wrong)]
        known = [w for w in (*wrongs, self.out_of_bounds) if not isinstance(w, Unknown)]
        if any(known):
            return False
        return True if known and self.finished else Unknown("values were not checked to the end")

    @property
    def peak_busbw(self) -> Reading[float]:
        """The best bus bandwidth over all sizes, GB/s."""
        return max((r.busbw for r in self.rows), default=Unknown("no size was measured"))


def parse_nccl_tests(text: str | Iterable[str]) -> Reading[NcclTest]:
    """Output of any nccl-tests version, also with its head or tail missing."""
    lines = clean_lines(text)
    flat = "\n".join(lines)
    has_errors = re.search(r"\berror\b", _column_heads(lines)) is not None
    is_short = "algbw" in flat and "redop" not in flat
    rows = tuple(row for line in lines if (row := _row(line, has_errors, is_short)))
    test = re.search(r"Collective test starting: (\w+)|\b(\w+_perf)\b", flat)
    average = re.search(r"# Avg bus bandwidth\s*: (\d+\.\d+)(?=\s)", flat)
    bounds = re.search(r"# Out of bounds values : (\d+)", flat)
    errors = tuple(
        line.strip() for line in lines if re.search(r"Test (?:NCCL|CUDA) failure|NCCL WARN", line)
    )
    if not rows and not errors:
        return Unknown("no result of nccl-tests in the text")
    name = test.group(1) or test.group(2) if test else Unknown("the head was cut off")
    return NcclTest(
        name,
        len(re.findall(r"^#\s+Rank\s+\d+", flat, re.MULTILINE)),
        rows,
        float(average.group(1)) if average else Unknown("the run did not end"),
        int(bounds.group(1)) if bounds else Unknown("the run did not end"),
        finished=bool(bounds or average),
        errors=errors,
    )


def _column_heads(lines: Iterable[str]) -> str:
    return next((line for line in lines if "algbw" in line), "")


def _row(line: str, has_errors: bool, is_short: bool) -> NcclRow | None:
    """One size; cells are counted from the front, so that a row that was cut shifts nothing."""
    tokens = line.replace("_", "").split()
    if len(tokens) < 4 or not tokens[0].isdecimal():
        return None
    first, length = (1, 4) if is_short and len(tokens) == 4 else _layout(tokens)
    if first > 1 and not re.fullmatch(r"[a-z]\w*", tokens[2]):
        return None  # a table of something else
    cells = tokens[first:]
    if len(tokens) < length and len(cells) != 3:
        cells = cells[:-1]  # the last word of a row that was cut may be half a number
    if len(cells) < 3:
        return None
    time, algbw, busbw = _float(cells[0]), _float(cells[1]), _float(_bandwidth(cells[2:3]))
    if time is None or algbw is None or busbw is None:
        return None
    inplace = [*cells[4:], "", "", "", ""]
    return NcclRow(
        int(tokens[0]),
        time,
        algbw,
        busbw,
        _wrong(cells[3], has_errors) if len(cells) > 3 else _MISSING,
        _reading(_float(inplace[0])),
        _reading(_float(_bandwidth(inplace[2:3]))),
        _wrong(inplace[3], has_errors) if inplace[3] else _MISSING,
    )


_MISSING = Unknown("not in the table")


def _layout(tokens: list[str]) -> tuple[int, int]:
    """Where the times begin, and how many words a whole row has.

    `size count type redop root` (nccl-tests 2.12 on), or without root.
    """
    has_root = len(tokens) >= 13 or tokens[4:5] == ["-1"]
    return (5, 13) if has_root else (4, 12)


def _bandwidth(cell: list[str]) -> str:
    """A bandwidth, which is always printed with two digits behind the point."""
    return cell[0] if cell and re.fullmatch(r"\d+\.\d\d", cell[0]) else ""


def _reading(value: float | None) -> Reading[float]:
    return _MISSING if value is None else value


def _float(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None


def _wrong(token: str, is_error: bool) -> Reading[int]:
    """The `#wrong` column; older versions print the size of the error instead."""
    if is_error:
        return Unknown("this version prints an error size, not a count", token)
    return int(token) if token.isdecimal() else Unknown("values were not checked", token)
