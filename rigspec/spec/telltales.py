"""What the text itself betrays when YAML cannot read it: a better diagnosis than the parser's.

A parser says where it gave up; these say what was typed there. Each looks at text that YAML has
already refused, so that a value which happens to look alike is never accused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rigspec.spec.slips import LIST_ITEM, Place, PlacedFinding, placed

_CONFLICT = re.compile(r"(<<<<<<<|=======|>>>>>>>)( |$)")
_ODD_BLANK = re.compile("[\u00a0\u2000-\u200b\u202f\u205f\u3000]")
_NO_SPACE = re.compile(r"\s*(?:- +)?([A-Za-z_][\w.-]*):([^\s:/\\].*)")
_NO_COLON = re.compile(r"\s*(?:- +)?([a-z_][\w-]*)[ =]+([^\s:=#]+)\s*(?:#.*)?")


def told(slip: PlacedFinding, lines: Sequence[str]) -> PlacedFinding | None:
    """What is wrong with this text, or at the place where it was refused; None when unclear."""
    near = [slip.place.line, slip.place.line - 1] if slip.place else []
    here = [(number, lines[number - 1]) for number in near if 0 < number <= len(lines)]
    # what a list item holds is no key: there the parser's own reason is the better one
    keys = [] if slip.message == LIST_ITEM else here[:1]
    found = _conflict(lines), _odd_blank(here), *(_no_space(*h) for h in keys)
    return next((f for f in (*found, *(_no_colon(*h) for h in keys)) if f), None)


def _conflict(lines: Sequence[str]) -> PlacedFinding | None:
    marks = [(number, line) for number, line in enumerate(lines, 1) if _CONFLICT.match(line)]
    if not marks or not marks[0][1].startswith("<"):
        return None
    first, last = marks[0][0], marks[-1][0]
    return placed(
        "syntax",
        Place(first, 1, 7),
        f"a merge conflict is left in this file, lines {first} to {last}",
        why="both versions of these lines are in the file; no one has said which holds",
        hint="keep one version and delete the lines that begin with `<<<<<<<`, `=======` and "
        "`>>>>>>>`",
    )


def _odd_blank(here: Sequence[tuple[int, str]]) -> PlacedFinding | None:
    for number, line in here:
        blank = _ODD_BLANK.search(line.partition(" #")[0])
        if blank:
            return placed(
                "syntax",
                Place(number, blank.start() + 1),
                f"character U+{ord(blank[0]):04X} looks like a space and is none",
                why="YAML reads it as a letter; it comes with text copied from a page or a chat",
                hint="delete it and type spaces",
            )
    return None


def _no_space(number: int, line: str) -> PlacedFinding | None:
    hit = _NO_SPACE.fullmatch(line)
    if hit is None:
        return None
    return placed(
        "syntax",
        Place(number, hit.start(2)),
        f"a space is missing after `{hit[1]}:`",
        why="YAML takes the two for one word",
        hint="write `key: value`, with the space",
    )


def _no_colon(number: int, line: str) -> PlacedFinding | None:
    hit = _NO_COLON.fullmatch(line)
    if hit is None:
        return None
    return placed(
        "syntax",
        Place(number, hit.start(1) + 1, len(hit[1])),
        f"`{hit[1]}` is a key without `:`",
        hint=f"write `{hit[1]}: ` and then its value",
    )
