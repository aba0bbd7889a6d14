"""The daily look comes with its field and goes with it; proof and pace only when asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakehost import FakeHost, run

from rigspec.facts.files import Files
from rigspec.facts.managed import AptState, FileState, UnitState
from rigspec.facts.pace import Pace
from rigspec.facts.services import OWN_PATHS, ServiceState
from rigspec.facts.stage import Stage, StageState
from rigspec.observed.pace import PaceRun
from rigspec.observed.record import NOT_ASKED
from rigspec.operations.daily import watched
from rigspec.operations.files import digest
from rigspec.operations.proof import paced, proof_kept
from rigspec.operations.services import planned_paths, stale_files
from rigspec.plan.daily import DAILY_TABLE, DAILY_TIMER
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import DailyPlan, Plan
from rigspec.spec.load import load_text
from rigspec.verify.pace import measured_from_json
from rigspec.verify.variables import PACE_OUT, PACE_STARTS, PROOF_IN, PROOF_OUT

HOME = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"


def plan_of(more: str = "") -> Plan:
    rig = load_text("home.yaml", HOME.read_text(encoding="utf-8") + more).rig
    assert rig is not None
    return plan_rig(rig)


@pytest.fixture(scope="module")
def daily() -> DailyPlan:
    made = plan_of("\nverify: {daily: true}\n").daily
    assert made is not None
    return made


def state(daily: DailyPlan, *, there: bool = True, active: str = "active") -> StageState:
    files = {
        f.dest: FileState(f.mode, "root:root", 1, digest(f.content)) for f in daily.files if there
    }
    timer = UnitState("loaded", active, "waiting", "enabled", False, "success", 9)
    units = {DAILY_TIMER: timer} if there else {}
    return StageState(files, AptState({}, False, {}, ()), units, {}, NOT_ASKED)


def test_a_host_that_has_it_is_left_alone(daily: DailyPlan) -> None:
    host = FakeHost({Stage: state(daily)})
    assert run(watched, host, plan=daily) == []
    assert "once a day" in host.said


def test_a_new_host_is_given_files_and_a_waiting_timer(daily: DailyPlan) -> None:
    written, *steps = run(watched, FakeHost({Stage: state(daily, there=False)}), plan=daily)
    assert DAILY_TABLE in written
    assert [step for step in steps if "-q enable" in step and "daemon-reload" in step]
    assert steps[-1].startswith(f"set -- start {DAILY_TIMER}")


def test_a_changed_table_touches_no_unit(daily: DailyPlan) -> None:
    seen = state(daily)
    old = replace(seen.files[DAILY_TABLE], sha256="0" * 64)
    host = FakeHost({Stage: replace(seen, files={**seen.files, DAILY_TABLE: old})})
    (written,) = run(watched, host, plan=daily)
    assert "systemctl" not in written.partition("<<")[0]


def test_a_changed_timer_is_restarted_for_it_keeps_its_old_times(daily: DailyPlan) -> None:
    seen = state(daily)
    path = f"/etc/systemd/system/{DAILY_TIMER}"
    old = replace(seen.files[path], sha256="0" * 64)
    host = FakeHost({Stage: replace(seen, files={**seen.files, path: old})})
    assert run(watched, host, plan=daily)[-1].startswith(f"set -- restart {DAILY_TIMER}")


def test_an_unreadable_host_is_not_changed(daily: DailyPlan) -> None:
    (said,) = run(watched, FakeHost({Stage: None}), plan=daily)
    assert said.startswith("REFUSED")


def test_turned_off_it_is_removed_with_its_metrics() -> None:
    on, off = plan_of("\nverify: {daily: true}\n"), plan_of()
    assert on.daily is not None
    mine = (*(file.dest for file in on.daily.files), on.daily.metrics_path)
    seen = ServiceState({}, {}, {}, {}, frozenset(), mine)
    assert set(stale_files(off, seen)) == set(mine)
    assert stale_files(on, seen) == ()
    assert on.daily.metrics_path in planned_paths(on)
    # each of them lies where the service stage looks for what it wrote
    from fnmatch import fnmatch

    assert all(any(fnmatch(path, glob) for glob in OWN_PATHS) for path in mine)


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    cards: dict[str, object] = {}
    text = json.dumps(
        {
            "format": "rigspec-proof", "version": 1, "rig": "home", "spec_digest": "s",
            "plan_digest": "p", "rigspec": "0.1.0", "accepted_at": "2026-11-24T21:00:00+00:00",
            "simulated": False, "checks": {"pass": 9}, "kernel": None, "driver": None,
            "library": None, "firmware": {}, "iommu_units": None, "secure_boot": None,
            "cards": cards, "acs": {}, "files": {}, "packages": {}, "held": [], "pace": {},
        }
    ) + "\n"  # fmt: skip
    (tmp_path / "proof.json").write_text(text, encoding="utf-8")
    monkeypatch.setenv(PROOF_IN, str(tmp_path / "proof.json"))
    monkeypatch.setenv(PROOF_OUT, str(tmp_path / "done"))
    return text


def test_the_proof_is_written_as_roots_own_and_only_when_it_differs(proof: str) -> None:
    first = run(proof_kept, FakeHost({Files: {}}), plan=plan_of())
    assert "/etc/rigspec/proof.json" in first[0]
    assert "chown root:root" in first[0]
    there = {"/etc/rigspec/proof.json": FileState("644", "root:root", 1, digest(proof))}
    assert run(proof_kept, FakeHost({Files: there}), plan=plan_of()) == ["CALL _say_done"]


def test_a_damaged_proof_reaches_no_host(
    proof: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proof.json").write_text(proof[:100], encoding="utf-8")
    (said,) = run(proof_kept, FakeHost({}), plan=plan_of())
    assert said.startswith("REFUSED: no proof to give")
    monkeypatch.setenv(PROOF_IN, str(tmp_path / "gone"))
    (said,) = run(proof_kept, FakeHost({}), plan=plan_of())
    assert said.startswith("REFUSED: no proof to give")


RUNS = (PaceRun(0.2, 128, 2.0),)


def test_a_baseline_restarts_each_server_before_each_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACE_STARTS, "3")
    monkeypatch.setenv(PACE_OUT, str(tmp_path / "pace"))
    steps = run(paced, FakeHost({Pace: [RUNS, RUNS, None]}), plan=plan_of())
    assert [step.startswith("set -- restart rigspec-glm.service") for step in steps] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    measured = measured_from_json((tmp_path / "pace").read_text(encoding="utf-8"))
    assert set(measured.services) == {"glm"}  # the other one is started by hand
    assert measured.services["glm"][:2] == (RUNS, RUNS)


def test_without_starts_nothing_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PACE_STARTS, raising=False)
    monkeypatch.setenv(PACE_OUT, str(tmp_path / "pace"))
    assert run(paced, FakeHost({Pace: RUNS}), plan=plan_of()) == []
    assert (tmp_path / "pace").exists()


def test_nothing_is_measured_while_pyinfra_only_asks_what_would_change() -> None:
    assert run(paced, FakeHost({}), executing=False, plan=plan_of()) == []
