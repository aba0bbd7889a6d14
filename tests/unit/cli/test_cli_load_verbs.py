"""`verify --load` and `burn` to their end, with a look that was saved instead of a host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.loads import LOAD_VARIABLE, failed_load
from rigspec.observed.load import CardLoad, LoadReading, Spread
from rigspec.observed.pairs import AllReduceReading, FabricCard, FabricReading, PairReading
from rigspec.observed.record import Unknown
from rigspec.plan.rig import digest, plan_rig
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import SavedObservation, observation_to_json

STARTER = Path(__file__).resolve().parents[3] / "rigs/starter.yaml"
RIG = check_file(str(STARTER)).rig
assert RIG is not None
PLAN = plan_rig(RIG)
UUID = {gpu.member: f"GPU-{n}" for n, gpu in enumerate(PLAN.preflight.gpus)}
STEADY = Spread(60, 60, 60)
WIDE = 16


def burnt(**first: Any) -> LoadReading:
    cards = [
        CardLoad(
            UUID[gpu.member], gpu.member, STEADY, STEADY, STEADY,
            Spread(1, gpu.link_generation, gpu.link_generation),
            Spread(WIDE, WIDE, WIDE), (), 70.0, 0, 0,
        )
        for gpu in PLAN.preflight.gpus
    ]  # fmt: skip
    cards[0] = replace(cards[0], **first)
    return LoadReading("now", "burn", 5, "done", "", 88, tuple(cards), ())


FAILED = LoadReading("now", "burn", 5, "error", "no such image", 88)


@pytest.mark.parametrize(("run", "code"), [(burnt(), 0), (FAILED, 3), (Unknown("gone"), 3)])
def test_a_load_that_was_wished_for_and_failed_does_not_end_with_0(run: Any, code: int) -> None:
    assert failed_load(run) == code


def measured(**first: Any) -> FabricReading:
    one, other = UUID.values()
    way = PairReading(one, other, 12.0, 24.0, path="host", values_ok=True, moved=True)
    sums = AllReduceReading("qwen", (one, other), 1, 6.0, 6.0, values_ok=True, peer_to_peer=False)
    cards = tuple(FabricCard(uuid, member) for member, uuid in UUID.items())
    ways = (replace(way, **first), replace(way, source=other, target=one))
    return FabricReading("now", "cuda", cards, ways, (), (sums,))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "starter.yaml"
    file.write_text(STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    return file


Asked = list[dict[str, str]]


def answering(monkeypatch: pytest.MonkeyPatch, seen: Observation) -> Asked:
    """The deploy that makes load answers with this look; what it was told is remembered."""
    asked: Asked = []
    text = observation_to_json(SavedObservation("starter", digest(PLAN), "now", seen))

    def carried(*words: Any, **_: Any) -> str:
        asked.append({"deploy": words[2], **words[4]})
        return text

    monkeypatch.setattr("rigspec.loads.carried", carried)
    return asked


def test_a_good_burn_ends_well(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, Observation(burn=burnt()))
    result = CliRunner().invoke(main, ["burn", str(spec), "--minutes", "5", "--all"])
    assert result.exit_code == 0, result.output
    assert "9 checks: 9 pass" in result.output  # its end, 3 of each card, alike, errors
    assert asked == [{"deploy": "load.py", LOAD_VARIABLE: "burn 5"}]


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (Observation(burn=burnt(wrong=3)), 1, "3 wrong"),
        (Observation(burn=Unknown("gone")), 3, ""),
        (Observation(burn=FAILED), 3, "no such image"),
    ],
)
def test_a_bad_burn_and_an_unread_one_say_so(
    spec: Path, monkeypatch: pytest.MonkeyPatch, seen: Observation, code: int, words: str
) -> None:
    asked = answering(monkeypatch, seen)
    command = ["burn", str(spec), "--minutes", "5", "--stop-services"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == code, result.output
    assert words in result.output
    assert asked[0][LOAD_VARIABLE] == "burn 5 --stop-services"


@pytest.mark.parametrize("bad", [False, True])
def test_verify_with_load_judges_it_and_remembers_faults(
    spec: Path, monkeypatch: pytest.MonkeyPatch, bad: bool
) -> None:
    asked = answering(monkeypatch, Observation(fabric=measured(values_ok=not bad)))
    result = CliRunner().invoke(main, ["verify", str(spec), "--load", "--all"])
    assert asked == [{"deploy": "load.py", LOAD_VARIABLE: "fabric"}]
    assert "Traceback" not in result.output and result.exit_code in {1, 3}, result.output
    assert ("wrong data" in result.output) == bad
    assert spec.with_name("starter.fabric.json").exists() == bad


@pytest.mark.parametrize("sound", [True, False])
def test_verify_reads_weights_again_where_it_is_asked_to_and_judges_what_it_found(
    spec: Path, monkeypatch: pytest.MonkeyPatch, sound: bool
) -> None:
    asked = answering(monkeypatch, Observation(models={"qwen": sound}))
    result = CliRunner().invoke(main, ["verify", str(spec), "--weights", "--all"])
    assert asked == [{"deploy": "load.py", LOAD_VARIABLE: "weights"}]
    said = " ".join(result.output.split())
    assert ("missing or damaged" in said) != sound
    assert not spec.with_name("starter.fabric.json").exists()


def test_weights_come_before_the_load_and_a_saved_look_has_none(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, Observation())
    CliRunner().invoke(main, ["verify", str(spec), "--load", "--weights"])
    assert [one[LOAD_VARIABLE] for one in asked] == ["weights", "fabric"]
    refused = CliRunner().invoke(main, ["verify", str(spec), "--weights", "--observed", "-"])
    assert refused.exit_code == 2
    assert "a saved look has no host" in refused.output


def test_weights_that_no_hub_lists_are_refused_before_a_host_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answering(monkeypatch, Observation())
    home = STARTER.with_name("home.yaml")  # its weights are given by `path`
    result = CliRunner().invoke(main, ["verify", str(home), "--weights"])
    assert result.exit_code == 2
    assert "no model in" in result.output and "comes from a hub" in result.output
    assert asked == []
