"""What a check says about a host: expected beside found, and what to do; unknown is never green."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - a word, no password
    FAIL = "fail"
    WARN = "warn"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """One row: `id` is the address of the check, `subject` the thing it is about (`main.0`)."""

    id: str
    title: str
    outcome: Outcome
    expected: str = ""
    found: str = ""
    reason: str = ""
    """Why it failed, could not be measured, or does not apply; the likely cause."""
    next_action: str = ""
    method: str = ""
    """What was read."""
    simulated: bool = False
    spec_field: str = ""
    """Path in the YAML of what asked for it (`gpus.main.power_limit_w`); empty: no single line."""


@dataclass(frozen=True)
class Check:
    """The unchanging half of a row: what is judged and how it was read."""

    id: str
    title: str
    method: str
    expected: str = ""
    spec_field: str = ""

    def passed(self, found: str) -> Verdict:
        """As planned."""
        return self._verdict(Outcome.PASS, found)

    def failed(self, found: str, reason: str, next_action: str = "") -> Verdict:
        """Not as planned."""
        return self._verdict(Outcome.FAIL, found, reason, next_action)

    def warned(self, found: str, reason: str, next_action: str = "") -> Verdict:
        """As planned, but the owner should know."""
        return self._verdict(Outcome.WARN, found, reason, next_action)

    def unknown(self, why: Unknown | str, next_action: str = "") -> Verdict:
        """Could not be measured."""
        reason = why if isinstance(why, str) else why.reason
        line = "" if isinstance(why, str) else why.line
        return self._verdict(Outcome.UNKNOWN, line, reason, next_action)

    def not_applicable(self, reason: str, found: str = "") -> Verdict:
        """The plan asks for nothing here, or it cannot be judged now."""
        return self._verdict(Outcome.NOT_APPLICABLE, found, reason)

    def _verdict(
        self, outcome: Outcome, found: str, reason: str = "", next_action: str = ""
    ) -> Verdict:
        return Verdict(
            self.id,
            self.title,
            outcome,
            expected=self.expected,
            found=found,
            reason=reason,
            next_action=next_action,
            method=self.method,
            spec_field=self.spec_field,
        )


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 as planned, 1 something is not, 3 nothing failed but something could not be measured."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if Outcome.FAIL in outcomes:
        return 1
    return 3 if Outcome.UNKNOWN in outcomes or not outcomes else 0


def listed(items: Iterable[object], limit: int = 6) -> str:
    """Items as `a, b, c and 4 more`."""
    words = [str(item) for item in items]
    shown = ", ".join(words[:limit])
    return f"{shown} and {len(words) - limit} more" if len(words) > limit else shown
