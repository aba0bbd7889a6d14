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
        ("XiaomiMiMo__MiMo-V2-Flash", "mimo2"),
        ("stepfun-ai__Step-3.7-Flash", "step35"),
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
    ("architecture", "state", "more"),
    [
        ("granitehybrid", Mamba(heads=48, head_dim=64, groups=2, state=128, kernel=5), {
            "ssm.conv_kernel": 5, "ssm.state_size": 128, "ssm.group_count": 2,
            "ssm.time_step_rank": 48, "ssm.inner_size": 3072,
        }),
        ("lfm2", ShortConv(width=4096, kernel=5), {"shortconv.l_cache": 5}),
        ("lfm2moe", ShortConv(width=4096, kernel=5), {"shortconv.l_cache": 5}),
        ("kimi-linear", Delta(32, 32, 96, 96, 5), {"kda.head_dim": 96, "ssm.conv_kernel": 5}),
    ],
)  # fmt: skip
def test_layers_without_key_and_value_heads_keep_a_state(
    architecture: str, state: Mamba | ShortConv | Delta, more: dict[str, int]
) -> None:
    told = header(read("Qwen__Qwen3-8B"), "qwen3") | {
        "qwen3.attention.head_count_kv": [8 * (layer % 4 == 3) for layer in range(36)]
    }
    named = {key.replace("qwen3.", f"{architecture}."): value for key, value in told.items()}
    named |= {f"{architecture}.{key}": value for key, value in more.items()}
    found = facts(config_of_gguf(named | {"general.architecture": architecture}))
    mixers = [layer.mixer for layer in found.layers]
    plain = Attention(heads=32, kv_heads=8, head_dim=128, v_dim=128)
    assert mixers == [state, state, state, plain] * 9
    assert "not known" not in "".join(found.doubts)
    whole = named | {f"{architecture}.attention.head_count_kv": 8}
    assert facts(config_of_gguf(whole | {"general.architecture": architecture})).layers[0] != state


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


def test_layers_that_share_a_cache_widths_by_layer_and_dense_parts_are_followed() -> None:
    told = header(read("google__gemma-4-26B-A4B"), "gemma4")
    widths = [2112] * 15 + [4224] * 15
    more = {"gemma4.attention.shared_kv_layers": 10, "gemma4.feed_forward_length": widths}
    layers = facts(config_of_gguf(told | more)).layers
    shared = [isinstance(layer.mixer, Attention) and layer.mixer.shares_cache for layer in layers]
    assert shared == [False] * 20 + [True] * 10
    assert [layer.mlp.width if layer.mlp else 0 for layer in layers] == widths
    some = {"gemma4.feed_forward_length": [0] * 15 + [4224] * 15}  # of a kind that nobody knows
    assert {
        layer.mlp.width for layer in facts(config_of_gguf(told | some)).layers if layer.mlp
    } == {4224}


def test_nemotron_without_experts_is_fed_by_plain_layers() -> None:
    told = header(read("nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"), "nemotron_h_moe")
    named = {key.replace("nemotron_h_moe.", "nemotron_h."): told[key] for key in told}
    for key in ("expert_count", "expert_used_count", "expert_feed_forward_length"):
        del named[f"nemotron_h.{key}"]
    found = facts(config_of_gguf(named | {"general.architecture": "nemotron_h"}))
    fed = [layer.mlp for layer in found.layers if layer.mlp is not None]
    assert len(fed) == 23
    assert not fed[0].gated  # squared ReLU
    assert not any(layer.experts for layer in found.layers)


def test_a_list_of_words_is_no_list_of_heads() -> None:
    told = header(read("Qwen__Qwen3-8B"), "qwen3")
    words = told | {"qwen3.attention.sliding_window_pattern": ["a"] * 36}
    assert facts(config_of_gguf(words)).layers == facts(config_of_gguf(told)).layers


def test_what_llama_cpp_takes_where_a_header_says_nothing() -> None:
    windows = header(read("google__gemma-3-27b-it"), "gemma3")
    del windows["gemma3.attention.sliding_window"]
    mixers = [layer.mixer for layer in facts(config_of_gguf(windows)).layers]
    assert all(isinstance(mixer, Attention) and mixer.window == 0 for mixer in mixers)
    states = header(read("Qwen__Qwen3.5-35B-A3B"), "qwen35moe")
    whole = facts(config_of_gguf(states)).layers
    del states["qwen35moe.full_attention_interval"]
    assert facts(config_of_gguf(states)).layers == whole
