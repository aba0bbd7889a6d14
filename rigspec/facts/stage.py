"""Fact: what most stages compare, in one round trip: files, packages, units."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import (
    AptState,
    FileState,
    UnitState,
    apt_probe,
    files_probe,
    lines_of,
    parse_apt,
    parse_files,
    parse_units,
    units_probe,
    words,
)
from rigspec.frozen import dataclass
from rigspec.observed.pci import PciTree
from rigspec.observed.pci_probe import parse_pci_probe
from rigspec.observed.probes import PCI_PROBES, Probe
from rigspec.observed.record import Record, Unknown


@dataclass(frozen=True)
class StageState(Record):
    """Files, packages and units of one stage; `texts` holds whole files that were asked for."""

    files: Mapping[str, FileState]
    apt: AptState
    units: Mapping[str, UnitState]
    texts: Mapping[str, str]
    tree: PciTree | Unknown


def texts_probe(paths: tuple[str, ...]) -> Probe:
    """Whole (small, not secret) files, each line behind its path."""
    if not paths:
        return Probe("texts", "true")
    return Probe("texts", f"grep -H '' -- {words(paths)} 2>/dev/null; true")


def parse_texts(sections: Sections) -> dict[str, str]:
    """Content by path; an absent or empty file is missing."""
    found: dict[str, str] = {}
    for line in lines_of(sections, "texts"):
        path, _, text = line.partition(":")
        found[path] = found.get(path, "") + text + "\n"
    return found


class Stage(RigFact[StageState]):
    """The state of one stage."""

    @override
    def command(
        self,
        paths: tuple[str, ...] = (),
        units: tuple[str, ...] = (),
        packages: tuple[str, ...] = (),
        keyrings: tuple[str, ...] = (),
        sources: tuple[str, ...] = (),
        texts: tuple[str, ...] = (),
        pci: bool = False,
    ) -> StringCommand:
        probes = [files_probe(paths), units_probe(units), texts_probe(texts)]
        if pci:
            probes.extend(PCI_PROBES)
        if packages:
            probes.append(apt_probe(packages, keyrings, sources))
        return one_script(probes)

    @override
    def parse(self, sections: Sections) -> StageState:
        return StageState(
            files=parse_files(sections),
            apt=parse_apt(sections),
            units=parse_units(sections),
            texts=parse_texts(sections),
            tree=parse_pci_probe(sections),
        )
