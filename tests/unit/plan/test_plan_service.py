from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from plan_bench import Host

from rigspec.plan.binding import BoundCard, gpus_environment
from rigspec.plan.model import plan_models
from rigspec.plan.sections import ServicePlan
from rigspec.plan.service import plan_services, secret_text
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]
CARDS = (
    BoundCard("main.0", "GPU-11111111-aaaa-4000-8000-000000000001", "0000:01:00.0"),
    BoundCard("main.1", "GPU-22222222-bbbb-4000-8000-000000000002", "0000:02:00.0"),
)
# what an owner may write into extra_args and a shell may trip over
NASTY = (
    "--template",
    'it\'s "quoted" and $HOME costs 5% `id` \\n',
    '{"a": [1, "x\'y"], "b": {"c": "$(id)"}}',
    "nvidia.com/gpu=${RIGSPEC_GPU_MAIN_0}",
    "--glob=*.py",
    "; rm -rf /tmp/never &",
    "!bang #hash ~",
    "ä – ü",
    "-",
)


def service_of(rig: Rig, name: str = "chat") -> ServicePlan:
    return next(s for s in plan_services(rig, plan_models(rig)) if s.name == name)


def chat(make_rig: MakeRig, **change: Any) -> ServicePlan:
    return service_of(make_rig(services={"chat": change}))


@pytest.fixture
def ready_host(host: Host) -> Host:
    """Cards bound, weights there, a docker that writes down its words."""
    host.stub("docker", 'for word in docker "$@"; do printf "%s\\0" "$word"; done >"$STATE/words"')
    host.stub("podman", 'for word in podman "$@"; do printf "%s\\0" "$word"; done >"$STATE/words"')
    host.file("/etc/rigspec/gpus.env", gpus_environment("bench", CARDS))
    host.file("/srv/models/tiny/config.json", "{}")
    return host


def run(host: Host, service: ServicePlan) -> tuple[int, str]:
    for file in service.files:
        host.file(file.dest, file.content)
    script = host.root / "usr/local/lib/rigspec/service-chat"
    done = host.run(script.read_text())
    return done.returncode, done.stderr


def words(host: Host) -> list[str]:
    return (host.root / "words").read_text().split("\0")[:-1]


def with_uuids(command: tuple[str, ...], image: str) -> list[str]:
    at = command.index(image)
    options = " \0".join(command[:at])
    for card in CARDS:
        variable = "RIGSPEC_GPU_" + card.member.upper().replace(".", "_")
        options = options.replace(f"${{{variable}}}", card.uuid)
    return [*options.split(" \0"), *command[at:]]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_script_gives_the_container_tool_exactly_the_planned_words(
    ready_host: Host, make_rig: MakeRig, engine: str
) -> None:
    rig = make_rig(containers={"engine": engine}, services={"chat": {"extra_args": NASTY}})
    service = service_of(rig)
    assert run(ready_host, service) == (0, "")
    given = words(ready_host)
    assert given == with_uuids(service.run_argv, service.image)
    assert given[-len(NASTY) :] == list(NASTY)
    assert given[0] == engine


def test_cards_reach_the_container_by_uuid_and_in_order(
    ready_host: Host, make_rig: MakeRig
) -> None:
    run(ready_host, chat(make_rig))
    given = words(ready_host)
    devices = [after for word, after in pairwise(given) if word == "--device"]
    assert devices == [f"nvidia.com/gpu={card.uuid}" for card in CARDS]
    assert "--gpus" not in given
    assert "--privileged" not in given


def test_container_is_never_pulled_nor_restarted_by_docker(make_rig: MakeRig) -> None:
    command = chat(make_rig).run_argv
    assert command[command.index("--pull") + 1] == "never"
    assert "--restart" not in command
    assert "--rm" in command


def test_script_leaves_the_hashes_of_what_it_was_started_from(
    ready_host: Host, make_rig: MakeRig
) -> None:
    service = chat(make_rig)
    run(ready_host, service)
    file = ready_host.root / service.started_record.lstrip("/")
    assert file.stat().st_mode & 0o777 == 0o600  # it holds a hash of the key
    record = file.read_text().splitlines()
    expected = [
        f"{hashlib.sha256((ready_host.root / path.lstrip('/')).read_bytes()).hexdigest()}"
        f"  {ready_host.root}{path}"
        for path in service.restart_inputs
    ]
    assert record == expected


def test_a_changed_flag_changes_the_script_and_not_the_unit(make_rig: MakeRig) -> None:
    before, after = chat(make_rig), chat(make_rig, max_sequences="4")
    script, environment, unit = zip(before.files, after.files, strict=True)
    assert script[0].content != script[1].content
    assert environment[0] == environment[1]
    assert unit[0] == unit[1]
    assert not set(before.restart_inputs) & {file.dest for file in unit}


def test_without_a_bound_card_the_container_is_not_started(
    ready_host: Host, make_rig: MakeRig
) -> None:
    ready_host.file("/etc/rigspec/gpus.env", gpus_environment("bench", CARDS[:1]))
    code, said = run(ready_host, chat(make_rig))
    assert code == 2  # RestartPreventExitStatus: trying again would not help
    assert "no card is bound to main.1" in said
    assert not (ready_host.root / "words").exists()


def test_without_a_binding_file_the_script_says_so(ready_host: Host, make_rig: MakeRig) -> None:
    (ready_host.root / "etc/rigspec/gpus.env").unlink()
    code, said = run(ready_host, chat(make_rig))
    assert code == 2
    assert "/etc/rigspec/gpus.env is missing" in said


def test_without_weights_the_container_is_not_started(ready_host: Host, make_rig: MakeRig) -> None:
    (ready_host.root / "srv/models/tiny/config.json").unlink()
    (ready_host.root / "srv/models/tiny").rmdir()
    code, said = run(ready_host, chat(make_rig))
    assert code == 2
    assert "the weights /srv/models/tiny are missing" in said


KEY = "s3cret'with{}\"$signs"


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama_cpp"])
def test_key_is_in_a_root_only_file_and_nowhere_in_the_plan(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("CHAT_KEY", KEY)
    rig = make_rig(
        models={"tiny": {"path": "/srv/models/tiny/a.gguf"}},
        services={"chat": {"engine": engine, "api_key_env": "CHAT_KEY"}},
    )
    service = service_of(rig)
    assert KEY not in repr(service)
    assert service.secret_path is not None
    assert service.secret_path.startswith("/etc/rigspec/secrets/")
    assert service.secret_path in service.restart_inputs
    assert "--api-key" not in service.argv
    assert any(service.secret_path in word for word in service.run_argv)


def test_secret_text_is_the_line_each_engine_reads(make_rig: MakeRig) -> None:
    plain = chat(make_rig, api_key_env="CHAT_KEY")
    assert secret_text(plain, KEY) == f"VLLM_API_KEY={KEY}\n"
    sglang = chat(make_rig, engine="sglang", api_key_env="CHAT_KEY")
    # YAML 1.2, 7.3.2: in single quotes only the quote itself is doubled
    assert secret_text(sglang, "a'b\"c") == "api-key: 'a''b\"c'\n"
    assert sglang.api_key_variable is None


def test_service_without_key_has_no_secret(make_rig: MakeRig) -> None:
    service = chat(make_rig)
    assert service.secret_path is None
    assert service.secret_line == ""


def test_cache_volume_changes_with_the_image(make_rig: MakeRig) -> None:
    before = chat(make_rig)
    after = chat(make_rig, image="registry.test/vllm@sha256:" + "b" * 64)
    assert before.volume == "rigspec-chat-cache-" + "a" * 12
    assert after.volume == "rigspec-chat-cache-" + "b" * 12
    assert f"{before.volume}:/cache" in before.run_argv
    moving = chat(make_rig, image="vllm/vllm-openai:latest", accept_moving_tag="true")
    assert moving.volume not in (before.volume, after.volume)


def test_rival_is_not_started_at_boot_and_stops_the_other(make_rig: MakeRig) -> None:
    rival = {
        "engine": "vllm",
        "image": "registry.test/vllm@sha256:" + "c" * 64,
        "model": "tiny",
        "gpus": ["main.0"],
        "instead_of": ["chat"],
        "listen": {"port": "8001"},
    }
    rig = make_rig(services={"stt": rival})
    first, second = plan_services(rig, plan_models(rig))
    assert (first.at_boot, second.at_boot) == (True, False)
    assert "WantedBy=" in first.files[2].content
    assert "WantedBy=" not in second.files[2].content
    assert "Conflicts=rigspec-chat.service" in second.files[2].content
    # without an order between the two, systemd may start one before the other has stopped
    after = next(x for x in second.files[2].content.splitlines() if x.startswith("After="))
    assert "rigspec-chat.service" in after
    assert second.gpus == ("main.0",)


def test_draft_model_is_mounted_beside_the_weights(make_rig: MakeRig) -> None:
    rig = make_rig(
        models={"draft": {"path": "/srv/models/draft"}},
        services={"chat": {"speculative": {"method": "eagle3", "tokens": "3", "model": "draft"}}},
    )
    service = service_of(rig)
    assert "/srv/models/draft:/models/draft:ro" in service.run_argv
    assert (
        '"model": "/models/draft"' in service.argv[service.argv.index("--speculative-config") + 1]
    )
    assert "RequiresMountsFor=/srv/models/tiny /srv/models/draft" in service.files[2].content


def test_gguf_path_mounts_its_folder_and_names_the_file(make_rig: MakeRig) -> None:
    rig = make_rig(
        models={"tiny": {"path": "/srv/gguf/tiny-q4.gguf"}},
        services={"chat": {"engine": "llama_cpp", "tensor_parallel_size": "1"}},
    )
    service = service_of(rig)
    assert "/srv/gguf:/models/tiny:ro" in service.run_argv
    assert service.argv[:2] == ("--model", "/models/tiny/tiny-q4.gguf")


def test_owners_variable_wins_over_ours(make_rig: MakeRig) -> None:
    service = chat(make_rig, environment={"HF_HUB_OFFLINE": "0", "NCCL_P2P_LEVEL": "SYS"})
    lines = service.files[1].content.splitlines()
    assert "HF_HUB_OFFLINE=0" in lines
    assert "HF_HUB_OFFLINE=1" not in lines
    assert "NCCL_P2P_LEVEL=SYS" in lines


def test_label_changes_with_anything_the_container_is_given(make_rig: MakeRig) -> None:
    def label(**change: Any) -> str:
        return next(w for w in chat(make_rig, **change).run_argv if w.startswith("rigspec.plan="))

    labels = {label(), label(shm_gib="8"), label(environment={"A": "1"}), label(max_sequences="2")}
    assert len(labels) == 4
