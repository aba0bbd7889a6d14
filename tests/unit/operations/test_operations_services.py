"""Services: a changed flag restarts one server; images, secrets, old files; waiting and causes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fakehost import FakeHost, run

from rigspec.facts.managed import FileState, UnitState
from rigspec.facts.services import ServiceStage, ServiceState, bare_reference
from rigspec.operations.answering import likely_cause
from rigspec.operations.files import digest
from rigspec.operations.jobs import FOLDER, Job, outcome, poll_command
from rigspec.operations.services import served
from rigspec.plan.rig import PLAN_FILE, all_files, plan_rig, to_json
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file

UP = UnitState("loaded", "active", "running", "enabled", False, "success", since=1000)
AWAY = UnitState("loaded", "inactive", "dead", "disabled", False, "success", since=0)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The home rig: glm runs at boot, stt in its place by hand."""
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig)


def file(text: str, mode: str = "644") -> FileState:
    return FileState(mode, "root:root", 900, digest(text))


def converged(plan: Plan, **units: UnitState) -> ServiceState:
    files = {f.dest: file(f.content, f.mode) for f in all_files(plan)}
    files[PLAN_FILE] = file(to_json(plan))
    files["/etc/rigspec/gpus.env"] = file("RIGSPEC_GPU_MAIN_0=GPU-0\n")
    started = {
        s.unit: {p: files[p].sha256 or "" for p in s.restart_inputs if p in files}
        for s in plan.services
    }
    states = {"rigspec-glm.service": UP, "rigspec-stt.service": AWAY}
    states |= {f"rigspec-{name}.service": unit for name, unit in units.items()}
    return ServiceState(
        files=files,
        units=states,
        started=started,
        answers={"rigspec-glm.service": 200},
        images=frozenset(bare_reference(s.image) for s in plan.services),
        own=tuple(f.dest for f in all_files(plan) if "rigspec/" in f.dest),
    )


def steps(plan: Plan, seen: ServiceState) -> list[str]:
    """First line of each command, without `set --`."""
    found = run(served, FakeHost({ServiceStage: seen}), plan=plan)
    return [text.splitlines()[0].removeprefix("set -- ") for text in found]


def test_a_converged_host_needs_nothing(plan: Plan) -> None:
    assert steps(plan, converged(plan)) == []


def test_a_changed_flag_writes_its_script_and_restarts_that_service_only(plan: Plan) -> None:
    seen = converged(plan)
    script = "/usr/local/lib/rigspec/service-glm"
    seen = replace(seen, files={**seen.files, script: file("#!/bin/sh\nolder\n", "755")})
    assert steps(plan, seen) == [
        f"sh -s -- {script}",
        "restart rigspec-glm.service",
        "CALL wait_until_answers",
    ]


def test_a_run_killed_between_write_and_restart_restarts_the_next_time(plan: Plan) -> None:
    seen = converged(plan)
    older = {
        **seen.started,
        "rigspec-glm.service": {"/usr/local/lib/rigspec/service-glm": "0" * 64},
    }
    assert steps(plan, replace(seen, started=older)) == [
        "restart rigspec-glm.service",
        "CALL wait_until_answers",
    ]


def test_a_stopped_service_is_started_and_waited_for(plan: Plan) -> None:
    seen = converged(plan, glm=replace(AWAY, file_state="enabled"))
    assert steps(plan, replace(seen, answers={})) == [
        "start rigspec-glm.service",
        "CALL wait_until_answers",
    ]


def test_a_service_that_is_up_and_silent_is_waited_for(plan: Plan) -> None:
    assert steps(plan, replace(converged(plan), answers={"rigspec-glm.service": 0})) == [
        "CALL wait_until_answers"
    ]


def test_a_missing_image_is_pulled_before_anything_is_restarted(plan: Plan) -> None:
    pulled, waited = steps(
        plan,
        replace(
            converged(plan),
            images=frozenset(bare_reference(plan.services[0].image) for _ in range(1)),
        ),
    )
    assert pulled.startswith("rigspec-job-pull-")
    assert waited == "CALL _wait"


def test_a_service_started_by_hand_in_its_place_is_left_running(plan: Plan) -> None:
    by_hand = replace(UP, file_state="disabled")
    seen = converged(plan, glm=replace(AWAY, file_state="enabled"), stt=by_hand)
    assert steps(plan, replace(seen, answers={})) == []


def test_a_service_that_left_the_spec_is_stopped_and_its_files_go(plan: Plan) -> None:
    old = ("/etc/systemd/system/rigspec-old.service", "/usr/local/lib/rigspec/service-old")
    seen = converged(plan)
    found = run(served, FakeHost({ServiceStage: replace(seen, own=(*seen.own, *old))}), plan=plan)
    assert found == [
        'for u in rigspec-old.service; do systemctl -q disable --now -- "$u" || true; done',
        f'set -- {old[0]} {old[1]}\nrm -f -- "$@"',
        "systemctl daemon-reload",
    ]


def test_a_swap_in_service_is_not_enabled_at_boot(plan: Plan) -> None:
    assert steps(plan, converged(plan, stt=replace(AWAY, file_state="enabled"))) == [
        "rigspec-stt.service"
    ]


def test_the_plan_is_recorded_last(plan: Plan) -> None:
    seen = converged(plan)
    seen = replace(seen, files={k: v for k, v in seen.files.items() if k != PLAN_FILE})
    assert steps(plan, seen) == [f"sh -s -- {PLAN_FILE}"]


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("vllm/vllm-openai:v1@sha256:ab", "vllm/vllm-openai@sha256:ab"),
        ("docker.io/library/debian:13", "debian:13"),
        ("127.0.0.1:5000/vllm@sha256:ab", "127.0.0.1:5000/vllm@sha256:ab"),
        ("ghcr.io/x/y", "ghcr.io/x/y:latest"),
    ],
)
def test_references_are_compared_as_the_store_lists_them(written: str, listed: str) -> None:
    assert bare_reference(written) == bare_reference(listed) == listed


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "does not fit the cards"),
        ("OSError: [Errno 98] Address already in use", "its port is taken"),
        ("OSError: [Errno 99] Cannot assign requested address", "no such address"),
        ("couldn't bind HTTP server socket, hostname: 10.0.0.7", "or this host has no such"),
        ("unresolvable CDI devices nvidia.com/gpu=GPU-1", "nvidia-ctk cdi list"),
        ("vllm: error: unrecognized arguments: --foo", "does not know a flag"),
        ("the weights /models/x are missing: is the disk mounted", "findmnt"),
    ],
)
def test_the_last_words_of_a_service_name_a_likely_cause(words: str, advice: str) -> None:
    assert advice in (likely_cause(["INFO loading", words]) or "")


def test_unknown_last_words_name_no_cause() -> None:
    assert likely_cause(["Segmentation fault"]) is None


@pytest.mark.parametrize(
    ("lines", "status"),
    [(["running", "said 10%"], None), (["exit 0"], 0), (["exit 1", "said no"], 1), ([], -1)],
    ids=["runs", "done", "failed", "vanished"],
)
def test_a_job_is_done_failed_or_vanished(lines: list[str], status: int | None) -> None:
    assert outcome(lines) == status


def test_a_job_that_ends_while_it_is_looked_at_is_not_called_killed(tmp_path: Path) -> None:
    """systemctl answers "inactive" just after the job wrote its status."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho 0 >{tmp_path}/pull.exit\nexit 3\n")
    systemctl.chmod(0o755)
    look = poll_command(Job("pull", "pulling", ("docker", "pull"), "df -h")).get_raw_value()
    done = subprocess.run(
        ["sh", "-c", look.replace(FOLDER, str(tmp_path))],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome(done.stdout.splitlines()) == 0
