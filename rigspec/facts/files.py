"""Fact: files by mode, owner, time and hash."""

from __future__ import annotations

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import FileState, files_probe, parse_files


class Files(RigFact[dict[str, FileState]]):
    """The state of each path, in one round trip; absent paths are missing in it."""

    @override
    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return one_script([files_probe(paths)])

    @override
    def parse(self, sections: Sections) -> dict[str, FileState]:
        return parse_files(sections)
