"""Taking a probe's output apart: one script prints many sections, each says what went wrong.

Lines of ours begin with `##RIG`: `##RIG name` opens a section, `##RIG-END` closes it,
`##RIG-ABSENT x` says that a tool or path is not there, `##RIG-EXIT n x` that a command failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rigspec.observed.record import Unknown
from rigspec.observed.text import clean_lines

OPEN, END, ABSENT, EXIT, CUT = "##RIG ", "##RIG-END", "##RIG-ABSENT ", "##RIG-EXIT ", "##RIG-CUT"


def split_sections(text: str | Iterable[str]) -> dict[str, list[str]]:
    """Lines per section; a section that was never closed ends with `##RIG-CUT`."""
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in clean_lines(text):
        if line.startswith(OPEN):
            _cut(current)
            current = sections.setdefault(line[len(OPEN) :].strip(), [])
        elif line.startswith(END):
            if current and not current[-1].strip():
                current.pop()  # the marker's own newline guard
            current = None
        elif current is not None:
            current.append(line)
    _cut(current)
    return sections


def _cut(lines: list[str] | None) -> None:
    if lines is not None:
        lines.append(CUT)


def section(sections: Mapping[str, Sequence[str]], name: str) -> list[str] | Unknown:
    """The lines of one section without our marks, or why there are none.

    A section that failed but printed something keeps its lines: parsers read the tool's own
    words ("No devices were found"); ask `trouble` beside it. Of one that was cut, the last line
    is left out: it may be half a line.
    """
    lines = sections.get(name)
    if lines is None:
        return Unknown(f"section `{name}` was not printed")
    found = body(lines)
    if lines and lines[-1].startswith(CUT):
        found = found[:-1]
    problem = trouble(lines)
    if problem is not None and not any(line.strip() for line in found):
        return problem
    return found


def body(lines: Iterable[str]) -> list[str]:
    """The lines of a section without our marks."""
    return [line for line in lines if not line.startswith("##RIG")]


def trouble(lines: Iterable[str]) -> Unknown | None:
    """What kept a section from being complete, None if nothing did; the line is the tool's last."""
    said = ""
    for line in lines:
        if line.startswith(ABSENT):
            return Unknown(f"`{line[len(ABSENT) :].strip()}` is absent", said)
        if line.startswith(EXIT):
            status, _, command = line[len(EXIT) :].strip().partition(" ")
            if status == "124":
                return Unknown(f"`{command}` did not answer in time", said)
            means = _CURL.get(status, "") if command == "curl" else ""
            return Unknown(f"`{command}` ended with status {status}{means}", said)
        if line.startswith(CUT):
            return Unknown("output was cut off", said)
        said = line.strip() or said
    return None


_CURL = {"7": ": nothing listens there", "28": ": no answer in time", "52": ": an empty answer"}
"""curl(1), exit codes."""
