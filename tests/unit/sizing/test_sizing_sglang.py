"""What SGLang takes by itself, by release, and what recurrent states leave its cache."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.sizing import sglang
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings

OLD = EngineSettings(engine=Engine.SGLANG, version=(0, 4, 4))


@pytest.mark.parametrize(
    ("ranks", "share"), [(1, 0.88), (2, 0.87), (4, 0.85), (8, 0.81), (16, 0.79)]
)
def test_shares_of_old_releases_go_by_the_ranks_alone(ranks: int, share: float) -> None:
    asked = replace(OLD, tensor_parallel=ranks)
    for sku in ("rtx-3090", "h100"):
        assert sglang.fraction_of(card(sku), asked, vision=False) == share
        assert sglang.fraction_of(card(sku), asked, vision=True) == pytest.approx(0.95 * share)
    newer = replace(asked, version=(0, 4, 7))
    assert sglang.fraction_of(card("rtx-3090"), newer, vision=False) != share
    stated = replace(asked, memory_fraction=0.7)
    assert sglang.fraction_of(card("h100"), stated, vision=False) == 0.7


def test_an_old_release_left_llama_as_much_as_it_printed() -> None:
    # Llama-3.1-8B, 0.4.4 line, 78.59 GB free: 442,750 tokens
    on = replace(card("h100"), free_gib=78.59)
    found = estimate(model("meta-llama/Llama-3.1-8B-Instruct"), on, OLD)
    assert found.kv_tokens is not None
    assert found.kv_tokens.value == pytest.approx(442_750, rel=0.03)


@pytest.mark.parametrize(("ratio", "printed"), [(1.0, 113_180), (4.59, 42_710)])
def test_the_states_share_is_the_owners(ratio: float, printed: int) -> None:
    # Qwen3.8-27B NVFP4, 8-bit cache, 0.9 of a 5090: 20.14 GB of weights; states of 3.38 and 5.59
    asked = EngineSettings(
        engine=Engine.SGLANG, memory_fraction=0.9, state_ratio=ratio, kv_dtype="fp8_e4m3"
    )
    facts = model("Qwen/Qwen3.8-27B")
    pool_gib = 0.9 * 31.0 - 20.14
    assert sglang.tokens(facts, asked, pool_gib) == pytest.approx(printed, rel=0.15)
    dense = model("Qwen/Qwen3-14B")
    assert sglang.tokens(dense, asked, 4.0) == sglang.tokens(
        dense, replace(asked, state_ratio=9), 4.0
    )
