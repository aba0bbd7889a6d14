"""The rows owners meet (symptom_rows.yaml): each has a detector, and its own words lead to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rigspec.discover.capture import capture_text
from rigspec.doctor.diagnose import diagnose
from rigspec.doctor.table import all_symptoms

ROWS: dict[str, dict[str, str]] = yaml.load(  # noqa: TID251 - our own data, a safe loader
    Path(__file__).with_name("symptom_rows.yaml").read_text(), yaml.CSafeLoader
)


def test_every_row_has_a_detector_and_no_detector_is_without_a_row() -> None:
    assert set(ROWS) == {symptom.row for symptom in all_symptoms()}


@pytest.mark.parametrize("row", [row for row, how in ROWS.items() if "text" in how])
def test_words_owners_meet_lead_to_their_row(row: str) -> None:
    text = ROWS[row]["text"]
    found = {d.symptom.row: d for d in diagnose(capture_text("said.txt", text))}
    assert row in found, sorted(found)
    shown = found[row].evidence[0]
    assert shown.file == "said.txt"
    assert shown.text[:20] in text.split("\n")[shown.line - 1].replace("\t", " ")


@pytest.mark.parametrize("row", [row for row, how in ROWS.items() if "text" not in how])
def test_row_without_words_is_read_by_a_check(row: str) -> None:
    assert ROWS[row]["read"]
    assert any(symptom.check for symptom in all_symptoms() if symptom.row == row)


def test_memory_errors_and_wanted_recovery_of_a_card_are_named() -> None:
    log = "\n".join([
        "GPU 00000000:10:1C.0",
        "    GPU UUID                              : GPU-5eed0000-1",
        "    GPU Recovery Action                   : Drain and Reset",
        "    Remapped Rows",
        "        Pending                           : Yes",
        "",
    ])  # fmt: skip
    rows = {d.symptom.row for d in diagnose(capture_text("q.txt", log))}
    assert {"Xid 48", "Xid 154"} <= rows
    well = log.replace("Yes", "No").replace("Drain and Reset", "None")
    assert not diagnose(capture_text("q.txt", well))
