"""The verify stage saves what it read, for whoever named a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fakehost import FakeHost, on, run

from rigspec.facts.observe import Everything, of
from rigspec.observed.endpoint import ServedModel
from rigspec.observed.record import NOT_ASKED
from rigspec.operations.plans import remember
from rigspec.operations.verify import _print, rig_verified
from rigspec.plan.rig import digest, plan_rig
from rigspec.rules.run import check_file
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.observation_file import OUT_VARIABLE, observation_from_json
from rigspec.verify.verdict import Outcome, Verdict
from rigspec.verify.vram import CardEstimate

HOME = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"


def test_verify_saves_what_it_read_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = check_file(str(HOME)).rig
    assert rig is not None
    plan, file = plan_rig(rig), tmp_path / "seen.json"
    seen = Observation(cpu_vendor="AuthenticAMD")
    monkeypatch.setenv(OUT_VARIABLE, str(file))
    assert run(rig_verified, FakeHost({Everything: seen}), plan=plan) == ["CALL _fail"]
    saved = observation_from_json(file.read_text(encoding="utf-8"))
    assert (saved.rig, saved.plan_digest, saved.observation) == ("home", digest(plan), seen)
    assert file.stat().st_mode & 0o077 == 0
    asked = "".join(map(str, Everything().command(of(plan)).bits))
    assert saved.probe_digest == hashlib.sha256(asked.encode()).hexdigest()


@pytest.mark.parametrize("memory", [(), (CardEstimate("glm", "main.0", 90.0, 85.0, 95.0),)])
def test_memory_that_servers_should_take_has_its_rows(memory: tuple[CardEstimate, ...]) -> None:
    rig = check_file(str(HOME)).rig
    assert rig is not None
    plan = plan_rig(rig)
    remember("home", plan, memory)
    seen = Observation(answers={"glm": Answers(models=(ServedModel("GLM-5.2", NOT_ASKED),))})
    with on(FakeHost({Everything: seen})):
        (command,) = rig_verified._inner(plan=plan)
    found = [verdict.id for verdict in command.args[0]]
    wanted = [f"service.memory.{card.member}" for card in memory]
    assert [id for id in found if id.startswith("service.memory.")] == wanted


@pytest.mark.parametrize(("no_color", "painted"), [("", True), ("1", False)])
def test_what_it_prints_is_plain_for_who_wants_no_colour(
    no_color: str,
    painted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _print((Verdict("host.arch", "architecture", Outcome.PASS),), "box")
    assert ("\x1b[" in capsys.readouterr().err) == painted
