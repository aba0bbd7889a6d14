"""The state a deploy compares with its plan: files by hash, packages by version, units as they run.

Each part is a probe (shell text) and a parser; stages put the parts they need into one fact.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from rigspec.facts.base import Sections
from rigspec.frozen import dataclass
from rigspec.observed.probes import Probe
from rigspec.observed.record import Record
from rigspec.observed.sections import body


def lines_of(sections: Sections, name: str) -> list[str]:
    """The lines of one section without our marks; none if it was not printed."""
    return body(sections.get(name, ()))


def words(items: Iterable[str]) -> str:
    """Items as shell words."""
    return shlex.join(list(items))


@dataclass(frozen=True)
class FileState(Record):
    """One path on the host; `sha256` None is no regular file (a directory)."""

    mode: str
    owner: str
    modified: int
    """Seconds since 1970."""
    sha256: str | None = None


def files_probe(paths: Iterable[str]) -> Probe:
    """Mode, owner, time and hash of each path that exists: two processes for all of them."""
    listed = words(sorted(set(paths)))
    if not listed:
        return Probe("files", "true")
    return Probe(
        "files",
        f"stat -c 'at %a %U:%G %Y %n' -- {listed} 2>/dev/null\n"
        f"sha256sum -- {listed} 2>/dev/null | sed 's/^/is /'\ntrue",
    )


def parse_files(sections: Sections) -> dict[str, FileState]:
    """States by path; a path that is absent has none."""
    found: dict[str, FileState] = {}
    for line in lines_of(sections, "files"):
        parts = line.split(maxsplit=4)
        if len(parts) == 5 and parts[0] == "at" and parts[3].isdigit():
            found[parts[4]] = FileState(parts[1], parts[2], int(parts[3]))
    for line in lines_of(sections, "files"):
        tag, _, rest = line.partition(" ")
        digest, _, path = rest.partition("  ")
        if tag == "is" and path in found and len(digest) == 64:
            at = found[path]
            found[path] = FileState(at.mode, at.owner, at.modified, digest)
    return found


@dataclass(frozen=True)
class PackageState(Record):
    """One package dpkg knows: `installed` only when unpacked *and* configured."""

    version: str
    installed: bool
    held: bool


@dataclass(frozen=True)
class AptState(Record):
    """What apt and dpkg say about the packages asked for."""

    packages: Mapping[str, PackageState]
    broken: bool
    """dpkg was interrupted, or a package of ours is half installed."""
    fingerprints: Mapping[str, tuple[str, ...]]
    """Key fingerprints by keyring file."""
    lists_stale: tuple[str, ...]
    """Source files that are newer than our last `apt-get update`."""


UPDATED_STAMP = "/var/lib/rigspec/apt-updated"
"""Touched after each successful `apt-get update`: younger than a source file = its lists are in."""


def apt_probe(
    packages: Iterable[str], keyrings: Iterable[str] = (), sources: Iterable[str] = ()
) -> Probe:
    """Versions, holds, an interrupted dpkg, keyring fingerprints, source files not yet read."""
    text = [
        "dpkg-query -W -f 'p ${db:Status-Abbrev}|${Package}|${Version}\\n' -- "
        f"{words(sorted(set(packages)))} 2>/dev/null",
        'for f in /var/lib/dpkg/updates/[0-9]*; do [ ! -e "$f" ] || echo broken; done',
    ]
    for ring in sorted(set(keyrings)):
        name = words([ring])
        text.append(
            f"[ ! -s {name} ] || gpg --show-keys --with-colons {name} 2>/dev/null | "
            f'awk -F: -v r={name} \'$1 == "pub" {{p=1}} $1 == "fpr" && p '
            '{print "key", r, $10; p=0}\''
        )
    for source in sorted(set(sources)):
        name = words([source])
        text.append(f"[ ! {name} -nt {UPDATED_STAMP} ] || echo stale {name}")
    return Probe("apt", "\n".join([*text, "true"]))


def parse_apt(sections: Sections) -> AptState:
    """The record; packages dpkg never heard of are missing in it."""
    packages: dict[str, PackageState] = {}
    rings: dict[str, list[str]] = {}
    broken, stale = False, []
    for line in lines_of(sections, "apt"):
        kind, _, rest = line.partition(" ")
        if kind == "p" and rest.count("|") == 2:
            abbreviation, name, version = rest.split("|")
            wanted, status = abbreviation[:1], abbreviation[1:2]
            half = abbreviation[2:3].strip() != "" or status in {"U", "F", "H", "W", "t"}
            broken = broken or half
            packages[name] = PackageState(version, status == "i" and not half, wanted == "h")
        elif kind == "key":
            ring, _, fingerprint = rest.rpartition(" ")
            rings.setdefault(ring, []).append(fingerprint)
        elif kind == "stale":
            stale.append(rest)
        elif kind == "broken":
            broken = True
    keys = {ring: tuple(fingerprints) for ring, fingerprints in rings.items()}
    return AptState(packages, broken, keys, tuple(stale))


@dataclass(frozen=True)
class UnitState(Record):
    """One systemd unit, as `systemctl show` prints it."""

    load: str
    active: str
    sub: str
    file_state: str
    needs_reload: bool
    result: str
    since: int
    """When it last changed state (a reload counts), seconds since 1970; 0 is never."""

    @property
    def is_active(self) -> bool:
        """Running, or a oneshot that has done its work."""
        return self.active == "active"

    @property
    def is_enabled(self) -> bool:
        """Started at boot."""
        return self.file_state in {"enabled", "enabled-runtime", "static", "generated"}


_PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Result"


def units_probe(units: Iterable[str], name: str = "units") -> Probe:
    """All units in one `systemctl show`."""
    listed = words(dict.fromkeys(units))
    if not listed:
        return Probe(name, "true")
    return Probe(
        name,
        f"systemctl show --timestamp=unix -p {_PROPERTIES},StateChangeTimestamp -- {listed}"
        f" 2>/dev/null || systemctl show -p {_PROPERTIES} -- {listed}",
    )


def parse_units(sections: Sections, name: str = "units") -> dict[str, UnitState]:
    """States by unit name."""
    found: dict[str, UnitState] = {}
    block: dict[str, str] = {}
    for line in [*lines_of(sections, name), ""]:
        if line.strip():
            key, _, value = line.partition("=")
            block[key] = value
        elif "Id" in block:
            found[block["Id"]] = _unit(block)
            block = {}
    return found


def _unit(block: Mapping[str, str]) -> UnitState:
    since = block.get("StateChangeTimestamp", "").removeprefix("@").partition(".")[0]
    return UnitState(
        load=block.get("LoadState", ""),
        active=block.get("ActiveState", ""),
        sub=block.get("SubState", ""),
        file_state=block.get("UnitFileState", ""),
        needs_reload=block.get("NeedDaemonReload") == "yes",
        result=block.get("Result", ""),
        since=int(since) if since.isdigit() else 0,
    )
