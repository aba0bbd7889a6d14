"""A GGUF header says of a model what its `config.json` says, architecture by architecture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf_headers import header

from rigspec.catalog.gguf_config import config_of_gguf
from rigspec.catalog.model_config import CLASS_DEFAULTS, facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_parts import Attention, Delta, Experts, Layer, Mamba, ShortConv

CONFIGS = Path(__file__).parents[3] / "benchmarks/data/model-configs"


def read(name: str) -> dict[str, Any]:
    """As transformers hands it to the converter: the language part, with its class's defaults."""
    found: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    found |= found.get("text_config", {})
    return {**CLASS_DEFAULTS.get(found["model_type"], {}), **found}


def facts(config: dict[str, Any]) -> ModelFacts:
    found = facts_of_config("m", config)
    assert found is not None
    return found


def shape(layer: Layer) -> Layer:
    """Without what weighs nothing, or what a GGUF's bytes tell: biases, shared projections."""
    mixer, experts = layer.mixer, layer.experts
    if isinstance(mixer, Attention):
        mixer = replace(mixer, bias=False, keys_are_values=False)
    if isinstance(experts, Experts):
        experts = replace(experts, bias=False, shared_gate=False)
    return replace(layer, mixer=mixer, experts=experts)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("Qwen__Qwen3-8B", "qwen3"),
        ("Qwen__Qwen3-30B-A3B", "qwen3moe"),
        ("Qwen__Qwen3-Next-80B-A3B-Instruct", "qwen3next"),
        ("Qwen__Qwen3.5-27B", "qwen35"),
        ("Qwen__Qwen3.5-35B-A3B", "qwen35moe"),
        ("openai__gpt-oss-120b", "gpt-oss"),
        ("google__gemma-2-9b-it", "gemma2"),
        ("google__gemma-3-27b-it", "gemma3"),
        ("google__gemma-4-26B-A4B", "gemma4"),
        ("nvidia__Gemma-4-31B-IT-NVFP4", "gemma4"),
        ("meta-llama__Llama-3.1-8B-Instruct", "llama"),
        ("meta-llama__Llama-4-Scout-17B-16E-Instruct", "llama4"),
        ("meta-llama__Llama-4-Maverick-17B-128E-Instruct", "llama4"),
        ("deepseek-ai__DeepSeek-V3", "deepseek2"),
        ("deepseek-ai__DeepSeek-V2-Lite", "deepseek2"),
        ("moonshotai__Kimi-K2-Instruct", "deepseek2"),
        ("zai-org__GLM-4.7-Flash", "deepseek2"),
        ("zai-org__GLM-4.5-Air", "glm4moe"),
        ("zai-org__GLM-5", "glm-dsa"),
        ("MiniMaxAI__MiniMax-M2.5", "minimax-m2"),
        ("nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron_h_moe"),
        ("nvidia__NVIDIA-Nemotron-3-Super-120B-A12B-FP8", "nemotron_h_moe"),
    ],
)
def test_a_header_gives_the_layers_of_its_config(name: str, architecture: str) -> None:
    config = read(name)
    ours, theirs = facts(config_of_gguf(header(config, architecture))), facts(config)
    assert not ours.doubts
    assert [shape(layer) for layer in ours.layers] == [shape(layer) for layer in theirs.layers]
    assert (ours.vocab, ours.hidden, ours.max_positions, ours.soft_cap) == (
        theirs.vocab, theirs.hidden, theirs.max_positions, theirs.soft_cap,
    )  # fmt: skip


def test_latent_attention_of_an_old_file_is_cached_in_whole_heads() -> None:
    config = read("deepseek-ai__DeepSeek-V3")
    old = header(config, "deepseek2") | {"deepseek2.attention.head_count_kv": 128}
    for name in ("key_length_mla", "value_length_mla"):
        del old[f"deepseek2.attention.{name}"]
    old |= {"deepseek2.attention.key_length": 192, "deepseek2.attention.value_length": 128}
    mixer = facts(config_of_gguf(old)).layers[0].mixer
    assert mixer == Attention(heads=128, kv_heads=128, head_dim=192, v_dim=128)


def test_a_latent_head_is_wider_than_its_rotary_part() -> None:
    told = header(read("deepseek-ai__DeepSeek-V3"), "deepseek2")
    said = "`deepseek2.attention.key_length_mla` is 64, of which 64 are rotary"
    with pytest.raises(UnusableModel, match=said):
        config_of_gguf(told | {"deepseek2.attention.key_length_mla": 64})


@pytest.mark.parametrize(
    ("architecture", "kind", "more"),
    [
        ("granitehybrid", Mamba, {
            "ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 1,
            "ssm.time_step_rank": 48, "ssm.inner_size": 3072,
        }),
        ("lfm2", ShortConv, {"shortconv.l_cache": 3}),
        ("kimi-linear", Delta, {"kda.head_dim": 128, "ssm.conv_kernel": 4}),
    ],
)  # fmt: skip
def test_layers_without_key_and_value_heads_keep_a_state(
    architecture: str, kind: type, more: dict[str, int]
) -> None:
    told = header(read("Qwen__Qwen3-8B"), "qwen3") | {
        "qwen3.attention.head_count_kv": [8 * (layer % 4 == 3) for layer in range(36)]
    }
    named = {key.replace("qwen3.", f"{architecture}."): value for key, value in told.items()}
    named |= {f"{architecture}.{key}": value for key, value in more.items()}
    found = facts(config_of_gguf(named | {"general.architecture": architecture}))
    mixers = [layer.mixer for layer in found.layers]
    assert [type(mixer) for mixer in mixers] == [kind, kind, kind, Attention] * 9
    assert mixers[3] == Attention(heads=32, kv_heads=8, head_dim=128, v_dim=128)
    if isinstance(mixers[0], Mamba):
        assert (mixers[0].heads, mixers[0].head_dim, mixers[0].state) == (48, 64, 128)


def test_windows_that_llama_cpp_does_not_use_are_none() -> None:
    told = header(read("microsoft__Phi-3-mini-4k-instruct"), "phi3")
    assert told["phi3.attention.sliding_window"] == 2047
    mixers = [layer.mixer for layer in facts(config_of_gguf(told)).layers]
    assert all(isinstance(mixer, Attention) and mixer.window == 0 for mixer in mixers)


def test_a_list_of_windows_is_followed_whatever_the_class_says() -> None:
    told = header(read("google__gemma-3-27b-it"), "gemma3")
    plain = [layer.mixer for layer in facts(config_of_gguf(told)).layers]
    marks = [layer % 2 == 0 for layer in range(62)]
    listed = told | {"gemma3.attention.sliding_window_pattern": marks}
    found = [layer.mixer for layer in facts(config_of_gguf(listed)).layers]
    windows = [isinstance(mixer, Attention) and mixer.window == 1024 for mixer in found]
    assert windows == marks
    assert plain != found
    period = facts(config_of_gguf(told | {"gemma3.attention.sliding_window_pattern": 2})).layers
    assert [layer.mixer for layer in period] == found


def test_a_list_of_another_length_is_refused() -> None:
    told = header(read("google__gemma-4-26B-A4B"), "gemma4")
    with pytest.raises(UnusableModel, match=r"names 3 layers, `gemma4\.block_count` says 30"):
        config_of_gguf(told | {"gemma4.attention.sliding_window_pattern": [True] * 3})
