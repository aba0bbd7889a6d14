"""Who can reach a server: what listens where, and what each route says without the key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from rigspec.frozen import dataclass
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section, trouble

_ROW = re.compile(r"^\s*\d+:\s+([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}):([0-9A-Fa-f]{4})\s+\S+\s+0A\s")
_ROUTE = re.compile(r"^(route|listed) (\d{3}) (\S+) (/\S*)$")
REFUSED = frozenset({401, 403})
"""Statuses that say "not without a key"."""
ABSENT = frozenset({404, 410, 501})
"""Statuses of a route that this server does not have, or has switched off."""


@dataclass(frozen=True)
class Listener(Record):
    """One listening TCP socket."""

    address: str
    port: int


def parse_listeners(sections: Mapping[str, Sequence[str]]) -> Reading[tuple[Listener, ...]]:
    """The section `listeners`: rows of /proc/net/tcp and tcp6 in state LISTEN."""
    lines = section(sections, "listeners")
    if isinstance(lines, Unknown):
        return lines
    rows = [match for line in lines if (match := _ROW.match(line))]
    if not rows:
        return Unknown("no listening socket was printed", next(iter(lines), ""))
    found = {Listener(_address(row.group(1)), int(row.group(2), 16)) for row in rows}
    return tuple(sorted(found, key=lambda one: (one.port, one.address)))


def _address(digits: str) -> str:
    """/proc prints each 32-bit word in the byte order of the CPU: little-endian on x86_64."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    raw = b"".join(words)
    if len(raw) == 4:
        return str(IPv4Address(raw))
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def same_address(one: str, other: str) -> bool:
    """Whether two spellings name one address."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return one == other


@dataclass(frozen=True)
class RouteAnswer(Record):
    """What one route answered to a request without the key."""

    path: str
    methods: str
    """The method asked with; for a route out of the engine's own list, the methods it takes."""
    status: int
    """HTTP status; 0: no answer."""
    listed: bool = False
    """Found in the engine's own /openapi.json."""

    @property
    def reachable(self) -> bool:
        """Whether the route can be used by whoever has no key."""
        return self.status not in REFUSED | ABSENT and self.status > 0


def parse_routes(
    sections: Mapping[str, Sequence[str]], name: str
) -> Reading[tuple[RouteAnswer, ...]] | None:
    """The section of one service; None: it was not tried, for no key is planned."""
    if name not in sections:
        return None
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return lines
    found = {}
    for match in filter(None, map(_ROUTE.match, lines)):
        kind, status, methods, path = match.groups()
        found[methods, path] = RouteAnswer(path, methods, int(status), kind == "listed")
    answered = [route for route in found.values() if route.status]
    problem = trouble(sections[name])
    if problem is not None and (not answered or "in time" in problem.reason):
        return problem
    if not answered:
        return Unknown("no route answered", next((line for line in lines if line.strip()), ""))
    return tuple(found.values())


def listening_on(listeners: Iterable[Listener], port: int) -> tuple[str, ...]:
    """Addresses on which a port is open."""
    return tuple(one.address for one in listeners if one.port == port)


def parse_slot_context(value: object) -> Reading[int]:
    """`n_ctx` of llama.cpp's `/props`: tokens of one slot."""
    settings = value.get("default_generation_settings") if isinstance(value, dict) else None
    found = settings.get("n_ctx") if isinstance(settings, dict) else None
    if isinstance(found, int):
        return found
    return Unknown("/props names no n_ctx", str(value)[:120])


@dataclass(frozen=True)
class ContainerImage(Record):
    """The image a container was started from, and the one its planned reference stands for."""

    running: Reading[str]
    planned: Reading[str]


def parse_container_image(sections: Mapping[str, Sequence[str]], name: str) -> ContainerImage:
    """Lines `running ID` and `planned ID`; Podman prints ids without `sha256:`."""
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return ContainerImage(lines, lines)
    said = next((line for line in lines if line.strip()), "")

    def identity(which: str) -> Reading[str]:
        word = next((line.split()[1] for line in lines if line.startswith(f"{which} ")), "")
        digits = word.removeprefix("sha256:")
        return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else Unknown("no image id", said)

    return ContainerImage(identity("running"), identity("planned"))
