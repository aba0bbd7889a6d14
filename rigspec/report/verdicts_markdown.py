"""Verdicts as Markdown, to paste into an issue or a wiki; the caller hands in redacted rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rigspec.report.judged import Judged, sections
from rigspec.report.verdicts import MARKS, summary
from rigspec.verify.verdict import Outcome, Verdict

Hide = Callable[[str], str]


def as_markdown(judged: Judged, hide: Hide) -> str:
    """Findings first, then every section folded; `hide` is applied to the header's values."""
    return "\n".join(_lines(judged, hide)) + "\n"


def _lines(judged: Judged, hide: Hide) -> Iterator[str]:
    yield from (f"# rigspec verify: {_text(judged.plan.rig)}", "", summary(judged.verdicts), "")
    yield from (f"- {name}: {_text(hide(text))}" for name, text in judged.header.items())
    findings = judged.findings
    yield from ("", "## Findings" if findings else "## No findings")
    for verdict in findings:
        yield from _finding(verdict)
    yield from ("", "## All checks")
    for name, verdicts in sections(judged.verdicts).items():
        passed = sum(verdict.outcome is Outcome.PASS for verdict in verdicts)
        yield from ("", "<details>")
        yield f"<summary>{name}: {passed} of {len(verdicts)} pass</summary>"
        yield from ("", *_table(verdicts), "", "</details>")


def _finding(verdict: Verdict) -> Iterator[str]:
    simulated = " (simulated)" if verdict.simulated else ""
    yield from ("", f"### {MARKS[verdict.outcome]}: {_text(verdict.title)}{simulated}", "")
    parts = {
        "check": verdict.id,
        "expected": verdict.expected,
        "found": verdict.found,
        "why": verdict.reason,
        "do": verdict.next_action,
        "read from": verdict.method,
    }
    for label, text in parts.items():
        if "\n" in text:
            fenced = (f"  {line}".rstrip() for line in ("```text", *text.split("\n"), "```"))
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
    """No HTML, no emphasis and no mention comes out of what a host said."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "*_#[]":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("@", "@\u200b")
