"""One bad spec per case beside the whole message an owner sees.

After a wanted change: `RIGSPEC_REWRITE=1 pytest tests/errors`, then read the diff with an owner's
eyes: a golden nobody reads proves nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rigspec.report.findings import as_text
from rigspec.rules.run import check_file

HERE = Path(__file__).parent
CASES = sorted(file.stem for file in HERE.glob("*.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_owner_sees_the_reviewed_message(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    loaded = check_file(f"{case}.yaml")
    said = as_text(loaded.findings, loaded.source) + "\n"
    golden = HERE / f"{case}.txt"
    if os.environ.get("RIGSPEC_REWRITE"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


def test_every_golden_has_its_spec() -> None:
    assert sorted(file.stem for file in HERE.glob("*.txt")) == CASES


@pytest.mark.parametrize("case", CASES)
def test_no_case_repeats_a_secret(case: str) -> None:
    said = (HERE / f"{case}.txt").read_text(encoding="utf-8")
    for secret in ("hf_abcdefghijklmnopqrst", "sk-abcdefghijklmnop1234", "letmein"):
        assert secret not in said
