"""Text that others wrote, as it may be printed: it must not steer the terminal it is read on."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Escapes, and letters that turn the direction of writing; tabs and line breaks are layout."""
_NAME = 100
"""Letters: what the longest name of a repository has, 96, and a little."""


def harmless(text: str) -> str:
    """A text of any length without control characters."""
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same where a break is no layout either, and half a pair of UTF-16 is no letter."""
    return re.sub("[\t\n\ud800-\udfff]", "\ufffd", harmless(text))


def as_name(text: str) -> str:
    """One line of no more than a name has; the rest of a longer one tells nobody anything."""
    shown = one_line(text)
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 1]}…"
