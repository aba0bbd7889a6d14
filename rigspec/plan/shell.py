"""An argument vector as shell text that gives back exactly these words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

_CARD = re.compile(r"nvidia\.com/gpu=\$\{RIGSPEC_GPU_[A-Z0-9_]+\}")


def quote(word: str) -> str:
    """One word, in quotes where it needs them."""
    return shlex.quote(word)


def quote_card(word: str) -> str:
    """A CDI device whose UUID the shell fills in from the binding."""
    if not _CARD.fullmatch(word):
        raise ValueError(f"not a card of the binding: {word}")
    return f'"{word}"'


def lines(words: Sequence[str]) -> tuple[str, ...]:
    """Words quoted, an option and its values on one line."""
    return tuple(" ".join(map(quote, group)) for group in _grouped(words))


def _grouped(words: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for word in words:
        if not found or word.startswith("-"):
            found.append([])
        found[-1].append(word)
    return found


def continued(parts: Iterable[str]) -> str:
    """Lines of one command."""
    return " \\\n    ".join(parts)


def shown(words: Sequence[str]) -> tuple[str, ...]:
    """Words for reading, one option a line; a card's variable stays bare."""
    return tuple(
        " ".join(word if _CARD.fullmatch(word) else quote(word) for word in group)
        for group in _grouped(words)
    )
