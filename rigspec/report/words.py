"""Words in a row: spans of names, lines of a width."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.cells import cell_len


def spans(names: Iterable[str]) -> str:
    """`main.0–3, main.8, uplink of s0`: three or more numbers in a row are a span."""
    runs: list[list[tuple[str, int, str]]] = []
    for name in sorted(names, key=_natural):
        stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
        at = int(number) if number else -1
        last = runs[-1][-1] if runs else ("", -2, "")
        if number and last[0] == stem and last[1] == at - 1:
            runs[-1].append((stem, at, name))
        else:
            runs.append([(stem, at, name)])
    return ", ".join(_span(run) for run in runs)


def _span(run: list[tuple[str, int, str]]) -> str:
    names = [name for _, _, name in run]
    return f"{names[0]}–{run[-1][1]}" if len(run) > 2 else ", ".join(names)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """`main.2` before `main.10`."""
    parts = re.findall(r"\d+|\D+", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


_NAME, _PATH = 80, 300
"""Letters of the longest name, and of the longest path or image, that are told whole."""
_LONG = re.compile(rf"`[^`]{{{_PATH + 1},}}`|[^\s`]{{{_NAME + 1},}}")


def shortened(text: str) -> str:
    """Names that nobody reads to their end, without their middle; paths may have to be copied."""
    return _LONG.sub(_cut, text)


def _cut(found: re.Match[str]) -> str:
    word = found[0]
    if len(word) <= _PATH and "/" in word:
        return word
    return f"{word[: _NAME // 2]}…{word[-_NAME // 4 :]}"


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Lines of at most `width` terminal cells; a longer word stands alone and sticks out."""
    lines = [""]
    for word in text.split(" "):
        glued = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
        if cell_len(glued) <= width or not lines[-1].strip():
            lines[-1] = glued
        else:
            lines.append(indent + word)
    return lines


def screen(text: str, columns: int | None) -> str:
    """A finished screen in the width of a terminal; None: lines of any length, as in a file."""
    if columns is None:
        return text
    return "\n".join(part for line in text.splitlines() for part in _hung(line, columns))


def _hung(line: str, columns: int) -> list[str]:
    """A line that is too long, its further ones below the text of its last narrow column."""
    if cell_len(line) <= columns:
        return [line]
    within = [found.end() for found in re.finditer(r"(?<=\S) {2,}(?=\S)", line)]
    said = line.lstrip()
    lead = line[: len(line) - len(said)]
    at = max((end - len(lead) for end in within if end <= columns // 2), default=2)
    parts = wrapped(said, columns - len(lead), " " * at)
    return [lead + part.rstrip() for part in parts]
