"""The core's only complaint: a finding about the spec, as data.

Rules and the loader *yield* findings; only `rigspec.report` prints them. A finding names a place
by its path in the YAML (`("services", 0, "listen")`), never by line: lines are looked up once,
when the finding is printed, by `rigspec.spec.source.Source.locate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from rigspec.frozen import dataclass

WAYS_OUT = "any one of these "
"""In a hint: after the next colon follow ways out, with `; ` between them; a terminal shows one per
line."""

Path = tuple[str | int, ...]
"""A place in the YAML: mapping keys and sequence indexes from the top."""


class Severity(StrEnum):
    """How bad: only an error stops anything."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One complaint.

    `rule` is the address of the code that raised it (`power.limit-in-range` is
    `rigspec/rules/power.py: limit_in_range`). `message` says what is wrong with the values found
    and allowed, `why` what happens if it stays, `hint` what to write instead.
    """

    severity: Severity
    rule: str
    path: Path
    message: str
    why: str = ""
    hint: str = ""
    at_key: bool = False
    """Point at the key instead of the value (an unknown key, a missing field's parent)."""
    also: tuple[Path, ...] = ()
    """Other places the finding is about (the first of two duplicate keys, the other service)."""


def error(rule: str, path: Path, message: str, *, why: str = "", hint: str = "") -> Finding:
    """A finding that stops the run before anything is touched."""
    return Finding(Severity.ERROR, rule, path, message, why, hint)


def warning(rule: str, path: Path, message: str, *, why: str = "", hint: str = "") -> Finding:
    """A finding the owner should read; the run goes on."""
    return Finding(Severity.WARNING, rule, path, message, why, hint)


def note(rule: str, path: Path, message: str, *, why: str = "", hint: str = "") -> Finding:
    """A cost or trade-off the owner has consented to, said once."""
    return Finding(Severity.NOTE, rule, path, message, why, hint)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding stops the run."""
    return any(f.severity is Severity.ERROR for f in findings)
