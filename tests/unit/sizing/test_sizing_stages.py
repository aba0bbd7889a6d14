"""Pipelines whose layers do not share out evenly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.stages import busiest_share, each_stage, fullest_stage, partition
from rigspec.sizing.throughput import decode
from rigspec.sizing.vllm import last_stage_gap
from rigspec.sizing.weights import rank_weights
from rigspec.units import GIB

THREE = EngineSettings(version=(0, 30), pipeline_parallel=3, context=8192)


@pytest.mark.parametrize(
    ("layers", "stages", "vllm", "sglang"),
    [
        (40, 3, [13, 14, 13], [13, 13, 14]),
        (61, 4, [15, 15, 16, 15], [15, 15, 15, 16]),
        (64, 3, [21, 22, 21], [21, 21, 22]),
        (62, 3, [21, 21, 20], [20, 21, 21]),
        (27, 2, [14, 13], [13, 14]),
        (43, 10, [4, 4, 4, 4, 4, 4, 5, 5, 5, 4], [4, 4, 4, 4, 4, 4, 4, 5, 5, 5]),
        (40, 1, [40], [40]),
        (40, 4, [10] * 4, [10] * 4),
    ],
)
def test_layers_are_dealt_out_as_each_engine_does(
    layers: int, stages: int, vllm: list[int], sglang: list[int]
) -> None:
    asked = EngineSettings(pipeline_parallel=stages)
    found = partition(layers, asked)
    assert [len(held) for held in found] == vllm
    assert [n for held in found for n in held] == list(range(layers))
    theirs = partition(layers, replace(asked, engine=Engine.SGLANG))
    assert [len(held) for held in theirs] == sglang


def test_no_stage_holds_table_or_head_and_the_layer_left_over() -> None:
    facts = model("Qwen/Qwen3-14B")  # 40 layers
    fullest = fullest_stage(matrices(facts), facts, THREE)
    layers = {m.layer for m in fullest if m.layer is not None}
    assert len(layers) == 13  # the head is more than one of its layers
    assert Part.HEAD in {m.part for m in fullest}
    by_stage = [rank_weights(facts, stage).amount.value for stage in each_stage(facts, THREE)]
    layer = sum(m.stored_bytes for m in matrices(facts) if m.layer == 0) / GIB
    assert by_stage[0] - by_stage[1] == pytest.approx(151936 * 5120 * 2 / GIB - layer, rel=0.02)
    assert rank_weights(facts, THREE).amount.value == max(by_stage)


def test_the_stage_with_the_least_room_rules() -> None:
    facts = model("Qwen/Qwen3-14B")
    small, large = card("rtx-4080"), card("h100-80gb-hbm3")
    per_layer = 4096  # bytes of one token: 8 heads of 128, keys and values, 16 bits
    for on, stage in ((small, 2), (large, 1)):  # a head of 1.4 GiB against one layer's cache
        found = estimate(facts, on, THREE)
        assert found.asked.settings.stage == stage
        held = len(partition(40, THREE)[stage])
        assert found.kv_tokens is not None
        assert found.kv_tokens.value == pytest.approx(
            found.available.value * GIB / (held * per_layer), rel=0.001
        )
        others = [estimate(facts, on, each).kv_tokens for each in each_stage(facts, THREE)]
        assert found.kv_tokens.value == min(each.value for each in others if each)


def test_drafts_are_kept_on_the_last_stage() -> None:
    facts = model("XiaomiMiMo/MiMo-7B-Base")
    asked = replace(THREE, speculative=Speculative("mtp", 1))
    plain, drafted = (
        [estimate(facts, card("h100-80gb-hbm3"), each).needed for each in each_stage(facts, of)]
        for of in (THREE, asked)
    )
    grown = [one and two and two.value > one.value for one, two in zip(plain, drafted, strict=True)]
    assert grown == [False] * (len(plain) - 1) + [True]


def test_the_stage_with_most_layers_holds_up_the_others() -> None:
    facts = model("Qwen/Qwen3-14B")
    assert busiest_share(facts, THREE, 1) == 1.0
    assert busiest_share(facts, THREE, 16) == pytest.approx(3 * 14 / 40)
    assert busiest_share(facts, replace(THREE, pipeline_parallel=4), 16) == 1.0
    on = card("rtx-3090")
    found = decode(facts, on, THREE, streams=16, context=4096)
    even = decode(facts, on, replace(THREE, pipeline_parallel=1), streams=6, context=4096)
    assert found
    assert even
    cycle = 16 / (even.step.total_ms * 1.05) * 1e3  # six rows a step, as three times as many stages
    assert found.tok_s.value == pytest.approx(cycle / 1.12, rel=0.01)


def test_the_last_stage_of_the_second_runner_has_as_much_room_as_the_others() -> None:
    # 32B at PP 2 on RTX PRO 6000, vLLM 0.27.1: 6.92 GiB hold 56,640 tokens of 32 layers; the first
    # runner's sampler took its copies of the logits on the last stage alone
    facts, on = model("Qwen/Qwen3-32B"), card("rtx-pro-6000-blackwell-server-edition")
    asked = EngineSettings(version=(0, 27, 1), pipeline_parallel=2)
    assert last_stage_gap(facts, asked, on) == 0.0
    assert last_stage_gap(facts, replace(asked, version=(0, 19)), on) > 0.5
    assert last_stage_gap(facts, replace(asked, pipeline_parallel=1, version=(0, 19)), on) == 0.0
