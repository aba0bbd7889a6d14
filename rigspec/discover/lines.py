"""Lines of a draft: `key: value  # where it was read`, comments in one column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

OWNER = "owner:"
"""What begins every comment about something that no host can say."""

_COLUMN = 34


def entry(indent: int, key: str, value: object, said: str = "") -> str:
    """One line of the draft."""
    text = f"{'  ' * indent}{key}: {value}" if value != "" else f"{'  ' * indent}{key}:"
    return f"{text:<{_COLUMN}} # {said}" if said else text


def quoted(text: str) -> str:
    """Text off a host as a YAML scalar: plain where nothing in it means anything to YAML."""
    plain = re.fullmatch(r"[A-Za-z0-9/](?:[A-Za-z0-9_./=,@+-]|:(?=[A-Za-z0-9]))*", text)
    return text if plain else json.dumps(text, ensure_ascii=True)


def remark(indent: int, said: str) -> str:
    """A line that is only a comment."""
    return f"{'  ' * indent}# {said}"


def owner(indent: int, said: str) -> str:
    """A comment about what only the owner knows."""
    return remark(indent, f"{OWNER} {said}")


def block(head: str, body: Iterable[str]) -> list[str]:
    """A section with an empty line above it."""
    return ["", f"{head}:", *body]
