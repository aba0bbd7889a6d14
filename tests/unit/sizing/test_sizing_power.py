"""What measured caps cost in speed, and which are marked as measured."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
from published import CONFIGS

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.power import speed_at_cap
from rigspec.sizing.prefill import prefill
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import decode


def capped(sku: str, watts: float | None) -> Card:
    gpu = find_gpu(sku)
    assert gpu is not None
    return card_of(gpu, power_limit_w=watts)


def test_measured_caps_are_marked_measured() -> None:
    found = speed_at_cap(capped("rtx-3090", 280.0), "decode")
    assert (found.value, found.measured) == (0.95, True)
    workstation = capped("rtx-pro-6000-workstation", 300.0)
    assert speed_at_cap(workstation, "decode").value == pytest.approx(0.96)
    assert speed_at_cap(workstation, "batch").value == pytest.approx(0.70)


def test_server_card_loses_less_at_the_same_cap() -> None:
    work, server = (
        speed_at_cap(capped(sku, 300.0), "prefill").value
        for sku in ("rtx-pro-6000-workstation", "rtx-pro-6000-server")
    )
    assert server > work


def test_below_the_sweep_speed_falls_with_power_and_is_not_measured() -> None:
    found = speed_at_cap(capped("rtx-3090", 110.0), "decode")
    assert (found.value, found.most) == (pytest.approx(0.39), 0.78)  # half of 220 W keep half
    assert found.below_sweep
    assert not found.measured


def test_below_the_sweep_the_high_end_is_what_its_lowest_cap_keeps() -> None:
    facts = load_model_facts("Qwen/Qwen3-8B", (CONFIGS,))
    assert facts is not None
    for ask, lowest_w in ((decode, 220.0), (partial(prefill, prompt=4096), 280.0)):
        at, below = (ask(facts, capped("rtx-3090", w), EngineSettings()) for w in (lowest_w, 140.0))
        assert at is not None
        assert below is not None
        assert below.tok_s.high == pytest.approx(at.tok_s.high, rel=0.01)
        assert below.tok_s.value < 0.7 * at.tok_s.value


@pytest.mark.parametrize("settings", [
    EngineSettings(), EngineSettings(tensor_parallel=2), EngineSettings(Engine.LLAMA_CPP),
    EngineSettings(Engine.LLAMA_CPP, tensor_parallel=2),
], ids=["one card", "two ranks", "llama.cpp", "cards in turn"])  # fmt: skip
@pytest.mark.parametrize("sku", ["rtx-3090", "rtx-4090", "rtx-5090", "rtx-pro-6000-workstation",
                                 "rtx-pro-6000-server", "rtx-pro-6000-max-q"])  # fmt: skip
def test_a_lower_cap_is_never_faster(sku: str, settings: EngineSettings) -> None:
    facts = load_model_facts("Qwen/Qwen3-8B", (CONFIGS,))
    assert facts is not None
    works = (decode, partial(decode, streams=4), partial(decode, streams=32),
             partial(prefill, prompt=4096), partial(prefill, prompt=100))  # fmt: skip
    for ask in works:
        found = [ask(facts, capped(sku, watts), settings) for watts in range(100, 620, 10)]
        rates = [speed.tok_s for speed in found if speed is not None]
        assert len(rates) == len(found)
        for lower, higher in pairwise(rates):
            assert lower.low <= higher.low
            assert lower.value <= higher.value
            assert lower.high <= higher.high


def test_other_cards_are_unknown() -> None:
    found = speed_at_cap(capped("rtx-4090", 300.0), "decode")
    assert (found.value, found.measured) == (1.0, False)
    assert "unknown" in found.source


def test_where_the_cost_is_unknown_the_low_end_falls_with_power() -> None:
    assert speed_at_cap(capped("rtx-4090", 225.0), "decode").low == pytest.approx(0.5)
    below = speed_at_cap(capped("rtx-3090", 140.0), "decode")
    assert below.low == pytest.approx(0.4)
    assert not below.measured
    facts = load_model_facts("Qwen/Qwen3-8B", (CONFIGS,))
    assert facts is not None
    for ask in (decode, partial(prefill, prompt=4096)):
        free, held = (ask(facts, capped("rtx-4090", cap), EngineSettings()) for cap in (None, 225))
        assert free is not None
        assert held is not None
        # a prompt's low end holds the server's time, too, which no cap makes longer
        assert held.tok_s.low == pytest.approx(free.tok_s.low / 2, rel=0.1)
        assert held.tok_s.high == free.tok_s.high


def test_a_board_sold_at_a_lower_limit_is_bounded_by_its_sibling() -> None:
    found = speed_at_cap(capped("rtx-pro-6000-max-q", None), "batch")
    assert (found.value, found.low, found.measured) == (1.0, pytest.approx(0.70), False)


def test_no_cap_costs_nothing() -> None:
    assert not speed_at_cap(capped("rtx-4090", 450.0), "decode").source
    assert speed_at_cap(capped("rtx-4090", None), "decode").value == 1.0
    assert speed_at_cap(capped("rtx-3090", 400.0), "decode").value == 1.0
