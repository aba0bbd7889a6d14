"""Rows as a table: long texts go on below in their column, words whole."""

from __future__ import annotations

from rigspec.report.table import MOST, as_table


def test_a_long_text_goes_on_below_in_its_column() -> None:
    long = " ".join(["lanes"] * 20)
    lines = as_table([{"field": "quirks", "value": long, "n": 3}]).splitlines()
    assert lines[0].split() == ["field", "value", "n"]
    assert lines[1].startswith("quirks  lanes") and lines[1].endswith(" 3")
    assert lines[2].startswith("        lanes") and not lines[2].endswith("3")
    assert max(map(len, lines)) <= len("quirks  ") + MOST + len("  3")
    assert " ".join(lines).count("lanes") == 20


def test_a_word_that_someone_may_copy_stays_whole() -> None:
    digest = "sha256:" + "a" * 64
    assert digest in as_table([{"field": "image", "value": digest}])


def test_numbers_stand_to_the_right_and_the_unknown_is_said() -> None:
    lines = as_table([{"name": "a", "n": 7}, {"name": "b", "n": None}]).splitlines()
    assert [line[-1] for line in lines] == ["n", "7", "?"]
    assert as_table([]) == ""
