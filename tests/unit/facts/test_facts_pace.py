"""The pace of a server: three distinct prompts, timed on the host by its own clock."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from engine_bench import KEY, serving, vllm

from rigspec.facts.pace import RUNS, pace_probe
from rigspec.observed.pace import PaceRun, parse_pace
from rigspec.observed.probes import script
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import ServicePlan
from rigspec.rules.run import check_file


@pytest.fixture(scope="module")
def planned() -> ServicePlan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig).services[0]


def sections_of(service: ServicePlan) -> dict[str, list[str]]:
    text = script([pace_probe(service, 5)])
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True)
    return split_sections(done.stdout)


def test_each_run_is_timed_and_no_prompt_is_asked_twice(
    planned: ServicePlan, tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text(f"VLLM_API_KEY={KEY}\n")
    with serving(vllm()) as engine:
        service = replace(
            planned, listen_port=engine.port, secret_path=str(secret), secret_line="VLLM_API_KEY={}"
        )
        seen = parse_pace(sections_of(service), "pace-glm")
    assert not isinstance(seen, Unknown), seen
    assert [run.tokens for run in seen] == [4] * RUNS
    assert all(0 < run.ttft_s < 30 for run in seen)
    prompts = [str(body["messages"]) for body in engine.bodies]
    assert len(prompts) == len(set(prompts)) == RUNS + 1
    assert all(body["temperature"] == 0 for body in engine.bodies)


def test_a_server_that_is_gone_has_no_pace(planned: ServicePlan) -> None:
    with serving(vllm()) as engine:
        pass
    seen = parse_pace(sections_of(replace(planned, listen_port=engine.port)), "pace-glm")
    assert isinstance(seen, Unknown)
    assert "refused" in seen.line or "connect" in seen.line.lower()


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 101}}'
GOOD = [
    "run",
    "at start 1000000000000000000",
    "at first 1000000000250000000",
    USAGE,
    "data: [DONE]",
    "at end 1000000002250000000",
]


def test_the_first_tokens_time_is_not_decoding_time() -> None:
    seen = parse_pace({"pace-glm": GOOD}, "pace-glm")
    assert seen == (PaceRun(0.25, 101, 2.0),)
    assert seen[0].tokens_per_s == 50


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "no run"),
        ([line for line in GOOD if "first" not in line], "no piece"),
        ([line for line in GOOD if "DONE" not in line], "broke off"),
        ([line for line in GOOD if "usage" not in line], "no event"),
        ([*GOOD, "run", "at start 1"], "no piece"),
        ([line.replace("at end 1000000002", "at end 1000000000") for line in GOOD], "no speed"),
    ],
    ids=["nothing", "silent", "cut", "uncounted", "second run silent", "no time"],
)
def test_a_run_that_cannot_be_timed_is_unknown(lines: list[str], reason: str) -> None:
    seen = parse_pace({"pace-glm": lines}, "pace-glm")
    assert isinstance(seen, Unknown)
    assert reason in seen.reason
