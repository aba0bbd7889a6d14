"""What the runs of load have left on the host: read with everything else, made only on request."""

from __future__ import annotations

from rigspec.facts.base import Sections
from rigspec.facts.managed import lines_of
from rigspec.observed.fabric_run import parse_fabric
from rigspec.observed.load import LoadReading, parse_load
from rigspec.observed.pairs import FabricReading
from rigspec.observed.probes import Probe
from rigspec.observed.record import Reading

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


def parse_fabric_probe(sections: Sections, *, simulated: bool) -> Reading[FabricReading]:
    """The last measurement of the links."""
    return parse_fabric(
        lines_of(sections, "fabric-run"), lines_of(sections, "nvbandwidth"), simulated=simulated
    )


def parse_load_probe(sections: Sections, name: str) -> Reading[LoadReading]:
    """The cards during the last run of one kind."""
    return parse_load(lines_of(sections, name))
