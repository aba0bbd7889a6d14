"""DeepSeek-V4: what vLLM printed of its weights and of its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_parts import Compressed
from rigspec.sizing.accepted import refusals
from rigspec.sizing.cache_type import cache_type
from rigspec.sizing.compressed_cache import request_gib
from rigspec.sizing.memory import estimate
from rigspec.sizing.prefill import prefill
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stored import table_bytes
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.vllm_activation import peak_activation
from rigspec.sizing.weights import rank_weights
from rigspec.units import GIB

FLASH, PRO = "deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4-Pro"
NEWER = "deepseek-ai/DeepSeek-V4.1-Flash"


@pytest.mark.parametrize(
    ("name", "ranks", "version", "printed_gib"),
    [
        (FLASH, 2, (0, 23), 74.08),  # two H200
        (FLASH, 4, (0, 30), 37.8),  # four H200
        (FLASH, 8, (0, 31), 19.79),  # eight H100
        (PRO, 8, (0, 30), 102.31),  # eight H200
        (NEWER, 4, (0, 30), 79.07),  # four H200
    ],
)
def test_printed_loads_are_within_three_per_cent(
    name: str, ranks: int, version: tuple[int, ...], printed_gib: float
) -> None:
    asked = EngineSettings(tensor_parallel=ranks, version=version)
    found = rank_weights(model(name), asked).amount
    assert found.value == pytest.approx(printed_gib, rel=0.03)
    assert found.low <= printed_gib <= found.high


def test_an_eighth_of_an_expert_may_be_held_as_stored() -> None:
    # 2,304 over eight H100 is no multiple of Marlin's tile: 36.32 GiB in 0.31, a third more by it
    asked = EngineSettings(tensor_parallel=8, version=(0, 31))
    found = rank_weights(model(NEWER), asked).amount
    assert found.low <= 36.32 < found.value


@pytest.mark.parametrize(
    ("name", "ranks", "tokens", "version", "printed_gib"),
    [
        (FLASH, 4, 8192, (0, 30, 0), 3.1),
        (NEWER, 4, 8192, (0, 30, 0), 3.45),
        (PRO, 8, 8192, (0, 30, 0), 4.14),
        (FLASH, 2, 4096, (0, 26), 1.66),  # while other experts still had the first runner
    ],
)
def test_printed_peaks_of_a_step(
    name: str, ranks: int, tokens: int, version: tuple[int, ...], printed_gib: float
) -> None:
    asked = EngineSettings(
        tensor_parallel=ranks, max_batched_tokens=tokens, max_seqs=64, version=version
    )
    found = peak_activation(model(name), asked, card("h200"))
    assert found.value == pytest.approx(printed_gib, rel=0.1)
    assert found.low <= printed_gib <= found.high


@pytest.mark.parametrize(
    ("sku", "ranks", "printed_tok_s"),
    [
        ("rtx-pro-6000-workstation", 2, 13_350),  # three builds of July 2026
        ("rtx-pro-6000-workstation", 2, 11_900),
        ("rtx-pro-6000-workstation", 2, 8_907),
        ("rtx-pro-6000-workstation", 2, 6_240),
        ("rtx-pro-6000-workstation", 4, 14_730),
        ("rtx-4090", 4, 4_160),
    ],
)
def test_published_prompts_lie_within_the_band(sku: str, ranks: int, printed_tok_s: float) -> None:
    asked = EngineSettings(tensor_parallel=ranks)
    found = prefill(model(FLASH), card(sku), asked, prompt=8192)
    assert found is not None
    assert found.tok_s.low <= printed_tok_s <= found.tok_s.high


def test_heads_of_many_ranks_take_what_the_kernels_take_at_least() -> None:
    asked = (
        EngineSettings(tensor_parallel=n, max_batched_tokens=8192, version=(0, 30)) for n in (4, 8)
    )
    four, eight = (peak_activation(model(FLASH), each, card("h200")).value for each in asked)
    assert eight == pytest.approx(four, rel=0.05)  # 16 and 8 heads: 64 on either


def test_llama_cpp_keeps_nothing_twice_and_sglang_perhaps() -> None:
    stored, perhaps, twice = (
        rank_weights(model(FLASH), EngineSettings(engine=engine, tensor_parallel=4)).amount
        for engine in (Engine.LLAMA_CPP, Engine.SGLANG, Engine.VLLM)
    )
    assert twice.value - perhaps.value == pytest.approx(1.35 - 0.15, abs=0.1)
    assert stored.value < perhaps.value
    assert stored.high < 1.11 * stored.value


@pytest.mark.parametrize(
    ("name", "context", "batch", "printed_gib"),
    [
        # what a boot left for the cache, by the requests that it printed
        (FLASH, 4096, None, 1.45),  # 0.23
        (FLASH, 65_536, 8192, 2.74),  # 0.26
        (FLASH, 121_344, None, 6.22),  # 0.26
        (FLASH, 32_768, 8192, 6.36),  # 0.30
        (FLASH, 262_144, 8192, 7.19),  # 0.31
        (FLASH, 912_128, None, 6.32),  # 0.26
        (FLASH, 1_048_576, 32_768, 26.33),  # 0.26
        (FLASH, 1_048_576, None, 10.83),  # with vision and drafts
        (FLASH, 262_144, 2048, 1.93),  # a fork for 4090s
        (PRO, 32_768, 8192, 9.08),  # 0.30
        (NEWER, 32_768, 8192, 0.45),  # 0.30
        (NEWER, 262_144, 8192, 0.84),  # 0.31
    ],
)
def test_printed_requests_lie_within_the_bounds(
    name: str, context: int, batch: int | None, printed_gib: float
) -> None:
    found = request_gib(model(name), EngineSettings(max_batched_tokens=batch), context)
    assert found is not None
    assert found.low <= printed_gib <= found.high
    assert found.low <= found.value <= found.high


def test_records_of_a_million_tokens_are_what_the_ratios_leave() -> None:
    # 21 layers keep a record and an index key for four tokens, 20 a record for 128
    per_token = 21 * (584 + 132) / 4 + 20 * 584 / 128
    asked = EngineSettings(max_batched_tokens=1)
    short, long = (request_gib(model(FLASH), asked, n) for n in (1, 1_000_001))
    assert short is not None
    assert long is not None
    assert long.value - short.value == pytest.approx(per_token * 1e6 / GIB)
    wide = request_gib(model(FLASH), EngineSettings(kv_dtype="bfloat16"), 1_000_000)
    narrow = request_gib(model(FLASH), EngineSettings(kv_dtype="nvfp4_ds_mla"), 1_000_000)
    assert wide is not None
    assert narrow is not None
    assert narrow.low < 0.6 * long.low < long.low < wide.low


def test_layers_that_read_another_s_records_keep_none() -> None:
    newer = [layer.mixer for layer in model(NEWER).layers]
    assert sum(isinstance(m, Compressed) and m.keeps_cache for m in newer) == 4
    assert sum(isinstance(m, Compressed) and m.keeps_index for m in newer) == 8
    older = [layer.mixer for layer in model(FLASH).layers]
    assert all(isinstance(m, Compressed) and m.keeps_cache and m.keeps_index for m in older)


def test_nobody_compared_the_pools_of_other_engines_or_models() -> None:
    assert request_gib(model(FLASH), EngineSettings(engine=Engine.SGLANG), 4096) is None
    assert request_gib(model("Qwen/Qwen3-8B"), EngineSettings(), 4096) is None


def test_a_box_with_room_for_the_largest_bound_fits_for_sure() -> None:
    asked = EngineSettings(tensor_parallel=4, context=262_144)
    assert estimate(model(FLASH), card("h200"), asked).verdict is Verdict.YES
    pair = replace(asked, tensor_parallel=2)
    assert estimate(model(FLASH), card("rtx-pro-6000-workstation"), pair).verdict is Verdict.CLOSE
    assert cache_type(model(FLASH), asked).name == "fp8"


def test_tables_lie_on_the_cards_as_a_whole_or_not_at_all() -> None:
    # V4.1-Flash in SGLang on four H200: 119.8 GiB, of which 48 are n-gram tables
    facts = model(NEWER)
    found = rank_weights(facts, EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)).amount
    assert found.high - found.value > table_bytes(facts) / 4 / GIB
    assert found.value < 80 < 119.8 <= found.high


def test_ranks_that_do_not_divide_its_heads_are_refused() -> None:
    # 64 heads in ten parts
    cards = [
        refusals(model(FLASH), EngineSettings(tensor_parallel=n), card("h200")) for n in (8, 10)
    ]
    heads = [[each.message for each in found if each.rule == "heads"] for found in cards]
    assert heads == [[], ["64 attention heads do not divide by TP 10"]]


def test_what_llama_cpp_keeps_of_compressed_tokens_is_not_promised() -> None:
    # no run has printed it
    asked = EngineSettings(engine=Engine.LLAMA_CPP, context=32_768)
    found = estimate(model(FLASH), card("b300"), asked)
    assert found.needed is None
    assert found.verdict is Verdict.CLOSE


def test_a_type_that_nobody_knows_is_counted_as_sixteen_bits() -> None:
    sixteen, unknown, eight = (
        request_gib(model(FLASH), EngineSettings(kv_dtype=word), 1_000_000)
        for word in ("bfloat16", "fp8_e5m3", "fp8_e4m3")
    )
    assert sixteen is not None
    assert unknown is not None
    assert eight is not None
    assert unknown.value == sixteen.value > eight.value
    assert unknown.low < eight.low  # it may be narrower than any
