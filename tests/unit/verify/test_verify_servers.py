"""Rows about servers: one that is down, swapped out or without its files is one finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from home_in_order import (
    GOOD,
    LOST,
    PLAN,
    UPKEEP,
    glm,
    host,
    rows,
    unit,
    units,
)

from rigspec.observed.endpoint import HttpAnswer
from rigspec.observed.record import Unknown
from rigspec.verify.verdict import Outcome


def test_a_restart_of_long_ago_is_told_and_needs_nobody() -> None:
    name = "rigspec-glm.service"
    seen = replace(GOOD, host=host(uptime_s=90_000.0), **units(name, n_restarts=3))
    row = rows(seen)[f"units.{name}"]
    assert (row.outcome, row.found) == (
        Outcome.PASS,
        "enabled, active; 3 restarts, the last more than a day ago",
    )


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({}, "it is still starting"),
        (
            {"n_restarts": 4, "result": "exit-code"},
            "it ended with `exit-code` and is started again, 4 times so far",
        ),
    ],
)
def test_a_unit_between_down_and_up_says_which_way(state: dict[str, Any], why: str) -> None:
    name = "rigspec-glm.service"
    row = rows(replace(GOOD, **units(name, active_state="activating", **state)))[f"units.{name}"]
    assert (row.outcome, row.reason) == (Outcome.FAIL, why)


@pytest.mark.parametrize(
    "state",
    [
        {"active_state": "failed", "result": "exit-code"},
        {"load_state": "not-found", "active_state": "inactive"},
    ],
    ids=["failed", "no unit"],
)
def test_a_server_that_is_down_is_one_finding(state: dict[str, Any]) -> None:
    name = "rigspec-glm.service"
    down = units(name, **state)
    silent = glm(models=Unknown("connection refused"), completion=Unknown("connection refused"))
    seen = rows(replace(GOOD, **down, **silent))
    assert [v.id for v in seen.values() if v.outcome is Outcome.FAIL] == [f"units.{name}"]
    assert seen["service.answers.glm"].reason == f"{name} does not run: see its own row"


def test_what_answers_in_place_of_a_server_that_is_down_is_not_judged_as_that_server() -> None:
    seen = rows(replace(GOOD, **units("rigspec-glm.service", active_state="failed")))
    assert seen["service.answers.glm"].outcome is Outcome.NOT_APPLICABLE
    assert "another program" in seen["units.rigspec-glm.service"].reason


@pytest.mark.parametrize(
    ("mounted", "outcome"),
    [
        ({"/srv/t": "there"}, Outcome.PASS),
        ({"/srv/t": "absent"}, Outcome.FAIL),
        ({"/srv/t": "empty"}, Outcome.WARN),
        ({}, Outcome.UNKNOWN),
        (LOST, Outcome.UNKNOWN),
    ],
)
def test_what_a_server_mounts_is_looked_for_whether_it_runs_or_not(
    mounted: Any, outcome: Outcome
) -> None:
    plan = replace(PLAN, services=(replace(PLAN.services[0], mounts=("/srv/t",)),))
    down = units("rigspec-glm.service", active_state="failed")
    seen = replace(GOOD, upkeep=replace(UPKEEP, mounted=mounted), **down)
    assert rows(seen, plan)["service.mounts.glm"].outcome is outcome


def test_a_service_swapped_in_by_hand_takes_the_others_place() -> None:
    changed = units("rigspec-stt.service")["units"]
    changed["rigspec-glm.service"] = unit("rigspec-glm.service", active_state="inactive")
    seen = rows(replace(GOOD, units=changed, answers={}))
    assert seen["units.rigspec-glm.service"].outcome is Outcome.NOT_APPLICABLE
    assert seen["service.answers.glm"].outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("status", "outcome"), [(401, Outcome.PASS), (200, Outcome.FAIL)])
def test_a_service_with_a_key_refuses_whoever_has_none(status: int, outcome: Outcome) -> None:
    services = (replace(PLAN.services[0], secret_path="/etc/rigspec/secrets/glm.env"),)
    said = glm(without_key=HttpAnswer(status, 0.1, ()))
    seen = rows(replace(GOOD, **said), replace(PLAN, services=services))
    assert seen["service.key.glm"].outcome is outcome


@pytest.mark.parametrize("secrets", [LOST, ()], ids=["cut off", "not asked"])
def test_a_planned_key_that_was_not_looked_at_is_unknown(secrets: Any) -> None:
    services = (replace(PLAN.services[0], secret_path="/etc/rigspec/secrets/glm.env"),)
    seen = replace(GOOD, upkeep=replace(UPKEEP, secrets=secrets))
    found = rows(seen, replace(PLAN, services=services))
    for name in ("secrets.mode.glm.env", "secrets.leaked.glm.env"):
        assert found[name].outcome is Outcome.UNKNOWN


def test_a_model_that_does_not_chat_is_not_judged_by_chat() -> None:
    said = glm(completion=Unknown("The model does not support Chat Completions API"))
    assert rows(replace(GOOD, **said))["service.completion.glm"].outcome is Outcome.NOT_APPLICABLE


def test_a_server_that_does_not_run_has_no_order() -> None:
    seen = rows(replace(GOOD, **units("rigspec-glm.service", active_state="inactive")))
    assert seen["boot.order.glm"].outcome is Outcome.NOT_APPLICABLE
