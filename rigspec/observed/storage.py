"""Mounts, space and block devices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import ends_open


@dataclass(frozen=True)
class Mount(Record):
    """One mount of `findmnt -P -b -o TARGET,SOURCE,FSTYPE,OPTIONS,SIZE,AVAIL`."""

    target: str
    source: str
    fstype: str
    options: tuple[str, ...]
    size_bytes: Reading[int]
    available_bytes: Reading[int]


@dataclass(frozen=True)
class BlockDevice(Record):
    """One line of `lsblk -P -b -o NAME,PATH,TYPE,SIZE,FSTYPE,LABEL,UUID,MODEL,MOUNTPOINT`."""

    name: str
    path: str
    type: str
    size_bytes: Reading[int]
    fstype: str
    label: str
    uuid: str
    model: str
    mountpoint: str


@dataclass(frozen=True)
class Space(Record):
    """One file system of `df -P -k`."""

    source: str
    target: str
    size_bytes: Reading[int]
    available_bytes: Reading[int]


@dataclass(frozen=True)
class Storage(Record):
    """What the host has mounted, and on what."""

    mounts: Reading[tuple[Mount, ...]]
    devices: Reading[tuple[BlockDevice, ...]]
    space: Reading[tuple[Space, ...]]

    def mount_of(self, path: str) -> Reading[Mount] | None:
        """The mount that a path lies on: the longest target above it."""
        if isinstance(self.mounts, Unknown):
            return self.mounts
        above = [
            m
            for m in self.mounts
            if path == m.target or path.startswith(m.target.rstrip("/") + "/")
        ]
        return max(above, key=lambda mount: len(mount.target), default=None)


_PAIR = re.compile(r'([\w:%-]+)="((?:[^"\\]|\\.)*)"')


def _rows(text: str | Iterable[str]) -> list[dict[str, str]]:
    """The pairs of every line; a last one that was cut is left out: what follows is not none."""
    lines = bare_lines(text)
    rows = [row for line in lines if (row := parse_pairs(line))]
    is_half = bool(rows) and (lines[-1].rstrip()[-1:] != '"' or len(rows[-1]) < len(rows[0]))
    return rows[:-1] if ends_open(text) and is_half else rows


def parse_pairs(line: str) -> dict[str, str]:
    """`KEY="value" …` as findmnt -P, lsblk -P and blkid print it; a value that is cut is none."""
    return {key: re.sub(r'\\(["\\])', r"\1", value) for key, value in _PAIR.findall(line)}


def _bytes(value: str | None, unit: int = 1) -> Reading[int]:
    text = (value or "").strip()
    return int(text) * unit if text.isdecimal() else Unknown("no size", text)


def parse_findmnt(text: str | Iterable[str]) -> tuple[Mount, ...]:
    """Mounts in the order printed."""
    rows = _rows(text)
    return tuple(
        Mount(
            _unescape(row["TARGET"]),
            row.get("SOURCE", ""),
            row.get("FSTYPE", ""),
            tuple(row.get("OPTIONS", "").split(",")),
            _bytes(row.get("SIZE")),
            _bytes(row.get("AVAIL")),
        )
        for row in rows
        if "TARGET" in row
    )


def _unescape(path: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), path)


def parse_lsblk(text: str | Iterable[str]) -> tuple[BlockDevice, ...]:
    """Block devices in the order printed."""
    rows = _rows(text)
    keys = ("FSTYPE", "LABEL", "UUID", "MODEL", "MOUNTPOINT")
    return tuple(
        BlockDevice(
            row["NAME"],
            row.get("PATH", ""),
            row.get("TYPE", ""),
            _bytes(row.get("SIZE")),
            *(row.get(key, "") for key in keys),
        )
        for row in rows
        if "NAME" in row
    )


def parse_blkid(text: str | Iterable[str]) -> dict[str, dict[str, str]]:
    """`blkid`: tags by device path (`UUID`, `TYPE`, `LABEL`, `PARTUUID`)."""
    found = {}
    for line in bare_lines(text):
        path, colon, rest = line.partition(": ")
        if colon and path.startswith("/dev/"):
            found[path] = parse_pairs(rest)
    return found


_BLOCKS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BLOCKS |= {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
"""What GNU df calls its blocks: `1K-blocks`, `1024-blocks`, `2MB-blocks` (df(1), --block-size)."""


def parse_df(text: str | Iterable[str]) -> tuple[Space, ...]:
    """`df -P -k`, or with the blocks and the type that its head names; targets may hold blanks."""
    found: list[Space] = []
    block: int | None = 1024
    typed = ""
    for line in bare_lines(text):
        if head := re.match(r"^Filesystem +(Type )? *(?:(\d+)([KMG]?B?)-blocks|\w+) ", line):
            typed, blocks, unit = head.groups(default="")
            block = int(blocks) * _BLOCKS[unit] if blocks else None  # `df -i`, `df -h`
        match = re.match(r"^(\S.*?) +(\d+|-) +(\d+|-) +(\d+|-) +(?:\d+%|-) +(/.*)$", line)
        if match and block:
            source, size, _, free, target = match.groups()
            source = source.rpartition(" ")[0].rstrip() if typed else source
            found.append(Space(source, target, _bytes(size, block), _bytes(free, block)))
    return tuple(found)


def parse_storage_probe(sections: Mapping[str, Sequence[str]]) -> Storage:
    """The sections `findmnt`, `lsblk` and `df`."""
    mounts, devices, space = (section(sections, name) for name in ("findmnt", "lsblk", "df"))
    return Storage(
        mounts if isinstance(mounts, Unknown) else parse_findmnt(mounts),
        devices if isinstance(devices, Unknown) else parse_lsblk(devices),
        space if isinstance(space, Unknown) else parse_df(space),
    )
