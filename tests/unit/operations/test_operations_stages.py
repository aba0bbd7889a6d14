"""Containers, storage, weights, preflight, verify: converged is silent, a difference is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakehost import FakeHost, run

from rigspec.facts.managed import AptState, FileState, PackageState, UnitState
from rigspec.facts.observe import Everything, Preflight, of
from rigspec.facts.stage import Stage, StageState
from rigspec.facts.storage import ModelState, StorageStage, StorageState
from rigspec.observed.record import Unknown
from rigspec.observed.storage import BlockDevice, Storage
from rigspec.operations.containers import engine_and_toolkit
from rigspec.operations.files import digest
from rigspec.operations.models import weights_present
from rigspec.operations.preflight import host_as_declared
from rigspec.operations.storage import mounted
from rigspec.operations.verify import rig_verified
from rigspec.plan.daemon_json import DAEMON_FILE
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import ContainersPlan, ModelPlan, MountPlan, Package, Plan, RenderedFile
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation

UP = UnitState("loaded", "active", "running", "enabled", False, "success", since=1000)
READY = RenderedFile("/usr/local/lib/rigspec/ready", "#!/bin/sh\n", "containers", "755")
CONTAINERS = ContainersPlan(
    "docker",
    (),
    (Package("docker.io"),),
    (),
    {"features": {"cdi": True}},
    (READY,),
    ("rigspec-ready.service",),
)
SETTINGS = '{"features": {"cdi": true}, "log-level": "warn"}\n'


def file(text: str, mode: str = "644", modified: int = 900) -> FileState:
    return FileState(mode, "root:root", modified, digest(text))


def stage(settings: str = SETTINGS, settings_modified: int = 900, **changes: Any) -> StageState:
    packages = {"docker.io": PackageState("26", installed=True, held=False)}
    seen = StageState(
        {
            READY.dest: file(READY.content, "755"),
            DAEMON_FILE: file(settings, modified=settings_modified),
        },
        AptState(packages, False, {}, ()),
        {"docker.service": UP, "rigspec-ready.service": UP},
        {DAEMON_FILE: settings} if settings else {},
        Unknown("not asked"),
    )
    return replace(seen, **changes)


def containers(seen: StageState | None) -> list[str]:
    found = run(engine_and_toolkit, FakeHost({Stage: seen}), plan=CONTAINERS)
    return [text.splitlines()[0].removeprefix("set -- ") for text in found]


def test_containers_as_planned_need_nothing() -> None:
    assert containers(stage()) == []


def test_our_setting_is_merged_into_the_owners_and_docker_restarted() -> None:
    host = FakeHost({Stage: stage('{"log-level": "warn"}\n')})
    settings, restart = run(engine_and_toolkit, host, plan=CONTAINERS)
    assert '"log-level": "warn"' in settings
    assert '"cdi": true' in settings
    assert restart.splitlines()[0] == "set -- restart docker.service"


def test_settings_written_by_a_killed_run_restart_docker_the_next_time() -> None:
    assert containers(stage(settings_modified=1001)) == ["restart docker.service"]


def test_settings_are_written_before_docker_is_installed_so_that_it_starts_with_them() -> None:
    bare = stage("", apt=AptState({}, False, {}, ()), units={}, files={})
    found = containers(bare)
    assert found[0] == f"sh -s -- {DAEMON_FILE}"
    assert found[1].endswith("docker.io")
    assert "restart docker.service" not in found
    assert "start docker.service" in found


def test_an_owners_broken_settings_are_refused() -> None:
    (refusal,) = containers(stage("{broken"))
    assert refusal.startswith(f"REFUSED: {DAEMON_FILE} on the host is not JSON")


UNIT = RenderedFile("/etc/systemd/system/srv-models.mount", "[Mount]\n", "storage")
MOUNT = MountPlan("weights", "/srv/models", "LABEL=weights", "ext4", 0, "srv-models.mount", (UNIT,))
DISK = BlockDevice("vdb", "/dev/vdb", "disk", 1, "ext4", "weights", "u", "", "")


def storage(**changes: Any) -> StorageState:
    seen = StorageState(
        {"/srv/models": FileState("755", "root:root", 1), UNIT.dest: file(UNIT.content)},
        {"srv-models.mount": UP},
        Storage((), (DISK,), ()),
        {},
    )
    return replace(seen, **changes)


def folders(seen: StorageState | None) -> list[str]:
    return run(mounted, FakeHost({StorageStage: seen}), plan=(MOUNT,))


def test_a_mounted_disk_needs_nothing() -> None:
    assert folders(storage()) == []


def test_a_bare_host_gets_unit_folder_and_mount() -> None:
    found = [text.splitlines() for text in folders(storage(files={}, units={}))]
    assert found[0][0] == f"sh -s -- {UNIT.dest}"
    assert found[1] == ["set -- /srv/models", 'mkdir -p -- "$@"']
    assert found[2][0] == "set -- srv-models.mount"
    assert any('systemctl -q enable -- "$@"' in line for line in found[2])
    assert found[-1][0] == "set -- start srv-models.mount"


def test_a_missing_disk_is_refused_with_what_is_there() -> None:
    other = replace(DISK, label="backup")
    (refusal,) = folders(storage(storage=Storage((), (other,), ())))
    assert refusal.startswith("REFUSED: storage.weights needs LABEL=weights")
    assert "/dev/vdb (ext4 label backup)" in refusal


def test_another_file_system_is_refused_never_formatted() -> None:
    (refusal,) = folders(storage(storage=Storage((), (replace(DISK, fstype="xfs"),), ())))
    assert "holds xfs, the spec says ext4" in refusal
    assert "mkfs" not in refusal


def model(name: str, hub: str | None = None) -> ModelPlan:
    argv = ("/usr/local/lib/rigspec/fetch-model", "--hub", hub) if hub else ()
    return ModelPlan(
        name,
        f"/srv/{name}",
        None,
        hub,
        "0" * 40 if hub else None,
        "https://x.example",
        (),
        (),
        None,
        None,
        (),
        argv,
    )


def weights(states: dict[str, ModelState], *plan: ModelPlan) -> list[str]:
    return run(weights_present, FakeHost({StorageStage: storage(models=states)}), plan=plan)


def test_complete_weights_need_nothing() -> None:
    states = {"a": ModelState(True, True), "b": ModelState(True, False)}
    assert weights(states, model("a", "x/a"), model("b")) == []


def test_incomplete_weights_are_fetched_by_a_job_that_survives_the_link() -> None:
    start, wait = weights({"a": ModelState(True, False)}, model("a", "x/a"))
    assert start.startswith("set -- rigspec-job-fetch-a.service fetch-a ")
    assert "systemd-run" in start
    assert wait == "CALL _wait"


def test_weights_nobody_can_fetch_are_refused_with_their_place() -> None:
    (refusal,) = weights({}, model("b"))
    assert refusal.startswith("REFUSED: the weights of models.b are not at /srv/b")


def test_weights_of_which_a_file_is_gone_are_refused_with_its_name() -> None:
    states = {"b": ModelState(True, False, ("2.safetensors is missing",))}
    (refusal,) = weights(states, model("b"))
    assert "models.b are not whole: 2.safetensors is missing" in refusal


@pytest.fixture(scope="module")
def plan() -> Plan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig)


def test_preflight_changes_nothing_on_a_host_that_is_not_as_declared(plan: Plan) -> None:
    seen = Observation(secure_boot=Unknown("x"), cpu_vendor="GenuineIntel")
    host = FakeHost({Preflight: (seen, AptState({}, False, {}, ()), {})})
    (refusal,) = run(host_as_declared, host, plan=plan)
    assert "expected:  amd" in refusal
    assert refusal.endswith("nothing has been changed on this host")


def test_preflight_installs_only_missing_tools_on_a_host_it_cannot_fault(plan: Plan) -> None:
    tools = {p.name: PackageState("1", True, False) for p in plan.preflight.packages}
    host = FakeHost({Preflight: (Observation(), AptState(tools, False, {}, ()), {})})
    assert run(host_as_declared, host, plan=plan) == []
    host = FakeHost({Preflight: (Observation(), AptState({}, False, {}, ()), {})})
    (install,) = run(host_as_declared, host, plan=plan)
    assert "curl" in install.splitlines()[0]


def test_preflight_misses_a_key_before_anything_is_installed(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/etc/rigspec/secrets/api-key"
    keyed = replace(plan.services[0], api_key_env="RIG_KEY", secret_path=path)
    plan = replace(plan, services=(keyed, *plan.services[1:]))

    def commands(files: dict[str, FileState]) -> list[str]:
        answer = (Observation(), AptState({}, False, {}, ()), files)
        return run(host_as_declared, FakeHost({Preflight: answer}), plan=plan)

    monkeypatch.delenv("RIG_KEY", raising=False)
    (refusal,) = commands({})
    assert "`RIG_KEY` is not set here" in refusal
    assert refusal.endswith("nothing has been changed on this host")
    (install,) = commands({path: FileState("600", "root:root", 0, "ab")})  # of an earlier run
    assert "curl" in install
    monkeypatch.setenv("RIG_KEY", "one\ntwo")
    assert "one line of printable characters" in commands({})[0]
    monkeypatch.setenv("RIG_KEY", "s3cret")
    (install,) = commands({})
    assert "s3cret" not in install
    assert f"stat -c 'at %a %U:%G %Y %n' -- {path} " in str(Preflight().command(of(plan)))


def test_verify_fails_the_host_when_something_is_not_as_planned(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    host = FakeHost({Everything: Observation()})
    assert run(rig_verified, host, plan=plan) == ["CALL _fail"]


def test_verify_looks_at_nothing_while_pyinfra_only_plans(plan: Plan) -> None:
    host = FakeHost({})
    assert run(rig_verified, host, executing=False, plan=plan) == []
    assert host.asked == []
