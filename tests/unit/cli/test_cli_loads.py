"""What `--load` leaves beside the spec: written for faults, left alone, removed when cured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.loads import remember_faults
from rigspec.observed.pairs import AllReduceReading, FabricCard, FabricReading, PairReading
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation

STARTER = Path(__file__).resolve().parents[3] / "rigs/starter.yaml"
CARDS = (FabricCard("GPU-a", "pair.0"), FabricCard("GPU-b", "pair.1"))
WAY = PairReading("GPU-a", "GPU-b", 12.0, 16.0, path="host", values_ok=True, moved=True)
SUMS = AllReduceReading("qwen", ("GPU-a", "GPU-b"), 1, 6.0, 6.0, values_ok=True)


def seen(way: PairReading = WAY, *, simulated: bool = False) -> Observation:
    back = replace(WAY, source="GPU-b", target="GPU-a")
    sums = (replace(SUMS, peer_to_peer=False),)
    return Observation(
        fabric=FabricReading("now", "cuda", CARDS, (way, back), (), sums, simulated=simulated)
    )


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "starter.yaml"
    file.write_text(STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    return file


def remember(spec: Path, what: Observation) -> str:
    rig = check_file(str(spec)).rig
    assert rig is not None
    return remember_faults(rig, str(spec), what)


def test_faults_are_written_kept_and_removed(spec: Path) -> None:
    file = spec.with_name("starter.fabric.json")
    assert remember(spec, seen()) == "" and not file.exists()
    assert "written" in remember(spec, seen(replace(WAY, values_ok=False)))
    before = file.read_text(encoding="utf-8")
    assert json.loads(before)["faults"][0]["verdict"] == "wrong data"
    assert remember(spec, seen(replace(WAY, values_ok=False))) == ""
    assert file.read_text(encoding="utf-8") == before
    assert "kept" in remember(spec, seen(replace(WAY, ended="error")))
    assert "removed" in remember(spec, seen()) and not file.exists()


def test_a_virtual_rig_writes_nothing(spec: Path) -> None:
    assert remember(spec, seen(replace(WAY, values_ok=False), simulated=True)) == ""
    assert not spec.with_name("starter.fabric.json").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"rig": "other"}', '{"faults": [{"members": ["x"]}]}']
)
def test_a_list_that_cannot_be_used_is_an_error_of_check(spec: Path, text: str) -> None:
    spec.with_name("starter.fabric.json").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(main, ["check", str(spec)])
    assert result.exit_code == 2
    assert "fabric.faults-unusable" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [["verify", "--stop-services"], ["burn"], ["burn", "--minutes", "0"]],
)
def test_wrong_use_is_usage(spec: Path, words: list[str]) -> None:
    assert CliRunner().invoke(main, [words[0], str(spec), *words[1:]]).exit_code == 2
