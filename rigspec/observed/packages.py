"""dpkg and apt: what is installed, held, and offered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import body, section, trouble

DPKG_FORMAT = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n"
"""For `dpkg-query -W -f`: one line per package, state as `ii `, `rc `, `hi `, `iF `."""


@dataclass(frozen=True)
class Package(Record):
    """One package that dpkg knows."""

    name: str
    architecture: str
    version: str
    state: str
    """dpkg's abbreviation: wanted action, status, error flag (`ii`, `hi`, `rc`, `iF`, `iiR`)."""

    @property
    def installed(self) -> bool:
        """Whether it is unpacked, configured and without error."""
        return self.state[1:2] == "i" and self.state[2:3] != "R"

    @property
    def broken(self) -> bool:
        """Half installed, half configured, waiting for triggers, or marked for reinstallation."""
        return self.state[1:2] in {"H", "F", "U", "W", "t"} or self.state[2:3] == "R"


@dataclass(frozen=True)
class Packages(Record):
    """Packages asked for, and the holds of the host."""

    packages: Mapping[str, Package]
    """By name; a package that dpkg does not know is not in it."""
    held: Reading[tuple[str, ...]]
    audit: Reading[tuple[str, ...]]
    """What `dpkg --audit` says: empty is consistent."""

    def version(self, name: str) -> str | None:
        """Version of an installed package, None if it is not installed."""
        package = self.packages.get(name)
        return package.version if package and package.installed else None


def parse_dpkg(text: str | Iterable[str]) -> dict[str, Package]:
    """Lines of `DPKG_FORMAT`; "no packages found matching" lines are not packages."""
    found = {}
    for line in bare_lines(text):
        fields = line.rstrip("\n").split("\t")
        if len(fields) == 4 and fields[2]:
            found[fields[0]] = Package(fields[0], fields[1], fields[2], fields[3].strip())
    return found


def parse_packages_probe(sections: Mapping[str, Sequence[str]]) -> Reading[Packages]:
    """The sections `packages`, `holds` and `dpkg-audit`."""
    lines = section(sections, "packages")
    if isinstance(lines, Unknown):
        # dpkg-query ends with 1 when no name matched: an answer, unless dpkg itself is absent
        problem = trouble(sections.get("packages", ()))
        if problem is None or "status 1" not in problem.reason:
            return lines
        lines = []
    return Packages(parse_dpkg(lines), _words(sections, "holds"), _lines(sections, "dpkg-audit"))


def _words(sections: Mapping[str, Sequence[str]], name: str) -> Reading[tuple[str, ...]]:
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return lines
    return tuple(line.strip() for line in lines if re.fullmatch(r"[a-z0-9][\w.+:-]+", line.strip()))


def _lines(sections: Mapping[str, Sequence[str]], name: str) -> Reading[tuple[str, ...]]:
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return lines
    return tuple(line for line in lines if line.strip())


@dataclass(frozen=True)
class Offer(Record):
    """A package as `apt-cache policy` sees it."""

    name: str
    installed: str | None
    candidate: str | None
    """None: no source offers it."""
    versions: tuple[tuple[str, tuple[str, ...]], ...]
    """Each version with the sources that offer it (`500 https://… trixie/main amd64 Packages`)."""


_NAME = re.compile(r"^([a-z0-9][a-z0-9.+-]*(?::\w+)?):$")
_TABLE = re.compile(r"^ (?:\*\*\*|   ) (\S+) +-?\d+")
_SOURCE = re.compile(r"^ {8,}(-?\d+ \S.*)$")


def parse_apt_policy(text: str | Iterable[str]) -> dict[str, Offer]:
    """`apt-cache policy NAME…` by name; a name apt does not know is not in it."""
    found: dict[str, Offer] = {}
    for block in _blocks(body(bare_lines(text))):
        name = block[0][:-1]
        pairs = (line.strip().partition(": ") for line in block[1:])
        heads = {key: value for key, _, value in pairs}
        versions: list[tuple[str, tuple[str, ...]]] = []
        for line in block[1:]:
            version, source = _TABLE.match(line), _SOURCE.match(line)
            if version:
                versions.append((version.group(1), ()))
            elif source and versions:
                number, sources = versions[-1]
                versions[-1] = (number, (*sources, source.group(1)))
        found[name] = Offer(
            name,
            _some(heads.get("Installed")),
            _some(heads.get("Candidate")),
            tuple(versions),
        )
    return found


def _some(version: str | None) -> str | None:
    return None if version in {None, "(none)"} else version


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    blocks: list[list[str]] = []
    for line in lines:
        if _NAME.match(line):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return blocks
