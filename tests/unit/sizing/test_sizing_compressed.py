"""DeepSeek-V4: what vLLM printed of its weights and of its steps."""

from __future__ import annotations

import pytest
from published import card, model

from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stored import table_bytes
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


def test_tables_lie_on_the_cards_as_a_whole_or_not_at_all() -> None:
    # V4.1-Flash in SGLang on four H200: 119.8 GiB, of which 48 are n-gram tables
    facts = model(NEWER)
    found = rank_weights(facts, EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)).amount
    assert found.high - found.value > table_bytes(facts) / 4 / GIB
    assert found.value < 80 < 119.8 <= found.high
