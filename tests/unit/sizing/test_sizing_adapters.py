"""Slots for LoRA adapters lie beside the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import model

from rigspec.sizing.adapters import DOUBT, adapters_gib
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.settings import Engine, EngineSettings, Lora
from rigspec.sizing.weights import rank_weights
from rigspec.spec.load import load_text
from rigspec.units import GIB

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("slots", "printed_gib"), [(1, 7.63), (16, 8.78), (64, 12.49)]
)  # of rank 16, on a 4090
def test_what_slots_took_beside_4b_is_inside_the_band(slots: int, printed_gib: float) -> None:
    asked = EngineSettings(lora=Lora(slots, 16))
    found = rank_weights(model("Qwen/Qwen3-4B"), asked).amount
    assert found.low < printed_gib < found.high
    assert found.value == pytest.approx(printed_gib, rel=0.05)


def test_without_slots_nothing_is_taken() -> None:
    assert adapters_gib(model("Qwen/Qwen3-4B"), EngineSettings()).high == 0.0


def test_twice_the_rank_takes_twice_as_much() -> None:
    facts = model("Qwen/Qwen3-4B")
    one, two = (adapters_gib(facts, EngineSettings(lora=Lora(1, rank))) for rank in (16, 32))
    assert two.value == pytest.approx(2 * one.value)


def test_ranks_share_one_side_of_each_matrix() -> None:
    facts, asked = model("Qwen/Qwen3-4B"), EngineSettings(lora=Lora(4, 16))
    one, two = (adapters_gib(facts, replace(asked, tensor_parallel=n)).value for n in (1, 2))
    assert one / 2 < two < one


def test_experts_get_pairs_of_their_own_in_newer_releases() -> None:
    facts, asked = model("Qwen/Qwen3-30B-A3B"), EngineSettings(lora=Lora(1, 16))
    older, newer = (adapters_gib(facts, replace(asked, version=v)) for v in ((0, 10), (0, 12)))
    assert newer.value > 10 * older.value
    assert newer.high == older.high  # of neither is it known for certain


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("[--enable-lora]", Lora(1, 16)),
        ("[--enable-lora, --max-loras, 4, --max-lora-rank=64]", Lora(4, 64)),
        ("[--enable_lora, --max_loras=4]", Lora(4, 16)),  # vLLM takes `_` for `-`
        ("[--max-loras, 4]", None),
    ],
)
def test_a_spec_s_flags_arrive(words: str, found: Lora | None) -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    ranks = "    tensor_parallel_size: 2\n"
    loaded = load_text("rig.yaml", text.replace(ranks, f"{ranks}    extra_args: {words}\n"))
    assert loaded.rig is not None, loaded.findings
    assert settings_of(loaded.rig, "qwen").lora == found


def test_only_vllm_is_known_to_give_experts_slots_of_their_own() -> None:
    facts = model("Qwen/Qwen3-30B-A3B")
    theirs, ours = (
        adapters_gib(facts, EngineSettings(engine=engine, lora=Lora(8, 16)))
        for engine in (Engine.SGLANG, Engine.VLLM)
    )
    assert theirs.value < ours.value / 5  # 128 experts a layer beside one attention
    assert theirs.high == ours.high


def test_ranks_share_the_width_of_each_expert() -> None:
    # 48 layers of 128 experts with three matrices of 2,048 by 768: a pair of rank 16 in 16 bits
    # has 2,048 rows, which no rank cuts, and 768, which all share
    facts = model("Qwen/Qwen3-30B-A3B")
    for ranks in (1, 2):
        asked = EngineSettings(lora=Lora(1, 16), tensor_parallel=ranks)
        found = adapters_gib(facts, asked)
        rest, whole = found.low / DOUBT[0], found.high / DOUBT[1]  # without experts and with them
        pairs = 48 * 128 * 3 * (2048 + 768 / ranks) * 16 * 2
        assert whole - rest == pytest.approx(pairs / GIB)
