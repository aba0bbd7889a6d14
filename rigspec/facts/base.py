"""What every fact of ours is: one script of several probes, one round trip, one frozen record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from rigspec.observed.probes import Probe, script
from rigspec.observed.sections import split_sections

T = TypeVar("T")

Sections = Mapping[str, Sequence[str]]


class RigFact(FactBase[T | None], Generic[T]):
    """A fact made of probes; `parse` gets their sections. None means: could not be read."""

    def parse(self, sections: Sections) -> T:
        """The record from the sections."""
        raise NotImplementedError

    @override
    def process(self, output: Iterable[str]) -> T:
        """pyinfra's side: lines into sections into the record."""
        return self.parse(split_sections(list(output)))


class Quiet(tuple[T, ...]):
    """Arguments of a fact that are too long to be shown when it fails."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return f"({len(self)} items)"

    @override
    def __str__(self) -> str:
        return repr(self)


def one_script(probes: Iterable[Probe], beside: Iterable[Probe] = ()) -> StringCommand:
    """All probes as one command (locale C, a failing one does not harm the next).

    `beside` run at the same time as the others.
    """
    return StringCommand(script(probes, beside))
