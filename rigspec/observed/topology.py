"""`nvidia-smi topo -m` and `topo -p2p`: how GPUs reach each other, in the driver's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.nvidia_smi import smi_failure
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import cpu_list, ends_open

_NODE = re.compile(r"^(?:GPU|NIC)\d+$|^mlx\d+_\w+$")
_GLUED = re.compile(r"(?<=\d)(?=NIC\d|GPU\d|CPU\b|NUMA\b)")
"""From ten NICs on, names of eight columns leave no blank: `NIC11NIC12`, `NIC11CPU Affinity`."""
_JOINED = re.compile(r"(?<=\d)(?=N/A\b)")
"""`0N/A`: a node and the empty cell behind it."""
_BEYOND = frozenset({"CPU", "NUMA", "GPU"})
"""First words of the columns behind the last device: `CPU Affinity`, `GPU NUMA ID`."""
_WORD = re.compile(r"^(?:X|NV\d+|PIX|PXB|PHB|NODE|SYS|C2C|SOC|PXN)$")
_STATUS = re.compile(r"^(?:X|OK|CNS|GNS|TNS|NS|DR|U)$")
_CPUS = re.compile(r"^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$")


@dataclass(frozen=True)
class TopologyRow(Record):
    """One GPU's row: the words to every column, and where it is close to."""

    name: str
    words: tuple[str, ...]
    cpus: Reading[tuple[int, ...]]
    numa_node: Reading[int]


@dataclass(frozen=True)
class TopologyMatrix(Record):
    """A square of words; columns beyond the GPUs are NICs."""

    columns: tuple[str, ...]
    rows: tuple[TopologyRow, ...]

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of the GPU columns."""
        return tuple(name for name in self.columns if name.startswith("GPU"))

    def between(self, a: int, b: int) -> Reading[str]:
        """The word for GPU `a` to GPU `b`: `PIX`, `NV18`, …; for -p2p `OK`, `CNS`, …."""
        row = next((row for row in self.rows if row.name == f"GPU{a}"), None)
        column = f"GPU{b}"
        if row is None or column not in self.columns:
            return Unknown(f"GPU{a} to GPU{b} is not in the matrix")
        place = self.columns.index(column)
        if place >= len(row.words):
            return Unknown(f"GPU{a} to GPU{b} was cut off", " ".join(row.words))
        return row.words[place]


def parse_topo_matrix(text: str | Iterable[str]) -> Reading[TopologyMatrix]:
    """`topo -m`: tabs, aligned blanks or a markdown table, NIC columns and `N/A` cells."""
    return _parse(text, _WORD)


def parse_topology_probe(sections: Mapping[str, Sequence[str]]) -> Reading[TopologyMatrix]:
    """The section `topology`: `topo -m` on the host itself."""
    lines = section(sections, "topology")
    return lines if isinstance(lines, Unknown) else parse_topo_matrix(lines)


def parse_topo_p2p(text: str | Iterable[str]) -> Reading[TopologyMatrix]:
    """`topo -p2p r|w|n|a|p`: OK is a grant, not delivery."""
    return _parse(text, _STATUS)


def _parse(text: str | Iterable[str], word: re.Pattern[str]) -> Reading[TopologyMatrix]:
    lines = bare_lines(text)
    columns: tuple[str, ...] = ()
    head = ""
    rows: list[TopologyRow] = []
    last = len(lines) - 1 if ends_open(text) else -1
    for number, line in enumerate(lines):
        tokens = _tokens(line)
        if not tokens or not _NODE.match(_tokens(_GLUED.sub(" ", line))[0]):
            continue
        if len(tokens) > 1 and columns and word.match(tokens[1]):
            more = "NUMA Affinity" in head or number == last
            joined = "GPU NUMA ID" in head
            rows.append(_row(line, len(columns), word, follows=more, may_join=joined))
        elif columns and any(len(set(row.words)) > 1 for row in rows):
            break  # a second matrix: `topo -p2p` was asked about something else
        elif len(tokens) > 1 and not word.match(tokens[1]):
            columns, head, rows = _heads(line), line, []
    if not columns or not rows:
        return smi_failure(lines) or Unknown("no matrix in the text")
    return TopologyMatrix(columns, tuple(rows))


def _tokens(line: str) -> list[str]:
    return [token for token in re.split(r"[\s|]+", line) if token]


def _heads(line: str) -> tuple[str, ...]:
    """Names of the devices, whatever NICs are called (`mlx5_bond_0`, `bnxt_re0`)."""
    names = takewhile(lambda token: token not in _BEYOND, _tokens(_GLUED.sub(" ", line)))
    return tuple(names)


def _row(
    line: str, width: int, word: re.Pattern[str], *, follows: bool, may_join: bool
) -> TopologyRow:
    """One row; `follows`: behind the CPUs something must stand, else they may be cut.

    `may_join`: three cells stand there; pasted without tabs, two of them may have become one.
    """
    tokens = _tokens(_JOINED.sub(" ", line))
    words = list(takewhile(word.match, tokens[1 : width + 1]))
    rest = _behind(line, tokens, len(words))
    if follows and not rest and re.match(r"NV\d", tokens[-1]):
        words = words[:-1]  # no CPUs behind it: `NV1` may be half of `NV18`
    cpus: Reading[tuple[int, ...]] = Unknown("no CPU affinity in the row")
    node: Reading[int] = Unknown("no NUMA affinity in the row")
    if len(words) < width:  # cut, and the last word (`NV1` of `NV18`) with it
        whole = words if rest or len(words) < len(tokens) - 1 else words[:-1]
        return TopologyRow(tokens[0], tuple(whole), cpus, node)
    if rest[:1] == ["NUMA"]:  # a published variant: `NUMA 0` instead of affinities
        rest = ["", *rest[1:]]
    if rest and _CPUS.match(rest[0]):
        is_joined = may_join and "\t" not in line and len(rest) == 2  # `168-2231`: 223, node 1
        ended = (len(rest) > 1 or not follows) and not is_joined
        cpus = cpu_list(rest[0]) if ended else Unknown("the row was cut or joined", rest[0])
    if len(rest) > 1 and rest[1]:
        node = int(rest[1]) if rest[1].isdecimal() else Unknown("no NUMA node", rest[1])
    return TopologyRow(tokens[0], tuple(words), cpus, node)


def _behind(line: str, tokens: list[str], width: int) -> list[str]:
    """The cells behind the words: by tabs where there are any, for an affinity may be empty."""
    cells = [cell.strip() for cell in line.split("\t")[1 + width :]]
    if line.count("\t") <= width or not any(cells):
        return tokens[1 + width :]
    return cells
