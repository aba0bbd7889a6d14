"""Complaints about an engine's command line, and how strictly the table may judge."""

from __future__ import annotations

from dataclasses import field

from rigspec.catalog.flag_table import FlagHistory, FlagTable, is_release, version_key
from rigspec.finding import Severity
from rigspec.frozen import dataclass


@dataclass(frozen=True)
class FlagProblem:
    """One thing wrong with an argument or an environment variable."""

    index: int
    """Position in the argv that was checked; -1 for the environment and for missing flags."""
    flag: str
    kind: str
    """unknown, removed, not-yet, ambiguous, abbreviation, syntax, value, type, json, choice, key,
    registry, suggested, deprecated, duplicate, rule, positional, secret, env."""
    message: str
    hint: str
    severity: Severity


@dataclass(frozen=True)
class Strictness:
    """What may be called an error: the table is one version of the stock engine."""

    names: bool
    """Which flags exist is known (a sampled stock version)."""
    values: bool
    """Choices and keys are known too (exactly the table's version)."""

    @classmethod
    def of(
        cls, table: FlagTable, history: FlagHistory | None, version: str | None, lenient: bool
    ) -> Strictness:
        """Strict for the version the table was read from, softer the less is known."""
        if lenient or version is None or not is_release(version):
            return cls(names=False, values=False)
        exact = version_key(version) == version_key(table.version)
        return cls(names=exact or (history is not None and history.covers(version)), values=exact)


@dataclass
class Complaints:
    """Collects problems while an argv is walked."""

    strictness: Strictness
    found: list[FlagProblem] = field(default_factory=list)

    def error(self, index: int, flag: str, kind: str, message: str, hint: str = "") -> None:
        """Wrong in any version of the engine."""
        self.found.append(FlagProblem(index, flag, kind, message, hint, Severity.ERROR))

    def warn(self, index: int, flag: str, kind: str, message: str, hint: str = "") -> None:
        """Works, or may work, but should be read."""
        self.found.append(FlagProblem(index, flag, kind, message, hint, Severity.WARNING))

    def about_name(self, index: int, flag: str, kind: str, message: str, hint: str = "") -> None:
        """An error where the flags of the version are known, else a warning."""
        say = self.error if self.strictness.names else self.warn
        say(index, flag, kind, message, hint)

    def about_value(self, index: int, flag: str, kind: str, message: str, hint: str = "") -> None:
        """An error where the values of the version are known, else a warning."""
        say = self.error if self.strictness.values else self.warn
        say(index, flag, kind, message, hint)
