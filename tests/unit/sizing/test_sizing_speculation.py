"""Steps with drafts: published runs, what a drafter holds, and when the host sets the pace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.all_reduce import HOST_PCIE
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.speculation import host_floor_ms, with_speculation
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.weights import weights_as_loaded

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
TWO = EngineSettings(version=(0, 24), tensor_parallel=2)
MTP = Speculative("mtp", 3)


def model(name: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return facts


def stored(scheme: Scheme) -> ModelFacts:
    return replace(model("Qwen/Qwen3.8-27B"), quantization=Quantization(scheme))


def card(sku: str) -> Card:
    gpu = find_gpu(sku)
    assert gpu is not None
    return card_of(gpu)


def drafted(facts: ModelFacts, sku: str, settings: EngineSettings) -> Speed:
    plain = decode(facts, card(sku), settings, link=HOST_PCIE)
    assert plain is not None
    return with_speculation(plain, facts, card(sku), settings)


@pytest.mark.parametrize(
    ("facts", "sku", "settings", "measured"),
    [
        # club-3090, FP8 weights and an int8 cache: passes of the drafter, each one read
        (stored(Scheme.FP8), "rtx-3090", replace(TWO, kv_dtype="int8", speculative=MTP), 82.3),
        (
            stored(Scheme.FP8), "rtx-3090",
            replace(TWO, kv_dtype="int8", speculative=Speculative("mtp", 5)), 73.5,
        ),
        # a block drafter drafts in one pass, however deep
        (
            stored(Scheme.INT4), "rtx-4090",
            EngineSettings(version=(0, 27), speculative=Speculative("dflash", 15)), 130.5,
        ),
        (
            stored(Scheme.INT4), "rtx-3090",
            replace(TWO, version=(0, 20), speculative=Speculative("dflash", 7)), 86.6,
        ),
        # EAGLE of an H100: the seventh draft brings less than it costs
        (
            model("meta-llama/Meta-Llama-3.1-8B"), "h100",
            EngineSettings(version=(0, 7), speculative=Speculative("eagle", 7)), 169.9,
        ),
    ],
)  # fmt: skip
def test_steps_with_drafts_meet_published_runs(
    facts: ModelFacts, sku: str, settings: EngineSettings, measured: float
) -> None:
    assert drafted(facts, sku, settings).tok_s.value == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("scheme", [Scheme.FP8, Scheme.INT4])
def test_an_8_bit_float_cache_is_launched_in_pieces(scheme: Scheme) -> None:
    # 27B on two 3090s: 68 to 76 tok/s whatever the weights (club-3090, vLLM 0.20 to 0.24)
    asked = replace(TWO, kv_dtype="fp8_e5m2", speculative=MTP)
    assert drafted(stored(scheme), "rtx-3090", asked).tok_s.value == pytest.approx(72, rel=0.06)


@pytest.mark.parametrize(
    ("sku", "version", "kv_dtype", "engine", "in_pieces"),
    [
        ("rtx-3090", (0, 27), "fp8_e4m3", Engine.VLLM, True),
        ("rtx-3090", (0, 27), "int8", Engine.VLLM, False),
        ("rtx-3090", (0, 27), "fp8_e4m3", Engine.SGLANG, False),
        ("h100", (0, 24), "fp8", Engine.VLLM, False),
        ("rtx-5090", (0, 24), "fp8", Engine.VLLM, True),
        ("rtx-5090", (0, 26), "fp8", Engine.VLLM, False),
    ],
)
def test_which_steps_the_host_launches(
    sku: str, version: tuple[int, ...], kv_dtype: str, engine: Engine, in_pieces: bool
) -> None:
    asked = EngineSettings(engine=engine, version=version, kv_dtype=kv_dtype, speculative=MTP)
    assert bool(host_floor_ms(model("Qwen/Qwen3.8-27B"), card(sku), asked)) is in_pieces


def test_a_state_alone_needs_no_attention_kernel() -> None:
    asked = EngineSettings(version=(0, 24), kv_dtype="fp8", speculative=MTP)
    facts = model("Qwen/Qwen3.8-27B")
    without = replace(facts, layers=facts.layers[:3])
    assert host_floor_ms(without, card("rtx-3090"), asked) == 0.0


def test_a_block_drafter_is_weights_beside_the_model() -> None:
    # Qwen3.6-27B-DFlash: 1.75 GB; 1.2 in 4 bits, 3.85 whole
    facts = model("Qwen/Qwen3.8-27B")
    asked = replace(TWO, speculative=Speculative("dflash", 7))
    found = drafter_gib(facts, asked)
    assert found.low <= 1.2 / 1.0737 / 2 <= 1.75 / 1.0737 / 2 <= found.high
    assert found.high >= 3.5 / 1.0737 / 2
    plain = weights_as_loaded(facts, TWO).amount.value
    assert weights_as_loaded(facts, asked).amount.value == pytest.approx(plain + found.value)


def test_a_stated_drafter_is_taken_at_its_word() -> None:
    asked = replace(TWO, speculative=Speculative("dflash", 7, draft_gib=3.0))
    assert drafter_gib(model("Qwen/Qwen3.8-27B"), asked).value == 1.5
