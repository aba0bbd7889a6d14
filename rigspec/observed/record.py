"""What every observation is made of: frozen records, and readings that may be unknown.

A field whose value could not be read holds `Unknown` with the reason and the line it was read
from, never a default: "no ACS lines because lspci ran without root" is not "ACS is off".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from rigspec.frozen import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be read: why, and the text that was seen in its place."""

    reason: str
    line: str = ""

    def to_json(self) -> dict[str, str]:
        """The reason and the line, as plain data."""
        return {"unknown": self.reason, "line": self.line}


Reading: TypeAlias = T | Unknown
"""A value, or the reason why there is none."""

NOT_ASKED = Unknown("not asked for")


@dataclass(frozen=True)
class Record:
    """Base of all observed records: frozen, and printable as JSON (pyinfra prints facts so)."""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON data."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


def plain(value: Any) -> Any:
    """Any observed value as plain JSON data."""
    if isinstance(value, Unknown):
        return value.to_json()
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def known(reading: T | Unknown) -> T | None:
    """The value, or None where it is unknown (for callers that need no reason)."""
    return None if isinstance(reading, Unknown) else reading
