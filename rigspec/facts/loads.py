"""What the runs of load have left on the host: read with everything else, made only on request."""

from __future__ import annotations

from rigspec.facts.base import Sections
from rigspec.facts.managed import lines_of
from rigspec.observed.fabric_run import parse_fabric
from rigspec.observed.load import LoadReading, parse_load
from rigspec.observed.pairs import FabricReading
from rigspec.observed.probes import Probe
from rigspec.observed.record import Reading, Unknown
from rigspec.observed.sections import section

FOLDER = "/var/lib/rigspec"
MAX_BYTES = 400_000
"""Sixteen cards with all their pairs take less; a longer file is not ours."""


def _text(name: str, file: str) -> Probe:
    path = f"{FOLDER}/{file}"
    return Probe(name, f"[ ! -r {path} ] || head -c {MAX_BYTES} {path}")


LOADS = (
    _text("fabric-run", "fabric.jsonl"),
    _text("nvbandwidth", "nvbandwidth.txt"),
    _text("burn-run", "burn.jsonl"),
)


def _kept(sections: Sections, name: str) -> list[str] | Unknown:
    """A file's lines; none where it was not asked for, unknown where reading it failed."""
    return section(sections, name) if name in sections else []


def parse_fabric_probe(sections: Sections, *, simulated: bool) -> Reading[FabricReading]:
    """The last measurement of the links; unknown, not "never", where it could not be read."""
    lines = _kept(sections, "fabric-run")
    if isinstance(lines, Unknown):
        return lines
    return parse_fabric(lines, lines_of(sections, "nvbandwidth"), simulated=simulated)


def parse_load_probe(sections: Sections, name: str) -> Reading[LoadReading]:
    """The cards during the last run of one kind; unknown, not "never", where it is unreadable."""
    lines = _kept(sections, name)
    return lines if isinstance(lines, Unknown) else parse_load(lines)
