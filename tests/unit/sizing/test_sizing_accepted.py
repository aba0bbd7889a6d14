"""Shapes that engines refused, as their issues report them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.accepted import refusals
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.settings import Engine, EngineSettings

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"


def card(sku: str = "h100") -> Card:
    gpu = find_gpu(sku)
    assert gpu is not None
    return card_of(gpu)


def rules(name: str, settings: EngineSettings, sku: str = "h100") -> list[str]:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return [refusal.rule for refusal in refusals(facts, settings, card(sku))]


@pytest.mark.parametrize(
    ("name", "settings", "rule"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", EngineSettings(tensor_parallel=3), "heads"),
        ("microsoft/phi-4", EngineSettings(tensor_parallel=4), "kv-heads"),
        ("Qwen/Qwen3-14B", EngineSettings(tensor_parallel=5), "vocabulary"),
        ("MiniMaxAI/MiniMax-M2.7", EngineSettings(tensor_parallel=8), "fp8-block"),
        ("Qwen/Qwen3-8B", EngineSettings(context=65536), "context"),
        ("Qwen/Qwen3-8B", EngineSettings(tensor_parallel=8, decode_context_parallel=3), "dcp"),
        ("Qwen/Qwen3-8B", EngineSettings(pipeline_parallel=64), "stages"),
    ],
)
def test_refused_shapes(name: str, settings: EngineSettings, rule: str) -> None:
    assert rule in rules(name, settings)


def test_accepted_shapes_have_no_refusal() -> None:
    assert rules("MiniMaxAI/MiniMax-M2.7", EngineSettings(tensor_parallel=4)) == []
    assert rules("microsoft/phi-4", EngineSettings(tensor_parallel=2)) == []
    deep = EngineSettings(tensor_parallel=8, decode_context_parallel=8)
    assert rules("zai-org/GLM-5.1", deep) == []


def test_expert_parallelism_lifts_the_block_rule() -> None:
    settings = EngineSettings(tensor_parallel=8, expert_parallel=True)
    assert rules("MiniMaxAI/MiniMax-M2.7", settings) == []


def test_mxfp4_needs_ampere() -> None:
    assert rules("openai/gpt-oss-20b", EngineSettings(), "tesla-p40") == ["compute-capability"]


def test_llama_cpp_takes_any_shape() -> None:
    odd = replace(EngineSettings(engine=Engine.LLAMA_CPP), tensor_parallel=3)
    assert rules("Qwen/Qwen3-8B", odd) == []
