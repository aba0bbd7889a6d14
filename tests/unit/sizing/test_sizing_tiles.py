"""Experts of 4 bits, padded to whole tiles of the kernel that runs."""

from __future__ import annotations

import math

import pytest
from published import model

from rigspec.sizing.amount import Amount
from rigspec.sizing.matrices import matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.weights import rank_weights

GPT_OSS = "openai/gpt-oss-120b"
"""2,880 wide, hidden and experts: 3,072 hidden in tiles of 256."""


def of_ranks(ranks: int, engine: Engine = Engine.VLLM, *, whole: bool = False) -> Amount:
    asked = EngineSettings(engine, version=(0, 20), tensor_parallel=ranks, expert_parallel=whole)
    return rank_weights(model(GPT_OSS), asked).amount


def above(found: Amount) -> float:
    return found.high / found.value - 1


def experts_gib() -> float:
    return sum(m.stored_bytes for m in matrices(model(GPT_OSS)) if m.expert) / 2**30


def test_a_rank_s_part_of_mxfp4_experts_may_be_padded_to_the_tile_of_another_kernel() -> None:
    # an eighth of 2,880 is 360: 384 in Marlin's tiles of 128, 512 in tiles of 256
    wider = experts_gib() * (512 - 384) / 2880 * 3072 / 2880
    eighth = of_ranks(8)
    own = above(of_ranks(4)) * eighth.value
    assert eighth.high - eighth.value == pytest.approx(math.hypot(wider, own), rel=0.01)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_width_that_both_tiles_pad_alike_has_no_wider_band(ranks: int) -> None:
    # 2,880 on one card; 1,440 and 720 become 1,536 and 768 with either tile
    assert above(of_ranks(ranks)) == pytest.approx(0.025, abs=0.01)


def test_whole_experts_are_not_padded_and_sglang_s_are_padded_otherwise() -> None:
    for found in (of_ranks(8, whole=True), of_ranks(8, Engine.SGLANG)):
        assert above(found) < 0.05
