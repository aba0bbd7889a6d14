"""Bandwidth and latency between GPUs: CUDA samples, nvbandwidth, and tables people publish."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.text import ends_open

_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?$")
_DASH = frozenset({"-", "—", "–", "N/A", "n/a", "*"})
_HEAD = re.compile(r"^\s*(?:D\\D|GPU|CPU|Dst→|)\s*((?:(?:GPU ?)?\d+\s+)*(?:GPU ?)?\d+)\s*$")
_ROW = re.compile(r"^\s*(?:GPU ?)?(\d+):?\s+(\S.*)$")


@dataclass(frozen=True)
class Matrix(Record):
    """One square of numbers; the diagonal is a GPU with itself (or warm-up): ignore it."""

    title: str
    corner: str
    """`D\\D` bandwidth, `GPU` or `CPU` latency as seen by that clock."""
    columns: tuple[int, ...]
    rows: tuple[tuple[int, tuple[Reading[float], ...]], ...]

    @property
    def p2p_enabled(self) -> bool | None:
        """Whether the title says so; None where it says nothing."""
        match = re.search(r"P2P=(Enabled|Disabled)", self.title)
        return match.group(1) == "Enabled" if match else None

    @property
    def bidirectional(self) -> bool:
        """Whether both directions are counted together."""
        return self.title.lower().startswith("bidirectional") or "<->" in self.title

    @property
    def is_latency(self) -> bool:
        """Whether it holds µs instead of GB/s."""
        return "atency" in self.title or self.corner in {"GPU", "CPU"}

    def between(self, source: int, target: int) -> Reading[float]:
        """The number from one GPU to another."""
        cells = next((cells for number, cells in self.rows if number == source), None)
        if cells is None or target not in self.columns:
            return Unknown(f"GPU {source} to GPU {target} is not in the table")
        place = self.columns.index(target)
        return cells[place] if place < len(cells) else Unknown("row was cut off")

    @property
    def pairs(self) -> tuple[tuple[int, int, float], ...]:
        """Every number off the diagonal that could be read."""
        return tuple(
            (source, target, value)
            for source, cells in self.rows
            for target, value in zip(self.columns, cells, strict=False)
            if source != target and not isinstance(value, Unknown)
        )


def parse_matrices(text: str | Iterable[str]) -> tuple[Matrix, ...]:
    """Every table of a p2pBandwidthLatencyTest or nvbandwidth output, or of a web page."""
    found: list[Matrix] = []
    title, head = "", None
    rows: list[tuple[int, tuple[Reading[float], ...]]] = []

    def close() -> None:
        if head is not None and rows:
            columns = tuple(int(number) for number in re.findall(r"\d+", head.group(1)))
            corner = _corner(head.group(0))
            found.append(Matrix(title, corner, columns, tuple(rows)))

    lines = bare_lines(text)
    last = len(lines) - 1 if ends_open(text) else -1
    for number, line in enumerate(lines):
        new_head = _HEAD.match(line)
        row = _row(line) if head and not new_head else None
        if row and head and number == last:
            row = _without_cut_end(row, line, len(re.findall(r"\d+", head.group(1))))
        if row:
            rows.append(row)
            continue
        if new_head or (line.strip() and head):
            close()
            rows, head = [], None
        if new_head:
            head = new_head
        elif line.strip():
            title = line.strip()
    close()
    return tuple(found)


def _corner(line: str) -> str:
    """The word in the corner of a table's head."""
    bare = line.strip()
    return "" if re.match(r"(?:GPU ?)?\d", bare) else bare.split()[0]


_Row = tuple[int, tuple[Reading[float], ...]]


def _row(line: str) -> _Row | None:
    match = _ROW.match(line)
    if match is None:
        return None
    cells = match.group(2).split()
    if not all(_NUMBER.match(cell) or cell in _DASH for cell in cells):
        return None
    return int(match.group(1)), tuple(
        float(cell) if _NUMBER.match(cell) else Unknown("no figure", cell) for cell in cells
    )


def _without_cut_end(row: _Row, line: str, width: int) -> _Row:
    """The last row of a text that ends in it: its last number may be half of one."""
    number, cells = row
    if len(cells) == width and _as_long_as_others(line.split()[-width:]):
        return row
    return number, (*cells[:-1], Unknown("the row was cut", line.split()[-1]))


def _as_long_as_others(cells: list[str]) -> bool:
    """Whether the last number of a row has as many digits behind the point as all others."""
    digits = [len(cell.partition(".")[2]) for cell in cells if _NUMBER.match(cell)]
    return len(digits) > 1 and digits[-1] >= max(digits[:-1]) > 0


@dataclass(frozen=True)
class PeerAccess(Record):
    """What the CUDA runtime grants between two devices: a grant, not delivery."""

    source: int
    target: int
    granted: bool


_ACCESS = re.compile(r"Device=(\d+) (CAN|CANNOT) Access Peer Device=(\d+)")
_ARROW = re.compile(r"Peer access from .*\(GPU(\d+)\) -> .*\(GPU(\d+)\) *: (Yes|No)")


def parse_peer_access(text: str | Iterable[str]) -> tuple[PeerAccess, ...]:
    """The grants that p2pBandwidthLatencyTest and simpleP2P print."""
    found = []
    for line in bare_lines(text):
        if match := _ACCESS.search(line):
            source, can, target = match.groups()
            found.append(PeerAccess(int(source), int(target), can == "CAN"))
        elif match := _ARROW.search(line):
            one, other, yes = match.groups()
            found.append(PeerAccess(int(one), int(other), yes == "Yes"))
    return tuple(found)


@dataclass(frozen=True)
class CopyCheck(Record):
    """simpleP2P: bytes moved and compared. Speed alone cannot see wrong data."""

    passed: Reading[bool]
    gb_s: Reading[float]
    errors: tuple[str, ...]


def parse_simple_p2p(text: str | Iterable[str]) -> CopyCheck:
    """simpleP2P of the CUDA samples."""
    lines = bare_lines(text)
    errors = tuple(line.strip() for line in lines if "Verification error" in line)
    speed = re.search(r"between GPU\d+ and GPU\d+: (\d+(?:\.\d+)?) ?GB/s", "\n".join(lines))
    passed: Reading[bool] = Unknown("the test did not finish")
    if errors or any("Test failed" in line for line in lines):
        passed = False
    elif any("Test passed" in line for line in lines):
        passed = True
    elif any("waiv" in line.lower() for line in lines):
        passed = Unknown("the test was waived: no pair with peer access")
    return CopyCheck(passed, float(speed.group(1)) if speed else Unknown("no speed"), errors)


@dataclass(frozen=True)
class BandwidthTest(Record):
    """One test of nvbandwidth."""

    name: str
    sum_gb_s: Reading[float]
    matrix: Matrix | None
    status: str
    """`passed`, `waived` or `failed` (nvbandwidth verifies the data it moves)."""


def parse_nvbandwidth(text: str | Iterable[str]) -> tuple[BandwidthTest, ...]:
    """nvbandwidth's text output, each test that was started."""
    blocks: list[tuple[str, list[str]]] = []
    for line in bare_lines(text):
        match = re.match(r"^\s*Running (\w+)\.", line)
        if match:
            blocks.append((match.group(1), []))
        elif blocks:
            blocks[-1][1].append(line)
    last = len(blocks) - 1 if ends_open(text) else -1
    return tuple(
        _bandwidth_test(name, "\n".join(lines) + "\n" * (number != last))
        for number, (name, lines) in enumerate(blocks)
    )


def _bandwidth_test(name: str, flat: str) -> BandwidthTest:
    total = re.search(rf"SUM {name}(?:_total)? (\d+\.\d\d)(?!\d)", flat)
    matrices = parse_matrices(flat)
    # a test of both directions prints each, then their sum (nvbandwidth, testcases_ce.cpp)
    both = [matrix for matrix in matrices if " Total " in matrix.title]
    halves = any(re.search(r"(?:Read|Write)\d ", matrix.title) for matrix in matrices)
    wanted = both if halves else matrices
    status = "passed" if total else "unfinished"
    if not total and re.search(r"\bwaived\b", flat, re.IGNORECASE):
        status = "waived"  # 0.6 prints `Waived:` of the next test, which it never starts
    elif re.search(r"ERROR|error|mismatch", flat):
        status = "failed"
    return BandwidthTest(
        name,
        float(total.group(1)) if total else Unknown("the test printed no sum"),
        wanted[0] if wanted else None,
        status,
    )
