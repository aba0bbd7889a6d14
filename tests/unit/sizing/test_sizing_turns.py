"""Cards of one group: the slowest holds up those that work at once, others add their times up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import CONFIGS, card

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.prefill import prefill
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.turns import at_work, of_group

LAYERS = EngineSettings(engine=Engine.LLAMA_CPP, tensor_parallel=2)


def together(settings: EngineSettings, *skus: str, bits: float = 6.56) -> Amount:
    facts = load_model_facts("google/gemma-3-27b-it", [CONFIGS])
    assert facts is not None
    facts = replace(facts, quantization=Quantization(Scheme.GGUF, bits_per_weight=bits))

    def one(on: Card) -> Speed | None:
        return decode(facts, on, settings)

    found = of_group(tuple(card(sku) for sku in skus), settings, one)
    assert found is not None
    return found.tok_s


def test_a_split_by_layers_adds_the_times_of_unequal_cards() -> None:
    # llama-bench, gemma-3-27b Q6_K_L on a 5070 Ti and a 5060 Ti: 21.3 tok/s, 33 on the faster's own
    found = together(LAYERS, "rtx-5070-ti", "rtx-5060-ti")
    fast, slow = (together(LAYERS, sku, sku) for sku in ("rtx-5070-ti", "rtx-5060-ti"))
    assert found.value == pytest.approx(21.3, rel=0.1)
    assert 1 / found.value == pytest.approx((1 / fast.value + 1 / slow.value) / 2, rel=0.01)
    assert slow.low < found.low < found.value < found.high < fast.high


def test_a_stated_split_gives_each_card_its_share() -> None:
    most_on_fast = replace(LAYERS, tensor_split=(3.0, 1.0))
    fast, slow = (together(LAYERS, sku, sku) for sku in ("rtx-5070-ti", "rtx-5060-ti"))
    found = together(most_on_fast, "rtx-5070-ti", "rtx-5060-ti")
    assert 1 / found.value == pytest.approx(0.75 / fast.value + 0.25 / slow.value)
    none_on_slow = replace(LAYERS, tensor_split=(1.0, 0.0))
    assert together(none_on_slow, "rtx-5070-ti", "rtx-5060-ti").value == pytest.approx(fast.value)


def test_ranks_that_work_at_once_wait_for_the_slowest() -> None:
    ranks = EngineSettings(tensor_parallel=2)
    mixed = together(ranks, "rtx-5070-ti", "rtx-5060-ti")
    assert mixed == together(ranks, "rtx-5060-ti", "rtx-5060-ti")


def test_the_cap_of_the_faster_card_counts_where_it_may_be_the_slower() -> None:
    facts = load_model_facts("google/gemma-3-27b-it", [CONFIGS])
    assert facts is not None
    ranks = EngineSettings(tensor_parallel=2)

    def of(watts: float | None) -> Amount:
        cards = (card("rtx-3090"), card("rtx-4090", power_w=watts))
        found = of_group(cards, ranks, lambda on: decode(facts, on, ranks))
        assert found is not None
        return found.tok_s

    free, capped = of(None), of(150)  # nobody knows what that costs: at most two thirds
    assert (capped.value, capped.high) == (free.value, free.high)
    assert capped.low < 0.5 * free.low


def test_a_card_of_each_kind_that_holds_a_part_is_at_work() -> None:
    cards = (card("rtx-3090", power_w=280), card("rtx-3090"), card("rtx-4090"), card("rtx-4090"))
    kinds = [(c.name[-4:], c.power_limit_w) for c in at_work(cards, LAYERS)]
    assert kinds == [("3090", 280), ("3090", None), ("4090", None)]
    first = replace(LAYERS, tensor_split=(1.0, 1.0))
    assert len(at_work(cards, first)) == 2


def test_a_card_of_unknown_bandwidth_leaves_the_group_unknown() -> None:
    unknown = replace(card("rtx-5060-ti"), name="somebody's card", bandwidth_gb_s=None)
    facts = load_model_facts("google/gemma-3-27b-it", [CONFIGS])
    assert facts is not None
    cards = (card("rtx-5070-ti"), unknown)
    assert of_group(cards, LAYERS, lambda on: decode(facts, on, LAYERS)) is None
    idle = replace(LAYERS, tensor_split=(1.0, 0.0))  # nobody waits for it then
    assert of_group(cards, idle, lambda on: decode(facts, on, idle)) is not None


def test_a_card_without_layers_neither_waits_nor_holds_up() -> None:
    alone = replace(LAYERS, tensor_split=(1.0, 0.0))
    assert (LAYERS.turns, alone.turns) == (2, 1)
    one = replace(LAYERS, tensor_parallel=1)
    facts = load_model_facts("google/gemma-3-27b-it", [CONFIGS])
    assert facts is not None
    for settings in (alone, one):
        found = prefill(facts, card("rtx-5070-ti"), settings, prompt=4096)
        assert found is not None
        assert found.tok_s.value == pytest.approx(prompt_of_one(facts).value)


def prompt_of_one(facts: ModelFacts) -> Amount:
    found = prefill(facts, card("rtx-5070-ti"), EngineSettings(Engine.LLAMA_CPP), prompt=4096)
    assert found is not None
    return found.tok_s
