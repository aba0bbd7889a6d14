"""The probes of the service proof, run by sh against a server on loopback."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from engine_bench import KEY, Engine, serving, vllm

from rigspec.facts.exposure import LISTENERS
from rigspec.facts.smoke import parse_answers, smoke_probes
from rigspec.observed.exposure import parse_listeners
from rigspec.observed.probes import script
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import ServicePlan, SmokePlan
from rigspec.rules.run import check_file
from rigspec.verify.exposure import routes
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.service import verify_service
from rigspec.verify.verdict import Outcome, Verdict

SMOKE = SmokePlan("Are you ready?", 64, 2, 90)


@pytest.fixture(scope="module")
def planned() -> ServicePlan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig).services[0]


def run(text: str) -> dict[str, list[str]]:
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True)
    return split_sections(done.stdout)


def ask(engine: Engine, planned: ServicePlan, tmp_path: Path) -> tuple[ServicePlan, Answers]:
    secret = tmp_path / "key"
    secret.write_text(f"VLLM_API_KEY={KEY}\n")
    service = replace(
        planned, listen_port=engine.port, secret_path=str(secret), secret_line="VLLM_API_KEY={}"
    )
    said = parse_answers(run(script(smoke_probes(service, SMOKE, "no-such-tool"))), service)
    assert said is not None
    return service, said


def rows(engine: Engine, planned: ServicePlan, tmp_path: Path) -> dict[str, Verdict]:
    service, said = ask(engine, planned, tmp_path)
    seen = Observation(listeners=parse_listeners(run(script([LISTENERS]))))
    return {row.id.removesuffix(".glm"): row for row in verify_service(service, said, seen)}


def test_a_healthy_engine_is_proved_without_executing_more_than_was_asked(
    planned: ServicePlan, tmp_path: Path
) -> None:
    with serving(vllm()) as engine:
        found = rows(engine, planned, tmp_path)
    proved = ("models", "completion", "stream", "stop", "context", "key", "bind", "exposure")
    for name in proved:
        assert found[f"service.{name}"].outcome is Outcome.PASS, found[f"service.{name}"]
    assert engine.executed == ["/v1/chat/completions"] * 3
    assert "PATCH /new/route/rigspec" in engine.asked  # out of the engine's own list
    assert found["service.image"].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("path", "outcome", "words"),
    [
        ("/invocations", Outcome.FAIL, "run the model"),
        ("/v1/chat/completions", Outcome.FAIL, "run the model"),
        ("/sleep", Outcome.FAIL, "change the server"),
        ("/new/route/rigspec", Outcome.FAIL, "run the model"),
        ("/metrics", Outcome.WARN, "how the server is set up"),
        ("/new/view", Outcome.WARN, "how the server is set up"),
    ],
)
def test_an_open_route_is_found_and_not_executed(
    path: str, outcome: Outcome, words: str, planned: ServicePlan, tmp_path: Path
) -> None:
    with serving(vllm(open={"/health", path})) as engine:
        if path == "/new/route/rigspec":
            engine.routes[path] = {"POST"}
        service, said = ask(engine, planned, tmp_path)
    row = routes(service, said)
    assert row.outcome is outcome, row
    assert words in row.reason
    assert path.partition("rigspec")[0] in row.found
    assert engine.executed == ["/v1/chat/completions"] * 3


def test_a_frozen_engine_fails_by_its_own_words_and_is_waited_for_once(
    planned: ServicePlan, tmp_path: Path
) -> None:
    with serving(vllm(frozen=True)) as engine:
        found = rows(engine, planned, tmp_path)
    frozen = found["service.completion"]
    assert frozen.outcome is Outcome.FAIL
    assert "the port is open" in frozen.reason
    assert "frozen" in frozen.reason
    for name in ("stream", "stop"):
        assert found[f"service.{name}"].outcome is Outcome.NOT_APPLICABLE
    assert engine.executed == ["/v1/chat/completions"]


def test_an_ignored_stop_sequence_is_a_fault(planned: ServicePlan, tmp_path: Path) -> None:
    with serving(vllm(ignores_stop=True)) as engine:
        row = rows(engine, planned, tmp_path)["service.stop"]
    assert (row.outcome, row.reason) == (Outcome.FAIL, "the stop sequence is ignored")


def test_a_server_that_is_gone_makes_no_route_safe(planned: ServicePlan, tmp_path: Path) -> None:
    with serving(vllm()) as engine:
        pass
    service, said = ask(engine, planned, tmp_path)
    assert isinstance(said.routes, Unknown)
    assert routes(service, said).outcome is Outcome.UNKNOWN


def test_the_key_is_in_no_argument(planned: ServicePlan, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"VLLM_API_KEY={KEY}\n")
    service = replace(planned, secret_path=str(tmp_path / "key"), secret_line="VLLM_API_KEY={}")
    assert KEY not in script(smoke_probes(service, SMOKE, "docker"))
