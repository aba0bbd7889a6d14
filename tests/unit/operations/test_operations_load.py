"""Load is made only on request, as a job of the host, and only where there is something to load."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fakehost import FakeHost, run

from rigspec.operations import load
from rigspec.operations.load import IS_STARTED, MEASURING_S, load_job, load_made
from rigspec.plan.fabric import LOAD
from rigspec.plan.rig import plan_rig
from rigspec.rules.run import check_file

HOME = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"
RIG = check_file(str(HOME)).rig
assert RIG is not None
PLAN = plan_rig(RIG)
TWO_CARDS = check_file(str(HOME.with_name("starter.yaml"))).rig
assert TWO_CARDS is not None
STARTER = plan_rig(TWO_CARDS)


def test_the_job_runs_the_hosts_script_and_outlives_the_burn() -> None:
    fabric, burn = load_job("fabric"), load_job("burn 90 --stop-services")
    assert (fabric.name, fabric.argv) == ("load-fabric", (LOAD, "fabric"))
    assert (burn.name, burn.argv) == ("load-burn", (LOAD, "burn", "90", "--stop-services"))
    assert burn.timeout_s == 90 * 60 + MEASURING_S
    assert "90 minutes" in burn.title
    assert "systemctl stop rigspec-job-load-burn" in burn.hint


@pytest.mark.parametrize(
    "wish",
    [
        "weights --stop-services",
        "",
        "burn",
        "burn 0",
        "burn 99999",
        "fabric; reboot",
        "burn -1",
        "fabric --force",
    ],
)
def test_another_wish_is_refused_before_anything_runs(wish: str) -> None:
    (said,) = run(load_made, FakeHost({}), plan=PLAN, wish=wish)
    assert said.startswith("REFUSED") and "burn MINUTES" in said


def test_weights_are_read_again_by_their_script_even_where_nothing_can_be_measured() -> None:
    alone = replace(STARTER, fabric=replace(STARTER.fabric, files=()))
    (start, wait) = run(load_made, FakeHost({}), plan=alone, wish="weights")
    assert "fetch-model" in start and start.rstrip().splitlines()[0].endswith("--rehash")
    assert wait == "CALL _wait"
    host = FakeHost({})
    assert run(load_made, host, executing=False, plan=alone, wish="weights") == []
    assert "executes" in host.said


def test_weights_that_no_hub_lists_cannot_be_compared() -> None:
    (said,) = run(load_made, FakeHost({}), plan=replace(STARTER, models=()), wish="weights")
    assert said.startswith("REFUSED") and "no model comes from a hub" in said


def test_nothing_to_measure_with_is_refused() -> None:
    bare = replace(PLAN, fabric=replace(PLAN.fabric, files=()))
    (said,) = run(load_made, FakeHost({}), plan=bare, wish="fabric")
    assert said.startswith("REFUSED") and "nothing to measure with" in said


def test_a_dry_run_makes_no_load() -> None:
    host = FakeHost({})
    assert run(load_made, host, executing=False, plan=PLAN, wish="burn 5") == []
    assert "executes" in host.said


def test_stopped_services_are_waited_for_after_the_job() -> None:
    alone = run(load_made, FakeHost({}), plan=PLAN, wish="fabric")
    stopped = run(load_made, FakeHost({}), plan=PLAN, wish="fabric --stop-services")
    assert any(LOAD in command for command in alone)
    assert "CALL _wait_again" not in alone
    assert stopped[-1] == "CALL _wait_again" and len(stopped) == len(alone) + 1


@pytest.mark.parametrize(
    ("state", "runs"),
    [("active", True), ("activating", True), ("inactive", False), ("failed", False)],
)
def test_a_service_on_its_way_counts_as_started(tmp_path: Path, state: str, runs: bool) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "is-active -- glm.service" ] && echo {state}\n')
    tool.chmod(0o755)
    script = ["sh", "-c", f"set -- glm.service\n{IS_STARTED}"]
    done = subprocess.run(script, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (done.returncode == 0) is runs


def test_only_services_that_run_are_waited_for_and_one_that_stays_silent_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = PLAN.services
    running, silent, waited = {first.unit}, set[str](), list[str]()

    def answers(_state: object, _host: object, unit: str, _url: str, _limit: float) -> bool:
        waited.append(unit)
        return unit not in silent

    monkeypatch.setattr(load, "run_on", lambda _, c: (any(u in str(c) for u in running), None))
    monkeypatch.setattr(load, "wait_until_answers", answers)
    wait = load._wait_again
    assert wait(None, None, PLAN.services)  # type: ignore[arg-type]
    assert waited == [first.unit]
    running.add(second.unit)
    silent.add(first.unit)
    assert not wait(None, None, PLAN.services)  # type: ignore[arg-type]
    assert waited == [first.unit, first.unit]  # the second is not asked: the run has failed
