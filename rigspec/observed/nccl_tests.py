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
    rows = tuple(row for line in lines if (row := _row(line, has_errors)))
    test = re.search(r"Collective test starting: (\w+)|\b(\w+_perf)\b", flat)
    average = re.search(r"# Avg bus bandwidth\s*: ([\d.]+)", flat)
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


def _row(line: str, has_errors: bool) -> NcclRow | None:
    tokens = line.replace("_", "").split()
    if len(tokens) < 4 or not tokens[0].isdigit():
        return None
    missing = Unknown("not in the table")
    numbers = [_float(token) for token in tokens]
    if len(tokens) == 4:
        size, time, algbw, busbw = numbers
        if time is None or algbw is None or busbw is None or size is None:
            return None
        return NcclRow(int(size), time, algbw, busbw, missing, missing, missing, missing)
    if len(tokens) < 11 or tokens[2].isdigit():
        return None
    time, algbw, busbw = numbers[-8:-5]
    if time is None or algbw is None or busbw is None:
        return None
    in_time, in_busbw = numbers[-4], numbers[-2]
    return NcclRow(
        int(tokens[0]),
        time,
        algbw,
        busbw,
        _wrong(tokens[-5], has_errors),
        missing if in_time is None else in_time,
        missing if in_busbw is None else in_busbw,
        _wrong(tokens[-1], has_errors),
    )


def _float(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None


def _wrong(token: str, is_error: bool) -> Reading[int]:
    """The `#wrong` column; older versions print the size of the error instead."""
    if is_error:
        return Unknown("this version prints an error size, not a count", token)
    return int(token) if token.isdigit() else Unknown("values were not checked", token)
