r"""Escapes in double quotes that name no character: `\ud800`, `\U00110000`.

YAML 1.2.2, 5.1: surrogates are no characters. PyYAML's scanner gives back half a pair, which no
file, no name and no terminal can hold, and dies of a number beyond the last character. libyaml
refuses both, so only what it has refused comes here.
"""

from __future__ import annotations

import re

import yaml
from typing_extensions import override

from rigspec.spec.slips import Place, PlacedFinding, placed

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|.)", re.DOTALL)
_HALVES, _LAST = range(0xD800, 0xE000), 0x10FFFF


class NoCharacterError(yaml.YAMLError):
    """An escape of this width, which begins at this place of the text, is no character."""

    def __init__(self, at: int, width: int) -> None:
        super().__init__(f"no character at {at}")
        self.at, self.width = at, width


class EscapeScanner(yaml.reader.Reader, yaml.scanner.Scanner):
    """PyYAML's scanner, which looks at what an escape stands for before it takes it."""

    @override
    def scan_flow_scalar_non_spaces(self, double: bool, start_mark: yaml.Mark) -> list[str]:
        begin = self.index
        try:
            return list(super().scan_flow_scalar_non_spaces(double, start_mark))
        finally:
            if double:
                _check(self.buffer[begin : self.index + len("00110000")], begin, self.index)


def _check(text: str, begin: int, end: int) -> None:
    for found in _ESCAPE.finditer(text):
        code = int(found[1] or found[2] or "0", 16)
        if begin + found.start() < end and (code in _HALVES or code > _LAST):
            raise NoCharacterError(begin + found.start(), len(found[0]))


def no_character(problem: NoCharacterError, text: str) -> PlacedFinding:
    """The escape in words, at its place."""
    before = text[: problem.at]
    line, column = before.count("\n") + 1, problem.at - before.rfind("\n")
    written = text[problem.at : problem.at + problem.width]
    return placed(
        "syntax",
        Place(line, column, problem.width),
        f"`{written}` is no character"
        + (", it is half of a pair of UTF-16" if written[1] == "u" else ""),
        why="no file, no name and no JSON can hold it",
        hint="write the letter itself, or its one number: `\\U0001F600`",
    )
