"""Fact: what the service stage compares, and what a starting server says."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import (
    FileState,
    UnitState,
    files_probe,
    lines_of,
    parse_files,
    parse_units,
    units_probe,
    words,
)
from rigspec.frozen import dataclass
from rigspec.observed.probes import Probe
from rigspec.observed.record import Record

OWN_PATHS = (
    "/etc/systemd/system/rigspec-*.service",
    "/etc/systemd/system/rigspec-*.timer",
    "/etc/rigspec/daily.tsv",
    "/var/lib/rigspec/metrics/*.prom",
    "/usr/local/lib/rigspec/*",
    "/etc/rigspec/services/*",
)
"""Where our files lie; ours are the ones that say so in their header."""
OWN_HEADER = "^# Written by rigspec "
SECRETS = "/etc/rigspec/secrets"
"""A folder of ours alone: secrets carry no header."""


@dataclass(frozen=True)
class ServiceQuestion:
    """What the fact asks about one service."""

    unit: str
    record: str
    """File with the hashes its process was started from."""
    url: str
    """Asked for its HTTP status while the unit runs; empty: not asked."""


@dataclass(frozen=True)
class ServiceState(Record):
    """Files, units, images, and each service's own record of its start."""

    files: Mapping[str, FileState]
    units: Mapping[str, UnitState]
    started: Mapping[str, Mapping[str, str]]
    """By unit: path → hash of what the running process read."""
    answers: Mapping[str, int]
    """By unit: HTTP status of /v1/models; 0 is no answer."""
    images: frozenset[str]
    """References that are in the local store."""
    own: tuple[str, ...]
    """Files in folders that are ours alone."""


def services_probe(questions: tuple[ServiceQuestion, ...]) -> Probe:
    """Start records and HTTP status of each service."""
    text = []
    for q in questions:
        text.append(f"[ ! -r {words([q.record])} ] || sed 's/^/started {q.unit} /' {q.record}")
        if q.url:
            text.append(
                f'systemctl -q is-active {q.unit} && echo "answer {q.unit} '
                f"$(curl -s -o /dev/null -m 5 -w '%{{http_code}}' {words([q.url])})\""
            )
    return Probe("services", "\n".join([*text, "true"]))


def images_probe(engine: str, references: tuple[str, ...]) -> Probe:
    """Which references are in the local store: one process for all, by what it prints."""
    if not references:
        return Probe("images", "true")
    form = "{{range .RepoTags}}image {{.}} {{end}}{{range .RepoDigests}}image {{.}} {{end}}"
    return Probe(
        "images",
        f"command -v {engine} >/dev/null || exit 0\n"
        f"{engine} image inspect --format '{form}' {words(references)} 2>/dev/null\ntrue",
    )


def bare_reference(reference: str) -> str:
    """`name:tag@sha256:…` as the store lists it, `name@sha256:…`; Docker Hub's prefix dropped."""
    name, at, digest = reference.partition("@")
    if at:
        head, slash, last = name.rpartition("/")
        name = head + slash + last.partition(":")[0]
    elif ":" not in name.rpartition("/")[2]:
        name += ":latest"
    for prefix in ("docker.io/library/", "docker.io/"):
        name = name.removeprefix(prefix)
    return name + at + digest


def parse_images(sections: Sections, references: tuple[str, ...] = ()) -> frozenset[str]:
    """The references that were found, in bare form."""
    found = set()
    for line in lines_of(sections, "images"):
        found |= {bare_reference(word) for word in line.split() if word != "image"}
    return frozenset(found)


class ServiceStage(RigFact[ServiceState]):
    """The service stage in one round trip."""

    @override
    def command(
        self,
        paths: tuple[str, ...] = (),
        units: tuple[str, ...] = (),
        questions: tuple[ServiceQuestion, ...] = (),
        engine: str = "docker",
        images: tuple[str, ...] = (),
    ) -> StringCommand:
        own = Probe(
            "own",
            f"grep -ls '{OWN_HEADER}' {' '.join(OWN_PATHS)}\n"
            f'for f in {SECRETS}/*; do [ ! -f "$f" ] || echo "$f"; done\ntrue',
        )
        return one_script(
            [
                files_probe(paths),
                units_probe(units),
                services_probe(questions),
                images_probe(engine, images),
                own,
            ]
        )

    @override
    def parse(self, sections: Sections) -> ServiceState:
        started: dict[str, dict[str, str]] = {}
        answers: dict[str, int] = {}
        for line in lines_of(sections, "services"):
            parts = line.split()
            if len(parts) == 4 and parts[0] == "started":
                started.setdefault(parts[1], {})["/" + parts[3].lstrip("/")] = parts[2]
            elif len(parts) == 3 and parts[0] == "answer" and parts[2].isdigit():
                answers[parts[1]] = int(parts[2])
        return ServiceState(
            files=parse_files(sections),
            units=parse_units(sections),
            started=started,
            answers=answers,
            images=parse_images(sections),
            own=tuple(lines_of(sections, "own")),
        )
