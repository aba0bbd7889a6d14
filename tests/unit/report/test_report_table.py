"""Rows as a table: long texts go on below in their column, words whole."""

from __future__ import annotations

import pytest

from rigspec.report.catalog import rows_of
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


@pytest.mark.parametrize(
    ("table", "name"),
    [("gpus", None), ("models", None), ("boards", None), ("switches", None), ("circuits", None),
     ("gpus", "rtx-3090"), ("boards", "wrx90e-sage")],
)  # fmt: skip
def test_a_terminal_of_80_columns_gets_every_word_whole_in_lines_of_its_own(
    table: str, name: str | None
) -> None:
    rows = rows_of(table, name)
    lines = as_table(rows, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sorted(" ".join(lines).split()) == sorted(as_table(rows).split())
    assert as_table(rows, 200) == as_table(rows)


def test_names_too_wide_for_the_terminal_stand_above_their_rows() -> None:
    rows = [{"sku": "a-card-with-a-long-name", "W": 7}, {"sku": "b", "W": None}]
    assert as_table(rows, 20).splitlines() == [
        "sku", "  W", "a-card-with-a-long-name", "  7", "b", "  ?",
    ]  # fmt: skip


def test_rows_too_wide_for_any_column_are_told_value_by_value() -> None:
    rows = [
        {"TP": 1, "verdict": "fits", "bound by": "bandwidth"},
        {"TP": 2, "verdict": "no", "bound by": ""},
    ]
    assert as_table(rows, 12).splitlines() == [
        "TP 1", "verdict fits", "bound by", "  bandwidth", "", "TP 2", "verdict no",
    ]  # fmt: skip
