"""Findings as an owner reads them: place, sentence, source line, caret, why, hint; or as JSON.

The caret line copies tabs and counts terminal cells, so it stands under the right letter whatever
the line holds. Values that may be secret are covered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len

from rigspec.finding import WAYS_OUT, Finding, Severity
from rigspec.letters import harmless
from rigspec.report.words import shortened, wrapped
from rigspec.spec.secrets import masked_lines
from rigspec.spec.slips import Place, PlacedFinding
from rigspec.spec.source import Source
from rigspec.spec.wording import dotted

_WINDOW = 160
"""Longest stretch of a source line that is shown, characters."""

_LEAST, _ANY = 40, 1 << 30
"""Columns: what a sentence needs to stay one, and more than any has."""

_COLOURS = {Severity.ERROR: "31;1", Severity.WARNING: "33;1", Severity.NOTE: "36;1"}
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def place_of(finding: Finding, source: Source) -> Place | None:
    """Where a finding points; None when it is about the file as a whole."""
    if isinstance(finding, PlacedFinding):
        return finding.place
    return source.locate(finding.path, finding.at_key)


def sorted_findings(findings: Iterable[Finding], source: Source) -> list[Finding]:
    """In the order of the file; at one place errors first, then as the rules found them."""

    def key(finding: Finding) -> tuple[int, int, int]:
        place = place_of(finding, source) or Place(0, 0)
        return place.line, place.column, _ORDER[finding.severity]

    return sorted(findings, key=key)


def as_text(
    findings: Sequence[Finding],
    source: Source,
    unchecked: Sequence[str] = (),
    *,
    colour: bool = False,
    columns: int | None = None,
) -> str:
    """All findings of one file, the summary line, and below it what no rule could judge.

    Sentences are broken to `columns` of a terminal; None: lines of any length, as in a file.
    """
    shown = sorted_findings(findings, source)
    lines, room = masked_lines(source), _ANY if columns is None else max(columns, _LEAST)
    blocks = [_block(f, source, lines, colour, room) for f in shown]
    end = [summary(findings, source.file)]
    end += [line for what in unchecked for line in _said("  ", what, room)]
    return "\n\n".join([*blocks, "\n".join(end)])


def summary(findings: Iterable[Finding], file: str) -> str:
    """`2 errors, 1 warning in rigs/x.yaml`, or `rigs/x.yaml: ok`."""
    counts, file = dict.fromkeys(Severity, 0), shortened(file)
    for finding in findings:
        counts[finding.severity] += 1
    said = [f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n]
    if counts[Severity.ERROR]:
        return f"{', '.join(said)} in {harmless(file)}"
    return f"{harmless(file)}: ok" + (f" ({', '.join(said)})" if said else "")


def as_records(findings: Sequence[Finding], source: Source) -> list[dict[str, str | int]]:
    """The same as plain records; a finding about the whole file stands at line 1, column 1."""
    records: list[dict[str, str | int]] = []
    for finding in sorted_findings(findings, source):
        place = place_of(finding, source) or Place(1, 1)
        records.append(
            {
                "rule": finding.rule,
                "severity": finding.severity.value,
                "file": source.file,
                "line": place.line,
                "column": place.column,
                "path": dotted(finding.path),
                "message": shortened(finding.message),
                "why": shortened(finding.why),
                "hint": shortened(finding.hint),
            }
        )
    return records


def as_json(records: Sequence[Mapping[str, str | int]]) -> str:
    """A list of records as JSON text, readable and stable."""
    return json.dumps(records, indent=2, ensure_ascii=False)


def _block(finding: Finding, source: Source, lines: Sequence[str], colour: bool, room: int) -> str:
    place = place_of(finding, source)
    where = source.file if place is None else f"{source.file}:{place.line}:{place.column}"
    code = _COLOURS[finding.severity]
    where, said = harmless(shortened(where)), harmless(shortened(finding.message))
    head = f"{where}: {finding.severity}: {said}  [{finding.rule}]"
    out = _broken(head, room, "  ")
    if colour:
        named = f"{finding.severity}:"  # broken lines are counted without the letters of a colour
        out[0] = out[0].replace(named, f"\x1b[{code}m{finding.severity}\x1b[0m:", 1)
    if place is not None and place.line <= len(lines):
        out += _excerpt(place, lines, code if colour else "", room)
    out += [f"  also: {_also(path, source)}" for path in finding.also]
    out += _said("  why:  ", finding.why, room) if finding.why else []
    out += _hint(finding.hint, room) if finding.hint else []
    return "\n".join(out)


def _hint(text: str, room: int) -> list[str]:
    """One line, or one for each of several ways out."""
    before, these, rest = text.partition(WAYS_OUT)
    surely, colon, ways = rest.partition(": ")
    said = _said("  hint: ", f"{before}{these}{surely}{colon.rstrip()}", room)
    each = ways.split("; ") if these else []
    return said + [line for way in each for line in _said("    - ", way, room)]


def _said(start: str, text: str, room: int) -> list[str]:
    """A sentence behind its mark, its further lines below its first word."""
    first, *others = _broken(harmless(shortened(text)), room - len(start), "")
    return [start + first, *(" " * len(start) + line for line in others)]


def _broken(text: str, room: int, indent: str) -> list[str]:
    if len(text) * 2 <= room:  # no letter is wider than two cells
        return [text]
    return [line.rstrip() for line in wrapped(text, room, indent)]


def _also(path: tuple[str | int, ...], source: Source) -> str:
    return f"line {source.locate(path).line}, `{harmless(shortened(dotted(path)))}`"


def _excerpt(place: Place, lines: Sequence[str], code: str, room: int) -> list[str]:
    """The line before, the line itself, and the caret; a broken line would have it elsewhere."""
    width = len(str(place.line))
    window = min(_WINDOW, room - width - len("   | ……"))
    out = []
    before = lines[place.line - 2] if place.line > 1 else ""
    if before.strip():
        out.append(f"  {place.line - 1:>{width}} | {harmless(before)[:window]}".rstrip())
    line, column = harmless(lines[place.line - 1]), place.column - 1
    if len(line) > window:  # one line of JSON or a forgotten line break: show where it hurts
        start = max(0, min(column - window // 2, len(line) - window))
        end = "…" if start + window < len(line) else ""
        line = ("…" if start else "") + line[start : start + window] + end
        column += 1 - start if start else 0
    out.append(f"  {place.line} | {line}".rstrip())
    marked = line[column : column + place.width]
    caret = _blank(line[:column]) + "^" * max(1, cell_len(marked))
    caret = f"\x1b[{code}m{caret}\x1b[0m" if code else caret
    out.append(f"  {'':>{width}} | {caret}")
    return out


def _blank(text: str) -> str:
    """Blanks as wide as the text; tabs stay tabs, whatever width the terminal gives them."""
    return "".join("\t" if letter == "\t" else " " * cell_len(letter) for letter in text)
