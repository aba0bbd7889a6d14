"""What other tools put before each line: quote marks, indentation, times, names of containers.

Owners paste what `docker compose logs`, `kubectl logs` or `journalctl` show, or quote it in a
thread. A prefix is taken off only where nine lines of ten wear it, so a table's own first column
stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from rigspec.observed.text import clean_lines

_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_UNIT = r"\S+ [\w@.\\-]+\[\d+\]: ?"
_DRESSES = tuple(
    re.compile(dress)
    for dress in (
        r">(?: |$)",  # a quotation in Markdown or mail
        r"│ ?",  # the frame of k9s and its like
        r"\[\d+,\d+\]<std(?:out|err|diag)>: ?",  # mpirun --tag-output
        r"\[pod/[^\]]+\](?: |$)",  # kubectl logs --prefix
        # journalctl -o short, whatever the language of its months (`Mär`, `févr.`, `11月`)
        r"(?:[^\W\d]{3,5}\.?|\d{1,2}月) [ \d]\d \d\d:\d\d:\d\d " + _UNIT,
        _TIME + " " + _UNIT,  # journalctl -o short-iso
        _TIME + " std(?:out|err) [FP](?: |$)",  # a container's file of the kubelet (CRI)
        _TIME + "(?: |$)",  # docker logs --timestamps
    )
)
_COMPOSE = re.compile(r"[A-Za-z0-9][\w.-]* *\|(?: |$)")
"""docker compose logs: a name, padded, and a bar."""
_COUNTED = re.compile(r"[-_]\d+ *\|")
"""Names that compose gives itself: `rig-vllm-1`."""
_TERMINAL = 72
"""Eighty columns, less the word that did not fit any more."""
_LAYERS = 4
"""A quoted listing of a container with times, indented: more was never seen."""


def bare_lines(text: str | Iterable[str]) -> list[str]:
    """Clean lines without what other tools put before them; as many as before."""
    lines = clean_lines(text)
    for _ in range(_LAYERS):
        bare = _without_dress(_without_indent(lines))
        if bare == lines:
            break
        lines = bare
    return lines


def containers_of(text: str | Iterable[str]) -> list[list[str]]:
    """`docker compose logs` of many containers: the bare lines of each; any other text whole."""
    lines = _without_indent(clean_lines(text))
    found: dict[str, list[str]] = {}
    if _is_worn(_COMPOSE, lines):
        for line in lines:
            name = match.group().strip() if (match := _COMPOSE.match(line)) else ""
            found.setdefault(name, []).append(line)
    return [bare_lines(own) for own in found.values()] if len(found) > 1 else [bare_lines(lines)]


def unwrapped(lines: list[str], begins: re.Pattern[str]) -> list[str]:
    """Lines of an indented listing that a terminal broke, whole again.

    What neither is indented nor begins an entry goes on, where the line above fills the terminal.
    """
    if not any(line[:1].isspace() for line in lines):
        return lines
    found: list[str] = []
    width = 0
    for line in lines:
        goes_on = line[:1].strip() and not begins.match(line) and width >= _TERMINAL
        width = len(line.expandtabs())
        if goes_on:
            found[-1] += line
        else:
            found.append(line)
    return found


def _without_indent(lines: list[str]) -> list[str]:
    blanks = [line[: len(line) - len(line.lstrip())] for line in lines if line.strip()]
    common = min(blanks, key=len, default="")
    if not common or not all(blank.startswith(common) for blank in blanks):
        return lines
    return [line.removeprefix(common) for line in lines]


def _without_dress(lines: list[str]) -> list[str]:
    for dress in _DRESSES:
        if _is_worn(dress, lines):
            return [dress.sub("", line, count=1) if dress.match(line) else line for line in lines]
    names = [match.group() for line in lines if (match := _COMPOSE.match(line))]
    # a table names another row on every line, a log the same few containers again and again
    is_log = len(set(names)) * 2 <= len(names) or all(_COUNTED.search(name) for name in names)
    if is_log and _is_worn(_COMPOSE, lines):
        return [_COMPOSE.sub("", line, count=1) for line in lines]
    return lines


def _is_worn(dress: re.Pattern[str], lines: list[str]) -> bool:
    """Whether nine of ten lines begin so; the last line may be cut inside its prefix."""
    said = [line for line in lines if line.strip()]
    whole = said[:-1] or said
    bare = (line for line in whole if not dress.match(line))
    return bool(whole) and next(islice(bare, len(whole) // 10, None), None) is None
