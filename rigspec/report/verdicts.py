"""Verdicts as an owner reads them: what is wrong first, then the table of what was proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from rigspec.report.judged import WORST_FIRST, sections
from rigspec.verify.verdict import Outcome, Verdict

MARKS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "FAIL",
    Outcome.WARN: "warn",
    Outcome.NOT_APPLICABLE: "n/a",
    Outcome.UNKNOWN: "UNKNOWN",
}
"""The word of each outcome; capitals shout without colour."""
_COLOURS = {Outcome.FAIL: "31;1", Outcome.WARN: "33", Outcome.UNKNOWN: "35;1", Outcome.PASS: "32"}


def as_table(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """What needs a hand, in full; then one line per check; then the sum."""
    wrong = [v for outcome in WORST_FIRST for v in verdicts if v.outcome is outcome]
    blocks = [block(verdict, colour=colour) for verdict in wrong]
    rows = "\n".join(_rows(verdicts, colour))
    return "\n\n".join([*blocks, rows, summary(verdicts)])


def folded(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """What needs a hand, in full; then what passed or does not apply, counted by section."""
    wrong = [v for outcome in WORST_FIRST for v in verdicts if v.outcome is outcome]
    blocks = [block(verdict, colour=colour) for verdict in wrong]
    parts = sections(verdicts)
    width = max(map(len, parts), default=0)
    counts = [f"{name:<{width}}  {_counted(rows)}" for name, rows in parts.items()]
    return "\n\n".join([*blocks, "\n".join(counts), summary(verdicts)])


def block(verdict: Verdict, *, colour: bool = False) -> str:
    """One verdict in full: what was expected, found, why, what to do."""
    mark = " (simulated)" if verdict.simulated else ""
    lines = [f"{_painted(verdict.outcome, colour)}: {verdict.title}{mark}  [{verdict.id}]"]
    parts = (
        ("expected", verdict.expected),
        ("found", verdict.found),
        ("why", verdict.reason),
        ("do", verdict.next_action),
        ("asked by", f"`{verdict.spec_field}`" if verdict.spec_field else ""),
        ("read from", verdict.method),
    )
    for label, text in parts:
        first, *more = text.splitlines() or [""]
        if text:
            lines.append(f"    {label + ':':<10} {first}")
            lines += [f"    {'':<10} {line}" for line in more]
    return "\n".join(lines)


def _rows(verdicts: Iterable[Verdict], colour: bool) -> list[str]:
    verdicts = tuple(verdicts)
    width = max((cell_len(v.title) for v in verdicts), default=0)
    lines = []
    for verdict in verdicts:
        mark = MARKS[verdict.outcome]
        painted = _painted(verdict.outcome, colour) + " " * (7 - len(mark))
        title = verdict.title + " " * (width - cell_len(verdict.title))
        simulated = "  simulated" if verdict.simulated else ""
        lines.append(f"{painted}  {title}  {_said(verdict)}{simulated}")
    return lines


def _said(verdict: Verdict) -> str:
    found = verdict.found.splitlines()[0] if verdict.found else ""
    if verdict.outcome is Outcome.PASS:
        return found or verdict.expected
    if verdict.outcome is Outcome.NOT_APPLICABLE:
        return verdict.reason + (f" ({found})" if found else "")
    expected = f", expected {verdict.expected}" if verdict.expected else ""
    return f"{found or verdict.reason}{expected}"


def _painted(outcome: Outcome, colour: bool) -> str:
    code = _COLOURS.get(outcome)
    return f"\x1b[{code}m{MARKS[outcome]}\x1b[0m" if colour and code else MARKS[outcome]


def summary(verdicts: Iterable[Verdict]) -> str:
    """`41 checks: 38 pass, 1 fail, 2 n/a`; says when the rig is a simulated one."""
    verdicts = tuple(verdicts)
    mark = " on a simulated rig" if any(verdict.simulated for verdict in verdicts) else ""
    return f"{len(verdicts)} checks{mark}: {_counted(verdicts)}"


def _counted(verdicts: Iterable[Verdict]) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[o]} {MARKS[o].lower()}" for o in Outcome if counts[o])
