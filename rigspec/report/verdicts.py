"""Verdicts as an owner reads them: what is wrong first, then the table of what was proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from rigspec.letters import harmless
from rigspec.report.judged import WORST_FIRST, grouped, sections
from rigspec.report.words import wrapped
from rigspec.units import count
from rigspec.verify.verdict import Outcome, Verdict

MARKS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "FAIL",
    Outcome.WARN: "warn",
    Outcome.NOT_APPLICABLE: "n/a",
    Outcome.UNKNOWN: "UNKNOWN",
}
"""The word of each outcome; capitals shout without colour."""
WIDTH, TITLE = 80, 28
"""Terminal cells of a line, and of the column of titles; what is left holds a UUID and a comma."""
_COLOURS = {Outcome.FAIL: "31;1", Outcome.WARN: "33", Outcome.UNKNOWN: "35;1", Outcome.PASS: "32"}


def as_table(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """What needs a hand, in full; then one row per check; then the sum."""
    rows = "\n".join(line for verdict in verdicts for line in _row(verdict, colour))
    return "\n\n".join([*_findings(verdicts, colour), rows, summary(verdicts)])


def folded(verdicts: Sequence[Verdict], *, colour: bool = False) -> str:
    """What needs a hand, in full; then what passed or does not apply, counted by section."""
    blocks = _findings(verdicts, colour)
    parts = sections(verdicts)
    width = max(map(len, parts), default=0)
    counts = [f"{name:<{width}}  {counted(rows)}" for name, rows in parts.items()]
    return "\n\n".join([*blocks, "\n".join(counts), summary(verdicts)])


def _findings(verdicts: Sequence[Verdict], colour: bool) -> list[str]:
    """Worst first; those that say the same of several subjects are one."""
    wrong = [v for outcome in WORST_FIRST for v in verdicts if v.outcome is outcome]
    return [block(one.lead, one.same, colour=colour) for one in grouped(wrong)]


def block(verdict: Verdict, more: str = "", *, colour: bool = False) -> str:
    """One verdict in full: what was expected, found, why, what to do; `more` it holds for too."""
    mark = " (simulated)" if verdict.simulated else ""
    head = f"{MARKS[verdict.outcome]}: {_one_line(verdict.title)}{mark}  [{_one_line(verdict.id)}]"
    first, *rest = wrapped(head, WIDTH, "    ")
    lines = [first.replace(MARKS[verdict.outcome], _painted(verdict.outcome, colour), 1), *rest]
    parts = (
        ("expected", verdict.expected),
        ("found", verdict.found),
        ("the same", more),
        ("why", verdict.reason),
        ("do", verdict.next_action),
        ("asked by", f"`{verdict.spec_field}`" if verdict.spec_field else ""),
        ("read from", verdict.method),
    )
    for label, text in parts:
        if text:
            lines += _labelled(label, text)
    return "\n".join(lines)


def _labelled(label: str, text: str) -> list[str]:
    """Wrapped beside its label; words are never cut, so that commands can be copied."""
    lines = [w for line in text.splitlines() for w in wrapped(harmless(line), WIDTH - 15, "")]
    heads = [f"{label + ':':<10}", *[" " * 10] * len(lines)]
    return [f"    {head} {line}".rstrip() for head, line in zip(heads, lines, strict=False)]


def _row(verdict: Verdict, colour: bool) -> list[str]:
    """Mark, title, what was found; long ones go on in their column."""
    mark = MARKS[verdict.outcome]
    painted = _painted(verdict.outcome, colour) + " " * (7 - len(mark))
    simulated = ", simulated" if verdict.simulated else ""
    titles = wrapped(_one_line(verdict.title), TITLE, "  ")
    said = wrapped(_one_line(_said(verdict)) + simulated, WIDTH - TITLE - 11, "")
    lines = []
    for n in range(max(len(titles), len(said))):
        title, text = (part[n] if n < len(part) else "" for part in (titles, said))
        padding = " " * (TITLE - cell_len(title))
        lines.append(f"{painted if n == 0 else ' ' * 7}  {title}{padding}  {text}".rstrip())
    return lines


def _one_line(text: str) -> str:
    return " ".join(harmless(text).split("\n"))


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
    return f"{count(len(verdicts), 'check')}{mark}: {counted(verdicts)}"


def counted(verdicts: Iterable[Verdict]) -> str:
    """`38 pass, 1 fail`; outcomes that do not occur are left out."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{counts[o]} {MARKS[o].lower()}" for o in Outcome if counts[o])
