"""Fact: the text of the probe that `discover` and `doctor` read, as the host printed it."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.discover.probe import probes
from rigspec.facts.base import RigFact, one_script


class ProbeText(RigFact[tuple[str, ...]]):
    """Every section as lines: the pure rooms take them apart, as they do with a saved capture."""

    @override
    def command(self) -> StringCommand:
        return one_script(probes())

    @override
    def process(self, output: Iterable[str]) -> tuple[str, ...]:
        return tuple(output)
