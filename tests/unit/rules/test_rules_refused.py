"""What engines refuse at start: sure of the project's own images, careful with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.engine_support import unlisted
from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import load_model_facts
from rigspec.finding import Finding, Severity
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "benchmarks" / "data" / "model-configs"
STOCK = "vllm/vllm-openai:v0.33.0@sha256:" + "0" * 64
SGLANG = "lmsysorg/sglang:v0.5.23-cu130@sha256:" + "0" * 64
OWN = "example/engine:v1@sha256:" + "0" * 64


def model(name: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return facts


def found(rule: str, sku: str = "rtx-3090", serves: str = "", **service: Any) -> list[Finding]:
    """What a rule says of the fine base spec with other cards and a changed service."""
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"] = {"main": {"sku": sku, "count": 2}}
    data["services"]["chat"] |= {"engine_version": None, **service}
    facts = CheckContext({"chat": model(serves)}) if serves else CheckContext()
    return [f for f in check(Rig.model_validate(data), facts) if f.rule == rule]


def severity(findings: list[Finding]) -> str:
    return " ".join(finding.severity.value for finding in findings)


@pytest.mark.parametrize(
    ("sku", "service", "said"),
    [
        ("tesla-p40", {"image": STOCK}, "error"),
        ("tesla-v100-pcie-32gb", {"image": STOCK}, "error"),
        ("tesla-v100-pcie-32gb", {"image": STOCK.replace("v0.33.0", "v0.19.1")}, ""),
        ("tesla-v100-pcie-32gb", {"image": STOCK.replace("v0.33.0", "latest")}, "warning"),
        ("tesla-p40", {"image": STOCK.replace("v0.33.0", "latest")}, "error"),
        ("tesla-p40", {"image": OWN, "engine_version": "0.33.0"}, "warning"),
        ("tesla-p40", {"engine": "sglang", "image": SGLANG}, "error"),
        ("tesla-t4", {"engine": "sglang", "image": SGLANG}, "error"),
        ("tesla-t4", {"image": STOCK}, ""),
        ("rtx-3090", {"engine": "sglang", "image": SGLANG}, ""),
    ],
)
def test_a_card_that_the_engines_builds_have_no_code_for(
    sku: str, service: dict[str, Any], said: str
) -> None:
    findings = found("refused.card", sku, **service)
    assert severity(findings) == said
    assert all(f.path == ("services", "chat", "gpus", 0) for f in findings)


def test_the_old_card_is_found_behind_a_new_one() -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"]["old"] = {"sku": "tesla-p40", "count": 1}
    data["services"]["chat"]["gpus"] = ["main", "old"]
    rule = [f for f in check(Rig.model_validate(data)) if f.rule == "refused.card"]
    assert [f.path for f in rule] == [("services", "chat", "gpus", 1)]


@pytest.mark.parametrize(
    ("serves", "service", "said"),
    [
        ("", {"image": STOCK, "kv_cache_dtype": "nvfp4"}, ""),
        ("", {"image": STOCK.replace("33", "30"), "kv_cache_dtype": "nvfp4"}, "error"),
        ("", {"image": OWN, "engine_version": "0.30.0", "kv_cache_dtype": "nvfp4"}, "warning"),
        ("", {"image": STOCK, "kv_cache_dtype": "fp8_inc"}, "error"),
        ("", {"image": STOCK, "kv_cache_dtype": "fp8"}, ""),
        ("zai-org/GLM-4.7-Flash", {"image": STOCK, "kv_cache_dtype": "fp8"}, "error"),
        ("zai-org/GLM-4.7-Flash", {"image": STOCK}, ""),
        ("zai-org/GLM-5.1", {"image": STOCK}, "error"),
        ("", {"engine": "sglang", "image": SGLANG, "kv_cache_dtype": "nvfp4"}, "error"),
        ("", {"engine": "sglang", "image": SGLANG, "kv_cache_dtype": "fp8_e5m2"}, ""),
    ],
)
def test_a_cache_type_or_an_attention_without_kernels(
    serves: str, service: dict[str, Any], said: str
) -> None:
    findings = found("refused.attention", serves=serves, **service)
    assert severity(findings) == said
    place = "kv_cache_dtype" if "kv_cache_dtype" in service else "model"
    assert all(f.path == ("services", "chat", place) for f in findings)


@pytest.mark.parametrize(
    ("serves", "engine", "argument", "refused"),
    [
        ("MiniMaxAI/MiniMax-M2.7", "vllm", "awq", True),
        ("MiniMaxAI/MiniMax-M2.7", "vllm", "fp8", False),
        ("MiniMaxAI/MiniMax-M2.7", "sglang", "awq_marlin", True),
        ("MiniMaxAI/MiniMax-M2.7", "vllm", "my_plugin", False),
        ("Qwen/Qwen3-8B", "vllm", "awq", True),
        ("Qwen/Qwen3-8B", "vllm", "gptq_marlin", True),
        ("Qwen/Qwen3-8B", "vllm", "fp8", False),
        ("Qwen/Qwen3-8B", "vllm", "bitsandbytes", False),
        ("Qwen/Qwen3-8B", "sglang", "gptq", True),
    ],
)
def test_a_quantization_that_the_weights_do_not_have(
    serves: str, engine: str, argument: str, refused: bool
) -> None:
    image = STOCK if engine == "vllm" else SGLANG
    findings = found(
        "refused.quantization", serves=serves, engine=engine, image=image, quantization=argument
    )
    assert severity(findings) == ("error" if refused else "")
    assert all(f.path == ("services", "chat", "quantization") for f in findings)


def test_faster_kernels_of_the_same_format_are_taken() -> None:
    awq = next(
        facts
        for file in sorted(CONFIGS.glob("*.json"))
        if (facts := load_model_facts(file.stem.replace("__", "/"), [CONFIGS])) is not None
        and facts.quantization.method == "awq"
    )
    for argument, refused in (("awq_marlin", False), ("gptq", True)):
        findings = found(
            "refused.quantization", serves=awq.name, image=STOCK, quantization=argument
        )
        assert bool(findings) is refused


@pytest.mark.parametrize(
    ("sku", "words", "refused"),
    [
        ("tesla-t4", ["--dtype", "bfloat16"], True),
        ("tesla-t4", ["--dtype=bfloat16"], True),
        ("tesla-t4", ["--dtype", "half"], False),
        ("rtx-3090", ["--dtype", "bfloat16"], False),
    ],
)
def test_bfloat16_before_ampere(sku: str, words: list[str], refused: bool) -> None:
    findings = found("refused.bfloat16", sku, image=STOCK, extra_args=words)
    last = ("services", "chat", "extra_args", len(words) - 1)
    assert [f.path for f in findings] == ([last] if refused else [])


@pytest.mark.parametrize(
    ("serves", "word", "rules"),
    [
        ("google/gemma-2-9b-it", "half", ["refused.float16"]),
        ("google/gemma-3-27b-it", "float16", ["refused.float16"]),
        ("google/gemma-2-9b-it", "auto", []),
        ("Qwen/Qwen3-8B", "half", []),
    ],
)
def test_a_model_that_does_not_bear_float16(serves: str, word: str, rules: list[str]) -> None:
    told = {"image": STOCK, "extra_args": ["--dtype", word], "serves": serves}
    assert [f.rule for f in found("refused.float16", "tesla-t4", **told)] == rules


def test_float16_is_left_to_an_engine_that_does_not_refuse_it() -> None:
    # the list of such models is vLLM's
    told = {"image": SGLANG, "extra_args": ["--dtype", "half"], "serves": "google/gemma-2-9b-it"}
    assert found("refused.float16", "tesla-t4", engine="sglang", **told) == []


@pytest.mark.parametrize(
    ("serves", "hint"),
    [
        ("google/gemma-2-9b-it", "delete it"),
        ("Qwen/Qwen3-8B", "delete it, or `--dtype half`"),
    ],
)
def test_no_hint_names_a_type_that_the_model_does_not_bear(serves: str, hint: str) -> None:
    told = {"image": STOCK, "extra_args": ["--dtype", "bfloat16"], "serves": serves}
    (finding,) = found("refused.bfloat16", "tesla-t4", **told)
    assert finding.hint == hint


@pytest.mark.parametrize(
    ("sku", "stated", "place", "hint"),
    [
        ("tesla-t4", None, "kv_cache_dtype", "`kv_cache_dtype: float16`"),
        ("tesla-t4", "auto", "kv_cache_dtype", "`kv_cache_dtype: float16`"),
        ("tesla-t4", "fp8", "kv_cache_dtype", "`kv_cache_dtype: float16`"),
        ("tesla-t4", "float16", None, ""),
        ("rtx-3090", None, None, ""),
    ],
)
def test_a_cache_type_that_the_checkpoint_asks_for(
    sku: str, stated: str | None, place: str | None, hint: str
) -> None:
    serves = "nvidia/Llama-3.1-70B-Instruct-FP8"
    findings = found("refused.attention", sku, serves, image=STOCK, kv_cache_dtype=stated)
    assert [f.path[-1] for f in findings] == ([place] if place else [])
    for finding in findings:
        assert "has a cache of type `fp8`" in finding.message
        assert "the checkpoint asks for it" in finding.message
        assert finding.hint == hint


@pytest.mark.parametrize(("sku", "refused"), [("a100-80gb-pcie", True), ("h200", False)])
def test_sglang_reads_no_sparse_attention_on_ampere(sku: str, refused: bool) -> None:
    serves = "deepseek-ai/DeepSeek-V3.2"
    findings = found("refused.attention", sku, serves, engine="sglang", image=SGLANG)
    assert bool(findings) is refused


@pytest.mark.parametrize(
    ("sku", "image", "said"),
    [
        ("rtx-3090", STOCK, "error"),
        ("a100-80gb-pcie", STOCK, "error"),
        ("rtx-4090", STOCK, "error"),
        ("rtx-4090", STOCK.replace("v0.33.0", "latest"), "error"),  # no release had them
        ("rtx-3090", OWN, "warning"),
        ("h200", STOCK, ""),
        ("b200", STOCK, ""),
        ("rtx-pro-6000-blackwell-workstation-edition", STOCK, ""),
    ],
)
def test_a_compressed_cache_has_kernels_from_hopper_on(sku: str, image: str, said: str) -> None:
    for serves in ("deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4.1-Flash"):
        findings = found("refused.attention", sku, serves, image=image)
        assert severity(findings) == said
        assert all("`engine: llama_cpp`" in finding.hint for finding in findings)
        assert all(finding.path[-1] == "model" for finding in findings)


@pytest.mark.parametrize(
    ("batch", "words", "refused"),
    [
        (8192, ["--no-enable-chunked-prefill"], True),
        (16384, ["--no-enable-chunked-prefill"], False),
        (8192, [], False),
        (None, ["--no-enable-chunked-prefill"], False),
    ],
)
def test_prompts_longer_than_a_batch(batch: int | None, words: list[str], refused: bool) -> None:
    findings = found(
        "refused.long-prompts",
        image=STOCK,
        context_length=16384,
        max_batched_tokens=batch,
        extra_args=words,
    )
    assert bool(findings) is refused


@pytest.mark.parametrize(
    ("build", "cache", "words", "refused"),
    [
        ("-b11434", "q8_0", [], False),
        ("-b11434", "q8_0", ["-fa", "off"], True),
        ("-b11434", "f16", ["-fa", "off"], False),
        ("-b11434", "q8_0", ["--flash-attn", "on"], False),
        ("-b6000", "q8_0", ["--flash_attn"], False),  # `_` for `-`, as its parser reads a long name
        ("-b6000", "q8_0", [], True),
        ("-b6000", "q8_0", ["-fa"], False),
        ("", "q8_0", [], False),
    ],
)
def test_a_quantized_cache_of_values(
    build: str, cache: str, words: list[str], refused: bool
) -> None:
    findings = found(
        "refused.value-cache",
        engine="llama_cpp",
        image=f"ghcr.io/ggml-org/llama.cpp:server-cuda{build}@sha256:" + "0" * 64,
        kv_cache_dtype=cache,
        extra_args=words,
    )
    assert bool(findings) is refused
    assert all(f.severity is Severity.ERROR for f in findings)


def test_a_quantized_cache_whose_flash_attention_the_environment_turns_off() -> None:
    (finding,) = found(
        "refused.value-cache",
        engine="llama_cpp",
        image="ghcr.io/ggml-org/llama.cpp:server-cuda-b11434@sha256:" + "0" * 64,
        kv_cache_dtype="q8_0",
        environment={"LLAMA_ARG_FLASH_ATTN": "off"},
    )
    assert finding.hint == "delete `LLAMA_ARG_FLASH_ATTN=off`"


@pytest.mark.parametrize(
    ("serves", "version", "said"),
    [
        ("zai-org/GLM-4.7-Flash", "0.14.1", "warning"),
        ("zai-org/GLM-4.7-Flash", "0.15.0", ""),  # between two samples that differ
        ("zai-org/GLM-4.7-Flash", "0.16.0", ""),
        ("zai-org/GLM-4.7-Flash", "0.14.1.dev7", ""),
        ("Qwen/Qwen3-8B", "0.33.0", ""),
    ],
)
def test_an_architecture_that_came_later(serves: str, version: str, said: str) -> None:
    image = STOCK.replace("0.33.0", "latest")
    findings = found("refused.architecture", "h100", serves, image=image, engine_version=version)
    assert severity(findings) == said
    assert all(f.path == ("services", "chat", "engine_version") for f in findings)


@pytest.mark.parametrize(
    ("listed", "engine", "version", "said"),
    [
        (["Qwen3ForCasualLM"], "vllm", "0.33.0",
         "no release of vLLM from 0.8.5 to 0.33.0 lists `Qwen3ForCasualLM`"),
        (["LlamaForCausalM"], "vllm", None,
         "no release of vLLM from 0.8.5 to 0.33.0 lists `LlamaForCausalM`"),
        (["Qwen3ForCasualLM"], "sglang", "0.5.4",
         "no release of SGLang from 0.5.3 to 0.5.23 lists `Qwen3ForCasualLM`"),
        ([], "vllm", "0.33.0",
         "its config names no class in `architectures`, by which vLLM takes a model"),
        (["Qwen3ForCasualLM"], "vllm", "0.34.0", ""),  # newer than what was looked at
        (["Qwen3ForCasualLM"], "vllm", "0.8.4", ""),
        (["Qwen3ForCasualLM"], "vllm", "0.33.0.dev7", ""),
        (["LlamaForCausalLM"], "vllm", None, ""),
        (["LlamaForCausalLM"], "sglang", "0.5.23", ""),
    ],
)  # fmt: skip
def test_a_class_that_no_release_lists(
    listed: list[str], engine: str, version: str | None, said: str
) -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    facts = facts_of_config("m", config | {"architectures": listed})
    assert facts is not None
    label = {"vllm": "vLLM", "sglang": "SGLang"}[engine]
    told = unlisted(engine, label, facts, version)
    assert (told.message if told else "") == said


def test_a_class_that_no_release_lists_is_said_at_the_model() -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    facts = facts_of_config("m", config | {"architectures": ["Qwen3ForCasualLM"]})
    assert facts is not None
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    findings = check(rig, CheckContext({"chat": facts}))
    (finding,) = [f for f in findings if f.rule == "refused.architecture"]
    assert finding.severity is Severity.WARNING
    assert finding.path == ("services", "chat", "model")
