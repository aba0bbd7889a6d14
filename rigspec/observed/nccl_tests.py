"""nccl-tests (`all_reduce_perf` and its siblings): speed per size, and whether values held."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown


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
    lines = bare_lines(text)
    flat = "\n".join(lines)
    heads = _column_heads(lines)
    rows = tuple(row for line in lines if (row := _row(line, heads)))
    test = re.search(r"Collective test starting: (\w+)|\b(\w+_perf)\b", flat)
    average = re.search(r"\bAvg bus bandwidth\s*: (\d+\.\d+)(?=\s)", flat)
    bounds = re.search(r"(?:# )?\bOut of bounds values : (\d+)", flat)
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
        _out_of_bounds(bounds, rows),
        finished=bool(bounds or average),
        errors=errors,
    )


def _out_of_bounds(bounds: re.Match[str] | None, rows: tuple[NcclRow, ...]) -> Reading[int]:
    """The count of the last lines: `0 OK` is printed, too, where nothing was checked (`-c 0`)."""
    if bounds is None:
        return Unknown("the run did not end")
    cells = [row.wrong for row in rows]
    if cells and all(isinstance(c, Unknown) and c.reason == _UNCHECKED for c in cells):
        return Unknown(_UNCHECKED, bounds.group())
    return int(bounds.group(1))


def _column_heads(lines: Iterable[str]) -> list[str]:
    """Names of the columns; empty where they were cut off."""
    head = next((line for line in lines if "algbw" in line), "")
    return head.replace("# ", " ").lstrip("#").split()


def _row(line: str, heads: list[str]) -> NcclRow | None:
    """One size; cells are counted from the front, so that a row that was cut shifts nothing."""
    tokens = line.replace("_", "").split()
    if len(tokens) < 4 or not tokens[0].isdecimal():
        return None
    first, length = _layout(tokens, heads)
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
        _wrong(cells[3], heads) if len(cells) > 3 else _MISSING,
        _reading(_float(inplace[0])),
        _reading(_float(_bandwidth(inplace[2:3]))),
        _wrong(inplace[3], heads) if inplace[3] else _MISSING,
    )


_MISSING = Unknown("not in the table")
_UNCHECKED = "values were not checked"


def _layout(tokens: list[str], heads: list[str]) -> tuple[int, int]:
    """Where the times begin, and how many words a whole row has.

    `size count type redop root` (nccl-tests 2.12 on); before, redop and root were printed only
    for tests that have one. Without heads the number of words says it, or root's `-1`.
    """
    if "time" in heads:
        return heads.index("time"), len(heads)
    has_root = len(tokens) >= 13 or tokens[4:5] == ["-1"]
    has_neither = len(tokens) == 11
    return (5, 13) if has_root else (3, 11) if has_neither else (4, 12)


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


def _wrong(cell: str, heads: list[str]) -> Reading[int]:
    """The `#wrong` column (`%g`: `6.71e+07`); older versions print an error's size instead."""
    value = _float(cell)
    if value is None:
        return Unknown(_UNCHECKED, cell)
    if "error" in heads or ("#wrong" not in heads and not cell.isdecimal()):
        return Unknown("this version prints an error size, not a count", cell)
    return int(value) if value < 1e18 else Unknown("out of range", cell)
