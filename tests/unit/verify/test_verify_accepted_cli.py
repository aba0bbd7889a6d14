"""`rigspec accept`, `baseline` and `drift`: files beside the spec, words, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from home_faults import FAULTS
from home_in_order import PLAN, UUIDS, host
from test_verify_drift import ACCEPTED

from rigspec.cli import main
from rigspec.observed.pace import PaceRun
from rigspec.observed.record import Unknown
from rigspec.plan.rig import digest
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import (
    OUT_VARIABLE,
    SavedObservation,
    observation_to_json,
)
from rigspec.verify.pace import Measured, measured_to_json
from rigspec.verify.variables import PACE_OUT, PROOF_IN, PROOF_OUT

SPEC = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"
RED = replace(ACCEPTED, **FAULTS["link at x8"][1])


def green(**changes: Any) -> Observation:
    return replace(ACCEPTED, **changes)


def saved(seen: Observation, rig: str = "home", plan: str | None = None) -> str:
    head = (rig, plan or digest(PLAN), "2026-11-24T21:00:00+00:00")
    return observation_to_json(SavedObservation(*head, seen))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return Path(shutil.copy(SPEC, tmp_path / "home.yaml"))


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=stdin)


def accepted(spec: Path) -> dict[str, Any]:
    result = run("accept", str(spec), "--observed", "-", stdin=saved(green()))
    assert result.exit_code == 0, result.output
    text = spec.with_name("home.proof.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def test_a_green_run_becomes_a_proof_beside_the_spec(spec: Path) -> None:
    proof = accepted(spec)
    assert (proof["format"], proof["version"], proof["rig"]) == ("rigspec-proof", 1, "home")
    assert proof["plan_digest"] == digest(PLAN)
    assert [card["uuid"] for card in proof["cards"].values()] == list(UUIDS)
    assert set(proof["checks"]) <= {"pass", "warn", "not-applicable"}


def test_the_same_run_is_the_same_text(spec: Path) -> None:
    accepted(spec)
    first = spec.with_name("home.proof.json").read_bytes()
    accepted(spec)
    assert spec.with_name("home.proof.json").read_bytes() == first


def test_nothing_private_gets_into_the_proof(spec: Path) -> None:
    accepted(spec)
    text = spec.with_name("home.proof.json").read_text(encoding="utf-8")
    for private in ("192.0.2", "BOOT_IMAGE", "secret", "boot_id", "sda1"):
        assert private not in text


@pytest.mark.parametrize(
    ("seen", "code", "word"),
    [
        (RED, 1, "pcie.width.main.1"),
        (green(tree=Unknown("cut off")), 3, "pcie.acs"),
    ],
    ids=["red", "unknown"],
)
def test_a_run_that_is_not_green_is_refused_by_name(
    seen: Observation, code: int, word: str, spec: Path
) -> None:
    result = run("accept", str(spec), "--observed", "-", stdin=saved(seen))
    assert result.exit_code == code
    assert word in result.output
    assert not spec.with_name("home.proof.json").exists()


@pytest.mark.parametrize(
    "text",
    ["nonsense", saved(green(), rig="other"), saved(green(), plan="0" * 64)],
    ids=["no look", "other rig", "other plan"],
)
def test_a_look_that_proves_nothing_ends_with_2(text: str, spec: Path) -> None:
    result = run("accept", str(spec), "--observed", "-", stdin=text)
    assert result.exit_code == 2
    assert not spec.with_name("home.proof.json").exists()


def test_drift_says_what_changed_since_the_proof(spec: Path) -> None:
    accepted(spec)
    same = run("drift", str(spec), "--observed", "-", stdin=saved(green()))
    assert (same.exit_code, same.stdout) == (
        0,
        "no drift since the run accepted at 2026-11-24T21:00:00+00:00\n",
    )
    moved = green(host=host(release="6.13.1"))
    result = run("drift", str(spec), "--observed", "-", stdin=saved(moved))
    assert result.exit_code == 1
    assert "DRIFT: another kernel runs than was accepted" in result.output
    assert "accepted 6.12, running 6.13.1" in result.output
    data = json.loads(
        run("drift", str(spec), "--json", "--observed", "-", stdin=saved(moved)).stdout
    )
    assert (data["format"], data["exit_code"]) == ("rigspec-drift", 1)
    assert "kernel-update" in {change["kind"] for change in data["changes"]}


def test_without_a_proof_drift_is_not_measured(spec: Path) -> None:
    result = run("drift", str(spec), "--observed", "-", stdin=saved(green()))
    assert result.exit_code == 3
    assert "rigspec accept" in result.output


def older(text: str) -> str:
    return text.replace('"version": 1', '"version": 0')


def foreign(text: str) -> str:
    return text.replace('"rig": "home"', '"rig": "attic"')


def cut(text: str) -> str:
    return text[: len(text) // 2]


def wrong_type(text: str) -> str:
    return text.replace('"simulated": false', '"simulated": "no"')


def strange(text: str) -> str:
    return '{"format": "x"}'


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (older, "has version 0"),
        (foreign, "the proof of the rig `attic`"),
        (cut, "no JSON"),
        (wrong_type, "simulated must be true or false"),
        (strange, "no proof of a rig"),
    ],
)
def test_a_proof_that_cannot_be_used_is_said_with_its_file(
    damage: Callable[[str], str], said: str, spec: Path
) -> None:
    accepted(spec)
    file = spec.with_name("home.proof.json")
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    result = run("drift", str(spec), "--observed", "-", stdin=saved(green()))
    assert result.exit_code == 2
    assert said in result.output
    assert "home.proof.json" in result.output
    assert "Traceback" not in result.output


def test_a_proof_that_is_not_text_is_said(spec: Path) -> None:
    spec.with_name("home.proof.json").write_bytes(b"\xff\xfe")
    result = run("drift", str(spec), "--observed", "-", stdin=saved(green()))
    assert result.exit_code == 2
    assert "cannot be read" in result.output


def measured(*rates: float, plan: str | None = None) -> str:
    starts = tuple((PaceRun(0.2, 101, 100 / rate),) for rate in rates)
    at = "2026-11-24T22:00:00+00:00"
    return measured_to_json(Measured("home", plan or digest(PLAN), at, {"glm": starts}))


def test_a_baseline_is_stored_in_the_proof_and_kept_by_the_next(spec: Path) -> None:
    accepted(spec)
    result = run("baseline", str(spec), "--measured", "-", stdin=measured(50, 51, 49))
    assert result.exit_code == 0, result.output
    assert "floor 45.0 tok/s" in result.output
    assert accepted(spec)["pace"]["glm"]["tokens_per_s"] == 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (measured(50), "no spread"),
        (measured(50, 51, plan="0" * 64), "not of one plan"),
        ("nonsense", "no JSON"),
    ],
    ids=["one start", "another plan", "damaged"],
)
def test_a_baseline_that_proves_nothing_is_refused(text: str, said: str, spec: Path) -> None:
    accepted(spec)
    result = run("baseline", str(spec), "--measured", "-", stdin=text)
    assert result.exit_code == 2
    assert said in result.output


def test_a_baseline_needs_an_accepted_run_and_a_yes(spec: Path) -> None:
    result = run("baseline", str(spec), "--measured", "-", stdin=measured(50, 51))
    assert result.exit_code == 2
    assert "rigspec accept" in result.output
    accepted(spec)
    refused = run("baseline", str(spec), stdin="n\n")
    assert refused.exit_code == 1
    assert "restart glm 3 times now?" in refused.output


@pytest.fixture
def reachable(spec: Path) -> Path:
    text = spec.read_text(encoding="utf-8")
    spec.write_text(text.replace("  # address: 192.0.2.10", "  address: 192.0.2.10"), "utf-8")
    return spec


class Pyinfra:
    """Stands for the subprocess: knows which deploy it was, and writes what that would."""

    def __init__(self, **texts: str) -> None:
        self.texts = {"verify": saved(green()), "proof": "/etc/rigspec/proof.json"} | texts
        self.deploys: list[str] = []
        self.given: list[str] = []

    def __call__(self, argv: list[str], *, env: dict[str, str], **_: Any) -> Any:
        deploy = Path(argv[-3]).stem
        self.deploys.append(deploy)
        out = {"verify": OUT_VARIABLE, "proof": PROOF_OUT, "pace": PACE_OUT}[deploy]
        if deploy == "proof":
            self.given.append(Path(env[PROOF_IN]).read_text(encoding="utf-8"))
        if self.texts[deploy]:
            Path(env[out]).write_text(self.texts[deploy], encoding="utf-8")
        return subprocess.CompletedProcess(argv, 0, "", "no route to host\n")


def test_the_host_is_given_the_proof(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyinfra = Pyinfra()
    monkeypatch.setattr(subprocess, "run", pyinfra)
    result = run("accept", str(reachable))
    assert result.exit_code == 0, result.output
    assert pyinfra.deploys == ["verify", "proof"]
    stored = reachable.with_name("home.proof.json").read_text(encoding="utf-8")
    assert pyinfra.given == [stored]


def test_a_host_that_cannot_be_given_the_proof_is_said(
    reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Pyinfra(proof=""))
    result = run("accept", str(reachable))
    assert result.exit_code == 3
    assert "no route to host" in result.output


@pytest.mark.parametrize(("rate", "code"), [(49, 0), (40, 1)])
def test_verify_holds_the_pace_against_the_baseline_only_when_asked(
    rate: float, code: int, reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(reachable)
    run("baseline", str(reachable), "--measured", "-", stdin=measured(50, 51, 49))
    pyinfra = Pyinfra(pace=measured(rate))
    monkeypatch.setattr(subprocess, "run", pyinfra)
    result = run("verify", str(reachable), "--pace", "--all")
    assert result.exit_code == code, result.output
    assert f"{rate:.1f} tok/s" in result.output
    assert sorted(pyinfra.deploys) == ["pace", "verify"]
    assert "tok/s" not in run("verify", str(reachable), "--all").stdout


def test_a_saved_look_has_no_pace(spec: Path) -> None:
    result = run("verify", str(spec), "--pace", "--observed", "-", stdin=saved(green()))
    assert result.exit_code == 2
    assert "a saved look has no host" in result.output
