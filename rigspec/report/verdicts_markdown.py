"""Verdicts as Markdown, to paste into an issue or a wiki; the caller hands in redacted rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from rigspec.letters import harmless
from rigspec.report.fabric_view import fabric_view
from rigspec.report.judged import Judged, grouped, sections
from rigspec.report.verdicts import MARKS, summary
from rigspec.verify.verdict import Outcome, Verdict

Hide = Callable[[str], str]

_TICKS = re.compile("`+")
_CODE = re.compile("(?<!`)(`[^`<>&\n]+`)(?!`)")


def as_markdown(judged: Judged, hide: Hide) -> str:
    """Findings first, then every section folded; `hide` is applied to the header's values."""
    return "\n".join(_lines(judged, hide)) + "\n"


def _lines(judged: Judged, hide: Hide) -> Iterator[str]:
    yield from (f"# rigspec verify: {_text(judged.plan.rig)}", "", summary(judged.verdicts), "")
    yield from (f"- {name}: {_text(hide(text))}" for name, text in judged.header.items())
    for card in judged.cards:
        yield f"- {_text(card.member)}: {_text(hide(card.uuid))} at {_text(hide(card.slot))}"
    findings = grouped(judged.findings)
    yield from ("", "## Findings" if findings else "## No findings")
    for one in findings:
        yield from _finding(one.lead, one.same)
    yield from _pairs(judged, hide)
    yield from ("", "## All checks")
    for name, verdicts in sections(judged.verdicts).items():
        passed = sum(verdict.outcome is Outcome.PASS for verdict in verdicts)
        yield from ("", "<details>")
        yield f"<summary>{_text(name)}: {passed} of {len(verdicts)} pass</summary>"
        yield from ("", *_table(verdicts), "", "</details>")


def _pairs(judged: Judged, hide: Hide) -> Iterator[str]:
    """One-way bandwidth between cards, where it was measured."""
    view = fabric_view(judged)
    for one_way in view.maps[:1]:
        yield from ("", "## Card to card", "", _text(hide(view.note)), "")
        names = [_cell(hide(name)) for name in one_way.names]
        yield f"| {one_way.unit}, row sends | {' | '.join(names)} |"
        yield "|---" * (len(names) + 1) + "|"
        for name, cells in zip(names, one_way.rows, strict=True):
            yield f"| {name} | {' | '.join(f'{c.number} {c.word}'.strip() for c in cells)} |"
        yield ""
        yield from (f"- {word}: {meaning}" for word, meaning in one_way.words.items())


def _finding(verdict: Verdict, more: str) -> Iterator[str]:
    simulated = " (simulated)" if verdict.simulated else ""
    yield from ("", f"### {MARKS[verdict.outcome]}: {_text(verdict.title)}{simulated}", "")
    parts = {
        "check": verdict.id,
        "expected": verdict.expected,
        "found": verdict.found,
        "the same": more,
        "why": verdict.reason,
        "do": verdict.next_action,
        "asked by": f"`{verdict.spec_field}`" if verdict.spec_field else "",
        "read from": verdict.method,
    }
    for label, text in parts.items():
        if "\n" in text:
            fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
            fenced = (f"  {line}".rstrip() for line in (fence + "text", *text.split("\n"), fence))
            yield from (f"- {label}:", "", *fenced)
        elif text:
            yield f"- {label}: {_text(text)}"


def _table(verdicts: Iterable[Verdict]) -> Iterator[str]:
    yield "| outcome | check | expected | found |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        mark = MARKS[verdict.outcome] + (" (simulated)" if verdict.simulated else "")
        found = verdict.found or verdict.reason
        yield f"| {mark} | {_cell(verdict.title)} | {_cell(verdict.expected)} | {_cell(found)} |"


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|").replace("\n", "<br>")


def _text(text: str) -> str:
    """No HTML, no emphasis and no mention comes out of what a host said; `code` stays code."""
    parts = _CODE.split(harmless(text))
    return "".join(part if n % 2 else _escaped(part) for n, part in enumerate(parts))


def _escaped(text: str) -> str:
    for sign in "\\*_#[]~!`":
        text = text.replace(sign, f"\\{sign}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("@", "@\u200b")
