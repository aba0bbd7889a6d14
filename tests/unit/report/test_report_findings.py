"""Carets under the right letter, summaries, JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len

from rigspec.finding import WAYS_OUT, Finding, Severity, error, note, warning
from rigspec.report.findings import as_json, as_records, as_text, summary
from rigspec.rules.run import check_file
from rigspec.spec.slips import unreadable
from rigspec.spec.source import Source, parse

ERRORS = Path(__file__).resolve().parents[2] / "errors"


def said(text: str, *found: Finding, colour: bool = False) -> list[str]:
    return as_text(found, parse("rig.yaml", text)[0], colour=colour).splitlines()


def caret_cell(lines: list[str], word: str) -> tuple[int, int]:
    """Terminal cell where the word begins and where the caret begins (tabs as one cell)."""
    caret = next(i for i, line in enumerate(lines) if line.strip("| ^\t") == "" and "^" in line)
    source = lines[caret - 1]
    return cell_len(source[: source.index(word)]), cell_len(lines[caret].partition("^")[0])


def test_form_is_place_sentence_source_caret_why_hint() -> None:
    found = error("power.limit", ("a", "b"), "too much", why="it burns", hint="less")
    assert said("a:\n  b: 500\n", found) == [
        "rig.yaml:2:6: error: too much  [power.limit]",
        "  1 | a:",
        "  2 |   b: 500",
        "    |      ^^^",
        "  why:  it burns",
        "  hint: less",
        "",
        "1 error in rig.yaml",
    ]


@pytest.mark.parametrize(
    "before", ["", "x: 1, ", '"日本語": 1, ', '"é": 1, ', '"e\u0301": 1, ', '"👍🏽": 2, ']
)
def test_caret_stands_under_the_value_whatever_is_before_it(before: str) -> None:
    lines = said(f"{{{before}bad: value}}\n", error("r.x", ("bad",), "m"))
    at_word, at_caret = caret_cell(lines, "value")
    assert at_word == at_caret


def test_caret_line_copies_tabs() -> None:
    lines = said('{a: "x\ty", bad: value}\n', error("r.x", ("bad",), "m"))
    source = next(line for line in lines if "value" in line)
    caret = lines[lines.index(source) + 1]
    assert source[: source.index("value")].count("\t") == caret.count("\t") == 1
    assert caret.index("\t") == source.index("\t")


def test_caret_is_as_wide_as_wide_letters() -> None:
    lines = said("bad: 日本\n", error("r.x", ("bad",), "m"))
    assert "^" * 4 in lines[2]


def test_long_line_is_cut_around_the_place() -> None:
    lines = said("a: [" + "x, " * 400 + "value]\n", error("r.x", ("a", 400), "m"))
    at_word, at_caret = caret_cell(lines, "value")
    assert at_word == at_caret
    assert max(cell_len(line) for line in lines) < 200


def test_findings_come_in_the_order_of_the_file_errors_first() -> None:
    found = (
        note("r.note", ("b",), "n"),
        warning("r.late", ("c",), "w"),
        error("r.error", ("b",), "e"),
        error("r.first", ("a",), "e"),
    )
    heads = [line for line in said("a: 1\nb: 2\nc: 3\n", *found) if line.startswith("rig.yaml:")]
    assert [h.rpartition("[")[2] for h in heads] == ["r.first]", "r.error]", "r.note]", "r.late]"]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ((), "x: ok"),
        ((error("a.b", (), ""),) * 2 + (warning("a.b", (), ""),), "2 errors, 1 warning in x"),
        ((warning("a.b", (), ""), note("a.b", (), "")), "x: ok (1 warning, 1 note)"),
    ],
)
def test_summary_counts(found: tuple[Finding, ...], line: str) -> None:
    assert summary(found, "x") == line


def test_other_places_are_named_by_line() -> None:
    found = Finding(Severity.ERROR, "a.b", ("b",), "m", also=(("a",),))
    assert "  also: line 1, `a`" in said("a: 1\nb: 2\n", found)


def test_whole_file_finding_has_no_line_and_no_excerpt() -> None:
    lines = as_text((unreadable("gone", "look"),), Source("x.yaml", "")).splitlines()
    assert lines[0] == "x.yaml: error: gone  [yaml.unreadable]"
    assert lines[1] == "  hint: look"


def test_colour_only_wraps_and_plain_text_has_no_escape() -> None:
    found = error("a.b", ("a",), "m")
    plain, coloured = said("a: 1\n", found), said("a: 1\n", found, colour=True)
    assert not any("\x1b" in line for line in plain)
    assert "\x1b[31;1merror\x1b[0m" in coloured[0]


def test_spec_cannot_steer_the_terminal() -> None:
    lines = said('"a\\e[2J": 1\n', error("a.b", ("a\x1b[2J",), "unknown `a\x1b[2J\u202e`"))
    assert not any(mark in "".join(lines) for mark in ("\x1b", "\u202e"))


def test_json_has_the_promised_keys_and_path_text() -> None:
    source = parse("rig.yaml", "a:\n  - b: 1\n")[0]
    found = (error("a.b", ("a", 0, "b"), "m", why="w", hint="h"), unreadable("gone", "look"))
    records = json.loads(as_json(as_records(found, source)))
    assert records[1] == {
        "rule": "a.b", "severity": "error", "file": "rig.yaml", "line": 2, "column": 8,
        "path": "a[0].b", "message": "m", "why": "w", "hint": "h",
    }  # fmt: skip
    assert (records[0]["line"], records[0]["column"]) == (1, 1)


def test_ways_out_stand_one_per_line_and_in_json_as_one_string() -> None:
    hint = (
        f"the first start decides; {WAYS_OUT}may fit: less context: `a: 1` (x, y); more GPUs: `b`"
    )
    found = (error("a.b", ("a",), "m", hint=hint),)
    source = parse("f.yaml", "a: 1\n")[0]
    assert as_text(found, source).splitlines()[-5:-2] == [
        "  hint: the first start decides; any one of these may fit:",
        "    - less context: `a: 1` (x, y)",
        "    - more GPUs: `b`",
    ]
    assert as_records(found, source)[0]["hint"] == hint


@pytest.mark.parametrize("case", sorted(ERRORS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_terminal_of_80_columns_gets_the_same_words_and_the_caret_in_its_place(
    case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ERRORS)
    loaded = check_file(case.name)
    wide, narrow = (
        as_text(loaded.findings, loaded.source, loaded.unchecked, columns=columns)
        for columns in (None, 80)
    )
    spoken = [
        [word for line in text.splitlines() if " | " not in line for word in line.split()]
        for text in (wide, narrow)
    ]
    assert spoken[0] == spoken[1]
    assert [line for line in narrow.splitlines() if cell_len(line) > 80 and " " in line[8:]] == []
    for before, caret in pairwise(narrow.splitlines()):
        if set(caret.partition("| ")[2].strip()) == {"^"}:
            assert caret.index("^") <= cell_len(before)
