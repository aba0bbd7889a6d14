"""What `discover` says beside the draft: the choices that are left, each with its place."""

from __future__ import annotations

from collections.abc import Sequence

from rigspec.finding import Finding, Severity
from rigspec.report.findings import place_of
from rigspec.spec.source import Source


def owner_lines(text: str) -> tuple[tuple[int, str], ...]:
    """Line and words of everything marked for the owner."""
    marks = ((n, line.partition("owner:")) for n, line in enumerate(text.splitlines(), 1) if n > 2)
    return tuple((n, words.strip()) for n, (_, mark, words) in marks if mark)


def as_text(text: str, findings: Sequence[Finding], source: Source) -> str:
    """Choices left: the owner's lines, then what `check` says of the draft as it stands."""
    left = [f"  line {number}: {words}" for number, words in owner_lines(text)]
    lines = ["left for the owner:", *left] if left else ["left for the owner: nothing"]
    rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
    found = sorted(findings, key=lambda finding: rank[finding.severity])
    lines.append("check of the draft:" if found else "check of the draft: nothing to say")
    for finding in found:
        place = place_of(finding, source)
        at = f"line {place.line}" if place else "the file"
        lines.append(f"  {at}: {finding.severity}: {finding.message}  [{finding.rule}]")
    return "\n".join(lines)
