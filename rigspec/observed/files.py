"""Files on the host: kind, mode, owner and content hash of each path asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import body, section, trouble

_STAT = re.compile(r"^stat ([0-7]+) (\S+) (\S+) (\d+) ([^/]*) (/.*)$")
_HASH = re.compile(r"^\\?([0-9a-f]{64})  (/.*)$")
_LINK = re.compile(r"^link (/.*?) -> (.*)$")
_ABSENT = re.compile(r"^absent (/.*)$")


@dataclass(frozen=True)
class FileState(Record):
    """One path; absent is a state, unreadable is unknown."""

    path: str
    exists: Reading[bool]
    kind: Reading[str] | None = None
    """`regular file`, `directory`, `symbolic link` …, as stat names it; None: absent."""
    mode: Reading[int] | None = None
    """Permission bits as a number (0o644)."""
    owner: Reading[str] | None = None
    group: Reading[str] | None = None
    size_bytes: Reading[int] | None = None
    sha256: Reading[str] | None = None
    """None for what has no content of its own (directories, links, absent paths)."""
    link_target: Reading[str] | None = None


def parse_files_probe(
    sections: Mapping[str, Sequence[str]], paths: Sequence[str]
) -> Reading[dict[str, FileState]]:
    """Every path asked for, from the section `files`."""
    lines = section(sections, "files")
    if isinstance(lines, Unknown) and paths:
        return lines
    whole = sections.get("files", ())
    said = body(whole)
    stats = {m.group(6): m for line in said if (m := _STAT.match(line))}
    hashes = {m.group(2): m.group(1) for line in said if (m := _HASH.match(line))}
    links = {m.group(1): m.group(2) for line in said if (m := _LINK.match(line))}
    absent = {m.group(1) for line in said if (m := _ABSENT.match(line))}
    why = _complaints(said)
    lost = trouble(whole) or Unknown("the path was not printed")
    found = {}
    for path in paths:
        if path in absent:
            found[path] = FileState(path, exists=False)
        elif path in stats:
            found[path] = _present(path, stats[path], hashes, links, why)
        else:
            found[path] = _unread(path, why.get(path, lost))
    return found


def _complaints(said: Sequence[str]) -> dict[str, Unknown]:
    """Paths that a tool could not read, with its words."""
    found = {}
    for line in said:
        match = re.search(r"(/[^:'’]+)['’]?: (Permission denied|Input/output error.*)$", line)
        if match:
            found[match.group(1)] = Unknown(match.group(2).lower(), line)
    return found


def _present(
    path: str,
    stat: re.Match[str],
    hashes: Mapping[str, str],
    links: Mapping[str, str],
    why: Mapping[str, Unknown],
) -> FileState:
    kind = stat.group(5)
    regular = kind.startswith("regular")
    unread = why.get(path, Unknown("no hash was printed"))
    return FileState(
        path,
        exists=True,
        kind=kind,
        mode=int(stat.group(1), 8),
        owner=stat.group(2),
        group=stat.group(3),
        size_bytes=int(stat.group(4)),
        sha256=hashes.get(path, unread) if regular else None,
        link_target=links.get(path) if kind == "symbolic link" else None,
    )


def _unread(path: str, reason: Unknown) -> FileState:
    return FileState(path, reason, reason, reason, reason, reason, reason, reason)
