"""What a load holds beside the checkpoint: tables of positions, buffers, towers, copies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import model

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.weights import rank_weights
from rigspec.units import GIB


@pytest.mark.parametrize(
    ("name", "batch", "printed_gib"),
    [
        # vLLM 0.20.2, 0.9.0.1, 0.13.0 and 0.20.0: four times the rows for positions of videos, a
        # gated tower, buffers for inner outputs of the tower (2,048 and 8,192 tokens)
        ("Qwen/Qwen3-VL-2B-Instruct", 2048, 4.24),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None, 15.627),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", 8192, 58.2299),
        ("Qwen/Qwen3.5-9B", None, 17.66),
    ],
)
def test_tables_and_buffers_of_images_are_counted(
    name: str, batch: int | None, printed_gib: float
) -> None:
    settings = EngineSettings(version=(0, 20), max_batched_tokens=batch)
    assert rank_weights(model(name), settings).amount.value == pytest.approx(printed_gib, rel=0.001)


def test_buffers_for_inner_outputs_are_of_the_batch_and_of_vllm_with_images() -> None:
    # three levels of 4,096 numbers of 16 bits for each of 8,192 tokens
    facts, asked = model("Qwen/Qwen3-VL-8B-Instruct"), EngineSettings(max_batched_tokens=8192)
    row_gib = 3 * 4096 * 2 / 2**30

    def gib(settings: EngineSettings) -> float:
        return rank_weights(facts, settings).amount.value

    few = replace(asked, max_batched_tokens=2048)
    assert gib(asked) - gib(few) == pytest.approx(6144 * row_gib, abs=1e-6)
    text, fewer = (replace(each, language_only=True) for each in (asked, few))
    assert gib(text) == gib(fewer)
    other, least = (replace(each, engine=Engine.SGLANG) for each in (asked, few))
    assert gib(other) == gib(least)


def test_a_table_has_the_part_of_a_head_that_turns_wherever_the_config_says_so() -> None:
    # a quarter of 256, sines and cosines, 262,144 positions four times, 2 bytes
    assert model("Qwen/Qwen3.5-27B").rotary_bytes == 64 * 262144 * 4 * 2


def test_llama_cpp_keeps_no_tables_of_positions() -> None:
    # Gemma 3 has 0.53 GiB of them in vLLM
    facts = model("google/gemma-3-12b-it")
    vllm, llama = (
        rank_weights(facts, EngineSettings(engine=each, language_only=True)).amount.value
        for each in (Engine.VLLM, Engine.LLAMA_CPP)
    )
    assert facts.rotary_bytes > 0.5 * GIB
    # nor the rests of steps that PyTorch allocates in
    assert vllm - llama == pytest.approx(facts.rotary_bytes / GIB, abs=0.06)


@pytest.mark.parametrize(
    ("name", "printed_gib"),
    [
        # vLLM 0.19 and 0.20: a gated tower with a table of positions for rows and one for columns,
        # and keys once more in the place of values that the file spares
        ("google/gemma-4-26B-A4B", 48.5),
        ("nvidia/Gemma-4-26B-A4B-NVFP4", 17.89),
        ("nvidia/Gemma-4-31B-IT-NVFP4", 31.04),
    ],
)
def test_gemma_4_loads_what_it_printed(name: str, printed_gib: float) -> None:
    found = rank_weights(model(name), EngineSettings(version=(0, 20))).amount
    assert found.value == pytest.approx(printed_gib, rel=0.003)


def test_keys_that_are_values_are_kept_twice_by_vllm() -> None:
    # ten layers without a window, four heads of 512 for 5,376 inputs, 16 bits
    facts = model("nvidia/Gemma-4-31B-IT-NVFP4")
    apart = replace(
        facts,
        layers=tuple(
            replace(each, mixer=replace(each.mixer, keys_are_values=False))
            if isinstance(each.mixer, Attention) and each.mixer.keys_are_values
            else each
            for each in facts.layers
        ),
    )
    copied_gib = 10 * 4 * 512 * 5376 * 2 / GIB

    def gib(of: ModelFacts, engine: Engine) -> float:
        return rank_weights(of, EngineSettings(engine=engine, version=(0, 20))).amount.value

    assert gib(facts, Engine.VLLM) == pytest.approx(gib(apart, Engine.VLLM), abs=0.01)
    for other in (Engine.SGLANG, Engine.LLAMA_CPP):
        assert gib(apart, other) - gib(facts, other) == pytest.approx(copied_gib, abs=0.01)
    spread = rank_weights(facts, EngineSettings(engine=Engine.SGLANG)).amount
    assert spread.high > gib(apart, Engine.SGLANG)
    whole, spared = (
        rank_weights(of, EngineSettings(engine=Engine.LLAMA_CPP)).amount for of in (apart, facts)
    )
    assert whole.high - spared.high == pytest.approx(copied_gib, rel=0.1)


def test_the_tower_of_gemma_4_has_the_published_parameters() -> None:
    # 569,550,384 (a copy of it alone that was counted), and the projection to 2,816
    found = model("google/gemma-4-26B-A4B").vision
    assert found is not None
    assert found.elements - 1152 * 2816 == pytest.approx(569_550_384, rel=0.001)
