"""llama.cpp's compute buffer and what it unpacks, against boot logs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.amount import Amount
from rigspec.sizing.llamacpp import terms
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.units import GIB

ONE = EngineSettings(engine=Engine.LLAMA_CPP)
TWO = replace(ONE, tensor_parallel=2)


def term(name: str, facts: ModelFacts, asked: EngineSettings) -> Amount:
    found = {word: amount for word, amount, _ in terms(facts, card("rtx-3090"), asked)}
    return found.get(name, Amount(0.0, 0.0, 0.0))


def gguf(name: str = "Qwen/Qwen3-32B") -> ModelFacts:
    return replace(model(name), quantization=Quantization(Scheme.GGUF, bits_per_weight=4.9))


@pytest.mark.parametrize(
    ("name", "context", "ubatch", "mib"),
    [  # printed by builds of 2025 and 2026 on one card, with flash attention
        ("Qwen/Qwen3.5-9B", 262_144, 512, 808.02),
        ("Qwen/Qwen3.5-9B", 1_048_576, 512, 3120.28),
        ("Qwen/Qwen3.5-27B", 131_072, 512, 495),  # the logits, whatever the context
        ("Qwen/Qwen3.5-27B", 200_192, 512, 654.78),
        ("Qwen/Qwen3.5-27B", 262_144, 512, 836),
        ("Qwen/Qwen3-30B-A3B", 65_536, 512, 300.75),
        ("Qwen/Qwen3-14B", 32_768, 512, 306.75),
        ("openai/gpt-oss-20b", 131_072, 512, 456.98),
        ("google/gemma-4-26B-A4B", 262_144, 288, 472.13),
        ("Qwen/Qwen3.5-35B-A3B", 150_000, 4096, 3976),
    ],
)
def test_one_card_s_buffer_is_the_mask_or_the_logits(
    name: str, context: int, ubatch: int, mib: float
) -> None:
    found = term("compute buffer", gguf(name), replace(ONE, context=context, ubatch=ubatch))
    assert found.value * 1024 == pytest.approx(mib, rel=0.035)


def test_the_batch_that_a_prompt_comes_in_is_none_of_it() -> None:
    asked = replace(ONE, context=262_144)
    wide = term("compute buffer", gguf(), replace(asked, batch=16_384))
    assert wide == term("compute buffer", gguf(), asked)


def test_a_pipeline_keeps_four_copies_of_the_mask() -> None:
    # GLM-5.2 on four cards, 896,000 cells: 3,736 MiB on three of them; an older build on two 3080s
    # 1,021 MiB at 131,072
    asked = replace(TWO, context=131_072)
    found = term("compute buffer", gguf(), asked)
    beside = 512 * (4 * 2 * 25_600 + 8 * 5120) / GIB
    assert found.value == pytest.approx(512 * 8 * 131_072 / GIB + beside)
    assert found.high >= 1021 / 1024
    for split in ("row", "tensor"):
        assert term("compute buffer", gguf(), replace(asked, split=split)) == term(
            "compute buffer", gguf(), replace(ONE, context=131_072)
        )


def test_scores_without_flash_attention_lie_on_each_card_once() -> None:
    # 30B-A3B on two cards without it, 16,384 cells: 1,080 MiB on either
    asked = replace(TWO, context=16_384, flash_attention=False)
    found = term("compute buffer", gguf("Qwen/Qwen3-30B-A3B"), asked)
    assert found.value * 1024 == pytest.approx(1080, rel=0.08)


def test_a_drafter_runs_in_a_context_of_its_own() -> None:
    # 27B with its MTP layer on a 5090, 229,000 tokens: 1,199 MiB that found no room
    asked = replace(ONE, context=229_000)
    facts = gguf("Qwen/Qwen3.5-27B")
    plain, mtp = (
        term("compute buffer", facts, replace(asked, speculative=spec))
        for spec in (None, Speculative("mtp", 2))
    )
    assert mtp.high - plain.high > 1199 / 1024
    assert mtp.value - plain.value == pytest.approx(1199 / 1024, rel=0.3)
    for spec in (Speculative("ngram", 3), Speculative("unstated")):
        assert term("compute buffer", facts, replace(asked, speculative=spec)) == plain


def test_a_quantized_cache_is_unpacked_a_layer_at_a_time() -> None:
    # 27B with 262,144 cells of q4_0 on a 3090 left 353 MB and died of its prompt at 155,000
    facts, asked = gguf("Qwen/Qwen3.5-27B"), replace(ONE, context=262_144, kv_dtype="q4_0")
    found = term("cache unpacked", facts, asked)
    assert found.value == found.high == 262_144 * 4 * (256 + 256) * 2 / GIB
    assert found.low == 0.0  # older builds take it when they need it
    assert found.value * 155_000 / 262_144 > 353 / 1024
    for kind in ("f16", "bf16", "f32"):
        assert not term("cache unpacked", facts, replace(asked, kv_dtype=kind)).high
    assert not term("cache unpacked", facts, replace(asked, flash_attention=False)).high
    mixed = replace(asked, kv_dtype="f16/q8_0")
    assert term("cache unpacked", facts, mixed) == found
    four = replace(asked, context=65_536, slots=4)
    assert term("cache unpacked", facts, four) == found  # each slot has cells of its own
    both = replace(asked, split="tensor", tensor_parallel=2)
    assert term("cache unpacked", facts, both).value == found.value / 2


def test_a_window_keeps_few_cells_to_unpack() -> None:
    asked = replace(ONE, context=131_072, kv_dtype="q8_0")
    windows = term("cache unpacked", gguf("google/gemma-3-27b-it"), asked)
    assert windows.value == 131_072 * 16 * (128 + 128) * 2 / GIB  # the layers that see all
    # 16 heads of 256 in the windows of Gemma 4 31B, 4 of 512 in the layers that see all
    wide = term("cache unpacked", gguf("nvidia/Gemma-4-31B-IT-NVFP4"), asked)
    assert wide.value == 131_072 * 4 * (512 + 512) * 2 / GIB
    latent = gguf("zai-org/GLM-4.7-Flash")
    assert term("cache unpacked", latent, asked).value == 0.0
