"""`python -m benchmarks.check` measures; the goals themselves are judged on a quiet machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.check.__main__ import main

STARTER = str(Path(__file__).parents[3] / "rigs" / "starter.yaml")


def test_a_check_is_small_and_the_table_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([STARTER, "--runs", "1", "--specs", "3", "--json", str(tmp_path / "o.json")])
    single, many = json.loads((tmp_path / "o.json").read_text())
    assert 10 < single["rss_mb"] < 80, "the memory goal holds on a busy machine too"
    assert many["what"] == "3 specs, one process"
    assert many["rss_mb"] < 80
    assert "| `rigspec check starter.yaml` |" in capsys.readouterr().out
    met = all(cost["wall_s"] <= cost["goal_s"] for cost in (single, many))
    assert code == (0 if met else 1)


def test_a_spec_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["none.yaml"])
    assert ended.value.code == 2
    assert "no such file: none.yaml" in capsys.readouterr().err
