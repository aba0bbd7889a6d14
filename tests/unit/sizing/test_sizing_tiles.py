"""Experts of 4 bits, padded to whole tiles of the kernel that runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from published import model

from rigspec.sizing.amount import Amount
from rigspec.sizing.matrices import matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.tiles import padding, wider_tiles
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


def test_whole_experts_are_padded_once_each() -> None:
    # 2,880 of one expert become 2,944; eight parts of 360 become 8 × 384
    cut, whole = of_ranks(8), of_ranks(8, whole=True)
    more = experts_gib() / 8 * (8 * 384 - 2944) / 2880 * 3072 / 2880
    assert cut.value - whole.value == pytest.approx(more, abs=0.02)  # steps of the allocator
    assert above(whole) == pytest.approx(0.025, abs=0.01)


def test_stages_share_what_padding_takes_more() -> None:
    facts = model(GPT_OSS)
    one, two = (
        wider_tiles(facts.hidden, asked, matrices(facts)).high
        for asked in (
            EngineSettings(tensor_parallel=8),
            EngineSettings(tensor_parallel=8, pipeline_parallel=2),
        )
    )
    assert two == pytest.approx(one / 2)


def test_tiles_are_those_of_vllm_s_kernels() -> None:
    # all boots that show them are vLLM's; SGLang's experts are counted as they are stored
    facts, asked = model(GPT_OSS), EngineSettings(Engine.SGLANG, tensor_parallel=8)
    assert wider_tiles(facts.hidden, asked, matrices(facts)).high == 0
    experts = [m for m in matrices(facts) if m.expert]
    assert {padding(facts.hidden, m, asked) for m in experts} == {1.0}
    vllm = replace(asked, engine=Engine.VLLM)
    assert {padding(facts.hidden, m, vllm) for m in experts} == {384 / 360 * 3072 / 2880}


def test_whole_nvfp4_experts_may_be_padded_like_those_of_one_card() -> None:
    # 1,856 wide: 1,920 in tiles of 128 (Nemotron-3-Nano; vLLM 49099), of every expert
    facts = model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4")
    one, two = (
        wider_tiles(facts.hidden, asked, matrices(facts)).high
        for asked in (EngineSettings(), EngineSettings(tensor_parallel=2, expert_parallel=True))
    )
    experts = sum(m.stored_bytes for m in matrices(facts) if m.expert) / 2**30
    assert one == pytest.approx(experts * 64 / 1856)
    assert two == pytest.approx(one / 2)


def test_newer_kernels_may_take_mxfp4_experts_as_they_are_stored() -> None:
    # gpt-oss-120b on an H100: 61.43 GiB in 0.29, 65.97 in 0.10 to 0.12
    facts = model(GPT_OSS)
    old, new, unsaid = (
        rank_weights(facts, EngineSettings(version=version)).amount
        for version in ((0, 12), (0, 29), None)
    )
    assert old.low > 64
    for found in (new, unsaid):
        assert found.value == old.value
        assert found.low <= 61.43
    assert wider_tiles(facts.hidden, EngineSettings(Engine.SGLANG), matrices(facts)).low == 0.0
