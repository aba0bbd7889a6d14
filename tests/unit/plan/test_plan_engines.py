"""Command lines judged by the flag lists read out of the engines' own parsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rigspec.catalog.engine_flags import check_argv
from rigspec.catalog.flag_table import load_flags
from rigspec.finding import Severity
from rigspec.plan.model import plan_models
from rigspec.plan.service import plan_services
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]

RICH: dict[str, Any] = {
    "pipeline_parallel_size": "2",
    "data_parallel_size": "2",
    "decode_context_parallel_size": "2",
    "expert_parallel": "true",
    "context_length": "32768",
    "gpu_memory_fraction": "0.9",
    "max_sequences": "8",
    "max_batched_tokens": "4096",
    "quantization": "fp8",
    "trust_remote_code": "true",
    "disable_custom_all_reduce": "true",
    "enforce_eager": "true",
    "served_names": ["tiny"],
    "api_key_env": "CHAT_KEY",
    "listen": {"address": "192.0.2.10", "port": "8001"},
}
VLLM = RICH | {
    "kv_cache_dtype": "fp8",
    "tool_call_parser": "hermes",
    "reasoning_parser": "qwen3",
    "speculative": {"method": "mtp", "tokens": "3"},
}
SGLANG = RICH | {
    "engine": "sglang",
    "kv_cache_dtype": "fp8_e4m3",
    "tool_call_parser": "qwen3_coder",
    "reasoning_parser": "qwen3",
    "speculative": {
        "method": "eagle",
        "tokens": "4",
        "model": "draft",
        "options": {"num_steps": "3", "eagle_topk": "1"},
    },
}
LLAMA: dict[str, Any] = {
    "engine": "llama_cpp",
    "context_length": "8192",
    "max_sequences": "4",
    "max_batched_tokens": "2048",
    "kv_cache_dtype": "q8_0",
    "split_mode": "layer",
    "gpu_layers": "40",
    "api_key_env": "CHAT_KEY",
    "speculative": {"method": "draft-simple", "tokens": "4", "model": "draft"},
}


def argv(make_rig: MakeRig, change: dict[str, Any]) -> tuple[str, ...]:
    models = {"draft": {"path": "/srv/models/draft"}}
    if change.get("engine") == "llama_cpp":
        models = {
            "tiny": {"path": "/srv/models/tiny.gguf"},
            "draft": {"path": "/srv/models/draft.gguf"},
        }
    rig = make_rig(models=models, services={"chat": change})
    return plan_services(rig, plan_models(rig))[0].argv


def after(words: tuple[str, ...], flag: str) -> str:
    return words[words.index(flag) + 1]


@pytest.mark.parametrize("change", [VLLM, SGLANG, LLAMA], ids=["vllm", "sglang", "llama.cpp"])
def test_every_flag_we_render_is_one_the_engine_knows(
    make_rig: MakeRig, change: dict[str, Any]
) -> None:
    engine = change.get("engine", "vllm")
    version = load_flags(engine).version  # the strictest: choices and keys are known too
    program = {"vllm": ("vllm",), "sglang": ("sglang",)}.get(engine, ())
    problems = check_argv(engine, version, (*program, *argv(make_rig, change)))
    assert [p.message for p in problems if p.severity is Severity.ERROR] == []


def test_vllm_gets_model_first_and_each_setting_once(make_rig: MakeRig) -> None:
    words = argv(make_rig, VLLM)
    assert words[:2] == ("serve", "/models/tiny")
    assert after(words, "--tensor-parallel-size") == "2"
    assert after(words, "--gpu-memory-utilization") == "0.9"
    assert after(words, "--host") == "192.0.2.10"
    assert after(words, "--speculative-config") == (
        '{"method": "mtp", "num_speculative_tokens": 3}'
    )
    assert "--enable-auto-tool-choice" in words
    assert len([word for word in words if word.startswith("--")]) == len(
        {word for word in words if word.startswith("--")}
    )


@pytest.mark.parametrize("word", ["auto", "-1"])
def test_vllm_may_take_the_longest_context_that_fits(make_rig: MakeRig, word: str) -> None:
    rig = make_rig(services={"chat": {"context_length": word}})
    (service,) = plan_services(rig, plan_models(rig))
    assert after(service.argv, "--max-model-len") == "auto"
    assert service.context_length is None  # no number that verify could hold it to
    assert rig.model_dump(mode="json")["services"]["chat"]["context_length"] == "auto"


def test_sglang_reads_its_key_from_a_file(make_rig: MakeRig) -> None:
    assert after(argv(make_rig, SGLANG), "--config") == "/run/secrets/sglang.yaml"
    assert "--config" not in argv(make_rig, {"engine": "sglang"})


def test_sglang_gets_its_own_word_for_the_method_and_the_further_options(
    make_rig: MakeRig,
) -> None:
    words = argv(make_rig, SGLANG)
    assert after(words, "--speculative-algorithm") == "EAGLE"
    assert after(words, "--speculative-num-steps") == "3"
    assert after(words, "--speculative-draft-model-path") == "/models/draft"


def test_llama_cpp_shares_its_context_among_the_slots(make_rig: MakeRig) -> None:
    words = argv(make_rig, LLAMA)
    assert after(words, "--ctx-size") == str(4 * 8192)
    assert after(words, "--parallel") == "4"


def test_llama_cpp_puts_all_layers_on_the_cards_and_never_shrinks_by_itself(
    make_rig: MakeRig,
) -> None:
    words = argv(make_rig, {"engine": "llama_cpp", "tensor_parallel_size": "1"})
    assert after(words, "--n-gpu-layers") == "all"
    assert after(words, "--fit") == "off"


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_sizes_of_one_are_left_to_the_engine(make_rig: MakeRig, engine: str) -> None:
    words = argv(make_rig, {"engine": engine, "tensor_parallel_size": "1"})
    assert not [word for word in words if "parallel" in word or "-size" in word]


def test_served_name_is_the_services_own_unless_the_spec_says_others(make_rig: MakeRig) -> None:
    assert after(argv(make_rig, {}), "--served-model-name") == "chat"


def test_older_llama_cpp_gets_no_words_it_does_not_know(make_rig: MakeRig) -> None:
    words = argv(make_rig, {"engine": "llama_cpp", "engine_version": "b6100"})
    assert after(words, "--n-gpu-layers") == "999"
    assert "--fit" not in words
    own = {"engine": "llama_cpp", "extra_args": ["--fit", "on"]}
    assert argv(make_rig, own).count("--fit") == 1


def test_llama_cpp_is_told_one_slot_where_the_spec_says_nothing(make_rig: MakeRig) -> None:
    # the server takes four that share a cache, with four windows, else
    assert after(argv(make_rig, {"engine": "llama_cpp"}), "--parallel") == "1"


def test_llama_cpp_with_one_cache_for_all_is_given_the_length_of_one(make_rig: MakeRig) -> None:
    for told in (
        {"extra_args": ["--kv-unified"]},
        {"environment": {"LLAMA_ARG_KV_UNIFIED": "on"}},
    ):
        assert after(argv(make_rig, LLAMA | told), "--ctx-size") == "8192"
    apart = {"environment": {"LLAMA_ARG_KV_UNIFIED": "off"}}
    assert after(argv(make_rig, LLAMA | apart), "--ctx-size") != "8192"


@pytest.mark.parametrize(
    ("version", "started"),
    [
        ({"engine_version": "0.4.9.post2"}, ("python3", "-m", "sglang.launch_server")),
        ({"engine_version": "0.5.23"}, ("sglang", "serve", "--model-path")),
        ({}, ("sglang", "serve", "--model-path")),
    ],
)
def test_sglang_is_started_as_its_version_can_be(
    make_rig: MakeRig, version: dict[str, str], started: tuple[str, ...]
) -> None:
    rig = make_rig(services={"chat": {"engine": "sglang", **version}})
    plan = plan_services(rig, plan_models(rig))[0]
    entry = plan.run_argv[plan.run_argv.index("--entrypoint") + 1]
    assert (entry, *plan.argv[:2]) == started


def test_mounts_are_read_only_and_must_be_there_before_the_start(make_rig: MakeRig) -> None:
    rig = make_rig(services={"chat": {"mounts": {"/srv/loras": "/loras"}}})
    plan = plan_services(rig, plan_models(rig))[0]
    assert "/srv/loras:/loras:ro" in plan.run_argv
    script, _, unit = (file.content for file in plan.files)
    assert '[ -e "$root/srv/loras" ] || fail' in script
    assert "RequiresMountsFor=" in unit and "/srv/loras" in unit
