"""YAML slips in plain words: what the owner typed, what YAML made of it, what to type instead.

These findings carry their own place, because what is wrong has no path among the values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from rigspec.finding import Finding, Path, Severity
from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Place:
    """A stretch of one line: line and column from 1, width in characters."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True)
class PlacedFinding(Finding):
    """A finding about the text itself; `place` is None when it is about the whole file."""

    place: Place | None = None


TOO_DEEP = "nested too deep"


def placed(
    rule: str, place: Place | None, message: str, *, why: str = "", hint: str = "", path: Path = ()
) -> PlacedFinding:
    """An error about the text, `yaml.RULE`."""
    return PlacedFinding(Severity.ERROR, f"yaml.{rule}", path, message, why, hint, place=place)


def unreadable(message: str, hint: str, place: Place | None = None) -> PlacedFinding:
    """The file cannot be read, or holds no text."""
    return placed("unreadable", place, message, hint=hint)


def empty() -> PlacedFinding:
    """Nothing but blanks and comments."""
    return placed(
        "empty",
        Place(1, 1),
        "the file holds no spec, only blanks or comments",
        hint="start from `rigs/starter.yaml`, or write `rigspec: 1` first",
    )


def not_a_mapping(place: Place) -> PlacedFinding:
    """A list or a bare word at the top."""
    return placed(
        "not-a-mapping",
        place,
        "a spec is a mapping of `key: value` lines, this file starts with something else",
        hint="the first line of a spec is `rigspec: 1`",
    )


def duplicate_key(path: Path, here: Place, first: Place) -> PlacedFinding:
    """The same key twice in one mapping."""
    return placed(
        "duplicate-key",
        here,
        f"`{path[-1]}` is written twice: first in line {first.line}, again in line {here.line}",
        why="YAML readers keep only one of the two, silently",
        hint="delete one, or give it its own name",
        path=path,
    )


def key_not_text(path: Path, place: Place) -> PlacedFinding:
    """A list or mapping where a key belongs: `[a]: b`, `? {…}`."""
    return placed(
        "key-not-text",
        place,
        "a key must be a plain word, this one is a list or a mapping",
        hint="put the key in quotes if its `[` or `{` is meant literally",
        path=path,
    )


def recursive_alias(path: Path, place: Place) -> PlacedFinding:
    """An anchor that contains an alias to itself."""
    return placed(
        "recursive-alias",
        place,
        "this anchor contains an alias to itself, so it has no end",
        hint="write the values out instead of the inner alias",
        path=path,
    )


def alias_bomb(place: Place, most: int) -> PlacedFinding:
    """Aliases of aliases that multiply."""
    return placed(
        "too-many-values",
        place,
        f"the spec expands to more than {most} values; a rig needs a few hundred",
        why="anchors and aliases within each other multiply",
        hint="write the values out, or use fewer aliases",
    )


def explicit_tag(path: Path, place: Place, tag: str) -> PlacedFinding:
    """`!foo`, `!!python/object…`, `!!int`."""
    shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
    return placed(
        "tag",
        place,
        f"the tag `{shown}` has no meaning here",
        why="each field knows its own type; tags would let a file choose another, or run code",
        hint="delete the tag and keep the value; a value that begins with `!` needs quotes",
        path=path,
    )


def merge_of_no_mapping(path: Path, place: Place) -> PlacedFinding:
    """`<<: 5`."""
    return placed(
        "merge",
        place,
        "`<<` can only take in a mapping, or a list of mappings",
        hint="point it at an anchor: `<<: *defaults`",
        path=path,
    )


def unreadable_character(problem: yaml.reader.ReaderError, text: str) -> PlacedFinding:
    """A character that YAML does not allow anywhere."""
    before = text[: problem.position]
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return placed(
        "syntax",
        Place(line, column),
        f"character U+{_code_point(problem.character):04X} is not allowed in YAML",
        why="control characters usually come from a copied terminal or a broken download",
        hint="delete it; an editor that shows invisible characters helps",
    )


def _code_point(character: int | str) -> int:
    """PyYAML's reader gives a number for text and a letter for bytes."""
    return character if isinstance(character, int) else ord(character[:1] or "\0")


LIST_ITEM = "a list item `-` stands where none can be"
"""Of the slips the one that is about the `-` itself, not about what follows it."""


@dataclass(frozen=True)
class _Slip:
    """PyYAML's problem (a pattern) and what we say; `%s` takes the pattern's group."""

    pattern: str
    message: str
    hint: str
    where_it_began: bool = False
    """Point at the opening quote or bracket, not at the place where the parser gave up."""


_TAB_HINT = "replace the tab by spaces; two per level are usual"
_TAB_INDENT = _Slip("", "a tab is used for indentation; YAML takes spaces only", _TAB_HINT)

_SLIPS: tuple[_Slip, ...] = (
    _Slip(r"character '\\t' that", "a tab stands where YAML takes only spaces", _TAB_HINT),
    _Slip(
        r"found character '(.)' that cannot start",
        "a value cannot begin with `%s`",
        "put the whole value in quotes",
    ),
    _Slip(
        "mapping values are not allowed",
        "a second `: ` in one value, or a line that does not line up with the one above",
        "give all keys of one mapping the same column; a value that contains `: ` needs quotes",
    ),
    _Slip(
        "could not find expected ':'",
        "a key without `:`",
        "write `key: value`; a longer text goes on deeper than its key",
        where_it_began=True,
    ),
    _Slip(
        "expected <block end>, but found '-'|sequence entries are not allowed",
        LIST_ITEM,
        "begin the list in the line below its key, every `-` in the same column",
    ),
    _Slip(
        "expected <block end>, but found '<scalar>'",
        "text goes on after a closing quote",
        "put the whole value in one pair of quotes; a quote inside is written twice: `'it''s'`",
    ),
    _Slip(
        r"expected <block end>, but found '([\]}])'",
        "this `%s` closes nothing",
        "delete it, or add the bracket that opens it",
    ),
    _Slip(
        "expected <block end>, but found",
        "this line does not line up with the ones above",
        "give all keys of one mapping the same column",
    ),
    _Slip(
        r"expected ',' or ']'",
        "this `[` is not closed, or a comma is missing",
        "separate items with `, ` and close with `]`",
        where_it_began=True,
    ),
    _Slip(
        "expected ',' or '}'",
        "this `{` is not closed, or a comma is missing",
        "separate entries with `, ` and close with `}`",
        where_it_began=True,
    ),
    _Slip(
        "expected the node content, but found '(.+)'",
        "a value is missing before `%s`",
        "write the value, or put it in quotes if it begins with this character",
    ),
    _Slip(
        "found undefined alias '([^']+)'",
        "`*%s` refers to an anchor that is not defined above",
        "define the anchor first with `&`; a value that begins with `*` needs quotes",
    ),
    _Slip(
        "found duplicate anchor '([^']+)'",
        "the anchor `&%s` is defined twice",
        "give each anchor its own name",
    ),
    _Slip(
        "found unexpected end of stream",
        "this quote is never closed",
        "close it in the same line",
        where_it_began=True,
    ),
    _Slip(
        r"found unknown escape character '(.)'",
        "`\\%s` means nothing inside double quotes",
        "use single quotes, where `\\` is a plain character",
    ),
    _Slip(
        "but found another document",
        "a second document begins here (`---`)",
        "one file holds one rig: move the second to a file of its own",
    ),
    _Slip(
        TOO_DEEP, "values are nested deeper than any spec needs", "look for an unclosed `[` or `{`"
    ),
    _Slip(
        "while scanning a block scalar",
        "after `|` or `>` the line must end",
        "put the text into the next lines, indented; a value that begins with `|` or `>` needs "
        "quotes",
        where_it_began=True,
    ),
    _Slip(
        "while scanning an (?:anchor|alias)|while (?:scanning|parsing) a (?:tag|node)",
        "a value that begins with `&`, `*` or `!` means something else to YAML",
        "put the whole value in quotes",
        where_it_began=True,
    ),
)


def syntax(problem: yaml.MarkedYAMLError, lines: Sequence[str]) -> PlacedFinding:
    """What PyYAML refused, in words an owner can act on."""
    raw = "; ".join(part for part in (problem.problem, problem.context) if part)
    found = next(((s, m) for s in _SLIPS if (m := re.search(s.pattern, raw))), None)
    began = problem.context_mark if found and found[0].where_it_began else None
    mark = began or problem.problem_mark or problem.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if found is None:
        return placed("syntax", place, f"this is not YAML: {raw}")
    slip, match = found
    if "\t" in line[: place.column] and not line[: place.column].strip():
        slip = _TAB_INDENT
    message = slip.message % match[1] if "%s" in slip.message else slip.message
    return placed("syntax", place, message, hint=slip.hint)
