"""Fact: the cards as nvidia-smi sees them, and what they were bound to earlier."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import (
    FileState,
    UnitState,
    files_probe,
    parse_files,
    parse_units,
    units_probe,
)
from rigspec.facts.stage import parse_texts, texts_probe
from rigspec.frozen import dataclass
from rigspec.observed.nvidia_smi import QUERY_FIELDS, GpuReading, parse_smi_probe
from rigspec.observed.pci import PciTree
from rigspec.observed.pci_probe import parse_pci_probe
from rigspec.observed.probes import PCI, smi_query
from rigspec.observed.record import Record, Unknown

BINDING = "/etc/rigspec/gpus.tsv"
BINDING_ENV = "/etc/rigspec/gpus.env"


@dataclass(frozen=True)
class GpuState(Record):
    """Cards, the earlier binding, and the files and units that use it."""

    cards: tuple[GpuReading, ...] | Unknown
    tree: PciTree | Unknown
    binding: str
    """Content of gpus.tsv; empty before the first apply."""
    files: Mapping[str, FileState]
    units: Mapping[str, UnitState]


class GpuStage(RigFact[GpuState]):
    """Cards, binding, files and units of the power stage in one round trip."""

    @override
    def command(self, paths: tuple[str, ...] = (), units: tuple[str, ...] = ()) -> StringCommand:
        return one_script(
            [
                smi_query("smi", QUERY_FIELDS),
                PCI,
                texts_probe((BINDING,)),
                files_probe((*paths, BINDING, BINDING_ENV)),
                units_probe(units),
            ]
        )

    @override
    def parse(self, sections: Sections) -> GpuState:
        return GpuState(
            cards=parse_smi_probe(sections),
            tree=parse_pci_probe(sections),
            binding=parse_texts(sections).get(BINDING, ""),
            files=parse_files(sections),
            units=parse_units(sections),
        )
