"""Nested plain data as lines of block YAML, with a comment beside any key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from rigspec.discover.lines import entry, quoted

Path = tuple[str, ...]


def yaml_lines(
    data: Mapping[str, object], comments: Mapping[Path, str], at: Path = (), indent: int = 0
) -> Iterator[str]:
    """Lines of a mapping; `comments` are looked up by the keys that lead to a line."""
    for key, value in data.items():
        path = (*at, str(key))
        said = comments.get(path, "")
        if isinstance(value, Mapping) and value:
            yield entry(indent, quoted(str(key)), "", said)
            yield from yaml_lines(value, comments, path, indent + 1)
        elif _is_list(value) and any(isinstance(item, Mapping) for item in value):
            yield entry(indent, quoted(str(key)), "", said)
            yield from _items(value, comments, path, indent + 1)
        else:
            yield entry(indent, quoted(str(key)), _scalar(value), said)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _items(
    values: Sequence[object], comments: Mapping[Path, str], at: Path, indent: int
) -> Iterator[str]:
    """Items of a list of mappings: the first key behind the dash."""
    for number, item in enumerate(values):
        own = item if isinstance(item, Mapping) else {}
        lines = list(yaml_lines(own, comments, (*at, str(number)), indent + 1))
        for place, line in enumerate(lines):
            pad = "  " * indent
            yield f"{pad}- {line[len(pad) + 2 :]}" if place == 0 else line


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if _is_list(value):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return "{}"


def _text(value: str) -> str:
    """Numbers and words that YAML reads otherwise keep their quotes: `13.0`, `off`, `null`."""
    plain = quoted(value)
    odd = value.lower() in {"null", "~", "true", "false", "yes", "no", "on", "off"}
    return f'"{plain}"' if plain == value and (odd or value[:1].isdigit()) else plain
