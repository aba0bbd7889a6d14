"""A unit that is down says what brings it up; a rival that keeps ending is named in its stead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from home_in_order import GLM, GOOD, PLAN, glm, gpu, rows, tree, unit

from rigspec.observed.exposure import ContainerImage, Listener
from rigspec.observed.record import Unknown
from rigspec.report.drift import as_text
from rigspec.report.verdicts import folded
from rigspec.verify.change import Change
from rigspec.verify.completions import NO_ANSWER
from rigspec.verify.drift import Drift, find_drift
from rigspec.verify.drift_host import units as units_of
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.units import bring_up
from rigspec.verify.verdict import Outcome

DOWN = {"active_state": "inactive", "sub_state": "dead"}
SILENT = Unknown("connection refused")


def seen_with(*, main: dict[str, Any], rival: dict[str, Any], **more: Any) -> Observation:
    assert isinstance(GOOD.units, dict)
    changed = {
        "rigspec-glm.service": unit("rigspec-glm.service", **main),
        "rigspec-stt.service": unit("rigspec-stt.service", **rival),
    }
    return replace(GOOD, units={**GOOD.units, **changed}, **({"answers": {}} | more))


ENDING: dict[str, dict[str, Any]] = {
    "failed": {"active_state": "failed", "result": "exit-code", "n_restarts": 1},
    "between two starts": {"active_state": "activating", "n_restarts": 7},
    "up for a moment": {"n_restarts": 7},
}


@pytest.mark.parametrize("state", ENDING)
def test_a_rival_that_keeps_ending_is_the_one_finding(state: str) -> None:
    said = {"glm": replace(GLM, models=SILENT), "stt": Answers(models=SILENT, completion=SILENT)}
    seen = seen_with(main=DOWN, rival=ENDING[state], answers=said)
    red = [row for row in rows(seen).values() if row.outcome in {Outcome.FAIL, Outcome.UNKNOWN}]
    assert [row.id for row in red] == ["units.rigspec-stt.service"]
    assert "started in place of glm and keeps ending" in red[0].reason
    assert "journalctl -u rigspec-stt" in red[0].next_action
    assert "systemctl start rigspec-glm" in red[0].next_action
    assert "keeps ending" in rows(seen)["units.rigspec-glm.service"].reason
    (change,) = units_of(PLAN, seen)
    assert (change.subject, change.next_action) == ("rigspec-stt.service", red[0].next_action)


def test_a_rival_that_failed_long_ago_blames_nobody() -> None:
    seen = seen_with(main={}, rival=ENDING["failed"], answers={"glm": GLM})
    assert rows(seen)["units.rigspec-glm.service"].outcome is Outcome.PASS
    assert rows(seen)["units.rigspec-stt.service"].outcome is Outcome.NOT_APPLICABLE
    crashed = seen_with(main=ENDING["failed"], rival=ENDING["failed"])
    assert rows(crashed)["units.rigspec-glm.service"].outcome is Outcome.FAIL
    assert list(units_of(PLAN, seen)) == []


def test_a_rival_that_has_recovered_or_is_starting_is_in_place() -> None:
    answering = {"stt": GLM}
    for rival, said in (({"n_restarts": 1}, answering), ({"active_state": "activating"}, {})):
        seen = seen_with(main=DOWN, rival=rival, answers=said)
        assert "runs in its place" in rows(seen)["units.rigspec-glm.service"].reason
        assert list(units_of(PLAN, seen)) == []


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (DOWN, "systemctl start x; look at: "),
        ({**DOWN, "unit_file_state": "disabled"}, "systemctl enable --now x; look at: "),
        ({"unit_file_state": "disabled"}, "systemctl enable x"),
        ({"active_state": "failed", "result": "exit-code"}, "look at: systemctl status x; "),
        ({**DOWN, "result": "exit-code"}, "look at: systemctl status x; "),
        ({"load_state": "masked"}, "systemctl unmask x; systemctl start x"),
        ({"load_state": "not-found"}, "run the deploy: "),
    ],
)
def test_a_unit_is_brought_up_by_a_command_that_can_do_it(
    state: dict[str, Any], command: str
) -> None:
    assert bring_up("x", unit("x", **state), written=False).startswith(command)


def test_a_mask_that_took_the_place_of_our_file_is_followed_by_the_deploy() -> None:
    """`systemctl start` would fail: the file that the mask replaced is gone."""
    masked = {"load_state": "masked", "active_state": "inactive"}
    seen = seen_with(main=masked, rival=DOWN)
    row = rows(seen)["units.rigspec-glm.service"]
    (change,) = (c for c in find_drift(PLAN, seen, None).changes if c.kind == "unit")
    cure = "systemctl unmask rigspec-glm.service; then run the deploy: pyinfra "
    assert row.next_action.startswith(cure)
    assert change.next_action == row.next_action
    assert isinstance(seen.units, dict)
    own = unit("docker.service", **masked)
    plan = replace(PLAN, containers=replace(PLAN.containers, units=("docker.service",)))
    theirs = rows(replace(GOOD, units={**seen.units, "docker.service": own}), plan)
    assert theirs["units.docker.service"].next_action.endswith("; systemctl start docker.service")


LOOPING = {"n_restarts": 10, "active_enter_us": 90_000_000}
GONE = ContainerImage(Unknown("it failed", "Error: No such container: rigspec-glm"), "a" * 64)
STATES: dict[str, dict[str, Any]] = {
    "failed": {"active_state": "failed", "result": "exit-code"},
    "stopped": DOWN,
    "between two starts": {"active_state": "activating", "sub_state": "auto-restart"},
    "up for a moment": LOOPING,
}


@pytest.mark.parametrize("answers", [True, False], ids=["answering", "silent"])
@pytest.mark.parametrize("state", STATES)
def test_a_port_that_another_program_holds_is_the_one_finding(state: str, answers: bool) -> None:
    said = replace(GLM, image=GONE, cards=Unknown("it failed"))
    silent = {"models": SILENT, "completion": SILENT, "stream": SILENT, "stopped": SILENT}
    said = said if answers else replace(said, **silent)
    seen = seen_with(main=STATES[state], rival=DOWN, answers={"glm": said})
    red = [row for row in rows(seen).values() if row.outcome in {Outcome.FAIL, Outcome.UNKNOWN}]
    assert [row.id for row in red] == ["units.rigspec-glm.service"]
    assert "another program holds port 5000" in red[0].reason
    assert "ss -ltnp 'sport = :5000'" in red[0].next_action
    (change,) = units_of(PLAN, seen)
    assert (change.kind, change.next_action) == ("unit", red[0].next_action)
    alone = replace(seen, listeners=(Listener("192.0.2.7", 5000), Listener("127.0.0.1", 5001)))
    assert "another program" not in rows(alone)["units.rigspec-glm.service"].reason


def test_a_server_that_ends_again_and_again_is_drift_whatever_state_the_look_met() -> None:
    said = replace(GLM, image=GONE)
    for state in ({"active_state": "activating", "sub_state": "auto-restart"}, LOOPING):
        main = {"n_restarts": 10, **state}
        seen = seen_with(main=main, rival=DOWN, answers={"glm": said}, listeners=())
        (change,) = units_of(PLAN, seen)
        assert (change.kind, change.subject) == ("unit", "rigspec-glm.service")
        assert "is started again, 10 times so far" in rows(seen)["units.rigspec-glm.service"].reason


@pytest.mark.parametrize(
    ("restarts", "since_us", "said"),
    [
        (2, 90_000_000, replace(GLM, models=SILENT)),
        (10, 1, replace(GLM, models=SILENT)),
        (10, 90_000_000, GLM),
    ],
    ids=["restarted twice", "up long", "answers"],
)
def test_a_server_that_was_restarted_does_not_loop(
    restarts: int, since_us: int, said: Answers
) -> None:
    main = {"n_restarts": restarts, "active_enter_us": since_us}
    seen = seen_with(main=main, rival=DOWN, answers={"glm": said})
    assert rows(seen)["units.rigspec-glm.service"].outcome is Outcome.WARN
    assert list(units_of(PLAN, seen)) == []


def test_a_rival_between_two_starts_is_not_the_one_who_answers() -> None:
    rival = {"active_state": "activating", "sub_state": "auto-restart", "n_restarts": 7}
    seen = seen_with(main=DOWN, rival=rival, answers={"stt": GLM}, listeners=STT_PORT)
    red = [row for row in rows(seen).values() if row.outcome is Outcome.FAIL]
    assert [row.id for row in red] == ["units.rigspec-stt.service"]
    assert "keeps ending: another program holds port" in red[0].reason


STT_PORT = (Listener("127.0.0.1", PLAN.services[1].listen_port),)


def test_a_frozen_engine_is_restarted_once_it_was_looked_at() -> None:
    late = Unknown(NO_ANSWER)
    frozen = glm(models=late, completion=late, stream=late, stopped=late)
    found = rows(replace(GOOD, **frozen))
    for row in (found["service.completion.glm"], found["service.models.glm"]):
        assert row.next_action.startswith("look at: ")
        assert row.next_action.endswith("then: systemctl restart rigspec-glm.service")


@pytest.mark.parametrize("state", [DOWN, {"unit_file_state": "disabled"}])
def test_verify_and_drift_advise_the_same_command(state: dict[str, Any]) -> None:
    seen = seen_with(main=state, rival=DOWN, listeners=())
    row = rows(seen)["units.rigspec-glm.service"]
    (change,) = units_of(PLAN, seen)
    assert row.next_action == change.next_action
    assert row.next_action.startswith("systemctl ")


def test_a_server_that_listens_elsewhere_is_one_finding() -> None:
    silent = glm(models=SILENT, completion=SILENT, stream=SILENT, stopped=SILENT)
    elsewhere = replace(GOOD, listeners=(Listener("192.0.2.7", 5000),), **silent)
    red = [r for r in rows(elsewhere).values() if r.outcome in {Outcome.FAIL, Outcome.UNKNOWN}]
    assert [row.id for row in red] == ["service.bind.glm"]
    assert "does not answer where the spec says" in red[0].reason


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])  # noqa: S104 - read, not bound
def test_a_server_that_listens_where_it_should_is_judged_by_its_silence(address: str) -> None:
    seen = replace(GOOD, listeners=(Listener(address, 5000),), **glm(models=SILENT))
    assert rows(seen)["service.models.glm"].outcome is Outcome.FAIL


def test_one_of_a_thing_is_said_in_the_singular() -> None:
    seen = seen_with(main={"n_restarts": 1}, rival=DOWN, answers={"glm": GLM}, tree=ONE_BRIDGE)
    assert rows(seen)["units.rigspec-glm.service"].found == "enabled, active, 1 restart"
    assert rows(seen)["pcie.acs"].found.startswith("clear on 1 bridge,")
    alone = gpu(0, remap_pending=NONE, remap_failed=NONE, recovery_action=NONE)
    assert rows(replace(GOOD, cards=(alone,)))["gpus.errors.main.0"].found == "none in 1 counter"
    assert folded((rows(GOOD)["pcie.acs"],), colour=False).endswith("1 check: 1 pass")
    assert "\n1 change since x" in as_text(Drift((Change("unit", "x", "down"),), ()), "x")


NONE = Unknown("n/a", "[N/A]")
ONE_BRIDGE = tree(**{f"0000:02:0{n}.0": {"acs": None} for n in (1, 2, 3)})


def test_a_server_that_answers_is_judged_whatever_else_has_its_port_open() -> None:
    seen = replace(GOOD, listeners=(Listener("192.0.2.7", 5000),))
    assert rows(seen)["service.models.glm"].outcome is Outcome.PASS
    assert rows(seen)["service.bind.glm"].outcome is Outcome.FAIL


def test_a_silent_server_whose_port_nobody_has_open_does_not_listen_elsewhere() -> None:
    seen = replace(GOOD, listeners=(), **glm(models=SILENT))
    assert rows(seen)["service.models.glm"].outcome is Outcome.FAIL


def test_a_rival_is_in_place_of_what_was_stopped_and_not_of_what_crashed() -> None:
    crashed = {**DOWN, "result": "exit-code"}
    seen = seen_with(main=crashed, rival={"active_state": "failed"})
    assert rows(seen)["units.rigspec-glm.service"].outcome is Outcome.FAIL
    stopped = seen_with(main=DOWN, rival={"active_state": "failed"})  # at its first start
    assert rows(stopped)["units.rigspec-stt.service"].outcome is Outcome.FAIL


def test_a_unit_whose_time_up_nobody_could_tell_is_worth_a_look() -> None:
    seen = seen_with(main={"n_restarts": 1}, rival=DOWN, host=Unknown("cut"))
    assert rows(seen)["units.rigspec-glm.service"].outcome is Outcome.WARN
