"""The share of a card that SGLang takes where none is stated, reckoned by its own source."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_vision import vision_of
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings, Lora, Speculative
from rigspec.sizing.sglang_share import fraction_of, least_fraction, own_rest_gib

DENSE, LATENT = "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3"
OLD = EngineSettings(engine=Engine.SGLANG, version=(0, 4, 4))
EAGLE = Speculative("eagle", 3)


@pytest.mark.parametrize(
    ("ranks", "share"), [(1, 0.88), (2, 0.87), (4, 0.85), (8, 0.81), (16, 0.79)]
)
def test_shares_of_old_releases_go_by_the_ranks_alone(ranks: int, share: float) -> None:
    asked = replace(OLD, tensor_parallel=ranks)
    for sku in ("rtx-3090", "h100"):
        assert fraction_of(model(DENSE), card(sku), asked) == share
    newer = replace(asked, version=(0, 4, 7))
    assert fraction_of(None, card("rtx-3090"), newer) != share
    stated = replace(asked, memory_fraction=0.7)
    assert fraction_of(model(DENSE), card("h100"), stated) == 0.7


@pytest.mark.parametrize(
    ("name", "sku", "changed", "mib"),
    [
        # constant, 1.5 for a token of a chunk, 128 for a rank, 2 for a sequence of the graphs
        (DENSE, "rtx-3090", {"version": (0, 5, 9)}, 512 + 1.5 * 2048 + 128 + 2 * 24),
        (DENSE, "rtx-3090", {"version": None}, 512 + 1.5 * 2048 + 128 + 2 * 24),
        # 42 sizes of prompts up to 2,048, 8 each
        (DENSE, "rtx-3090", {"version": (0, 5, 10)}, 3760 + 42 * 8),
        (DENSE, "rtx-3090", {"version": (0, 5, 10), "eager": True}, 3760),
        (DENSE, "rtx-3090", {"version": (0, 5, 10), "lora": Lora(1, 16)}, 3760),
        (DENSE, "rtx-3090", {"version": (0, 5, 10), "pipeline_parallel": 2}, 3760 + 128),
        (DENSE, "rtx-3090", {"version": (0, 5, 9), "speculative": EAGLE}, 3760 + 2048),
        (DENSE, "rtx-3090", {"version": (0, 5, 10), "speculative": EAGLE}, 3760 + 4096),
        (DENSE, "rtx-3090", {"version": (0, 5, 14), "speculative": EAGLE}, 3760),
        (DENSE, "rtx-3090", {"version": (0, 5, 9), "max_batched_tokens": 4096}, 3760 + 3072),
        (DENSE, "rtx-3090", {"version": (0, 5, 9), "max_batched_tokens": 512}, 3760),
        (DENSE, "rtx-3090", {"version": (0, 5, 9), "max_graph_size": 4}, 3760 - 40),
        (DENSE, "rtx-3090", {"version": (0, 5, 9), "tensor_parallel": 4}, 3760 + 384 + 2 * 56),
        (DENSE, "h200", {"version": (0, 5, 9)}, 512 + 1.5 * 8192 + 128 + 2 * 256),
        (DENSE, "h200", {"version": (0, 5, 9), "max_batched_tokens": 2048}, 10 * 1024),
        (LATENT, "h200", {"version": (0, 5, 9), "tensor_parallel": 8}, 512 + 12288 + 1024 + 1024),
        (LATENT, "h200", {"version": (0, 5, 10), "tensor_parallel": 8}, 14848 + 1536),
        # copies of the attention: 4.5 for a sequence of 512 and a copy
        (LATENT, "h200", {"version": (0, 5, 10), "tensor_parallel": 8, "data_parallel": 8,
                          "dp_attention": True}, 14848 + 4.5 * 512 * 8),
        (LATENT, "h200", {"version": (0, 5, 10), "tensor_parallel": 2, "data_parallel": 2,
                          "dp_attention": True}, 512 + 12288 + 256 + 512 + 3 * 256 * 2),
    ],
)  # fmt: skip
def test_what_steps_graphs_and_ranks_need_is_set_aside(
    name: str, sku: str, changed: dict[str, object], mib: float
) -> None:
    asked = replace(EngineSettings(engine=Engine.SGLANG), **changed)  # type: ignore[arg-type]
    size = card(sku).total.value * 1024
    assert fraction_of(model(name), card(sku), asked) == pytest.approx(1 - mib / size, abs=1e-6)


@pytest.mark.parametrize(
    ("section", "factor"),
    [
        ({"num_hidden_layers": 24, "hidden_size": 1024}, 0.95),
        ({"num_hidden_layers": 48, "hidden_size": 1024}, 0.95 * 0.9),
        ({"num_hidden_layers": 12, "hidden_size": 1024}, 0.95 * 1.05),
        ({"num_hidden_layers": 24, "hidden_size": 1536}, 0.95 * 0.875),
        ({"num_hidden_layers": 96, "hidden_size": 2048}, 0.95 * 0.8),
        ({"depth": 48, "hidden_size": 1024}, 0.95),  # SGLang takes 24 layers for it
    ],
)
def test_a_tower_leaves_less_by_its_size(section: dict[str, int], factor: float) -> None:
    tower = vision_of({"vision_config": section | {"intermediate_size": 4096}}, 4096)
    seeing = replace(model(DENSE), vision=tower)
    asked = EngineSettings(engine=Engine.SGLANG, version=(0, 5, 9))
    alone = fraction_of(model(DENSE), card("rtx-3090"), asked)
    assert fraction_of(seeing, card("rtx-3090"), asked) == pytest.approx(factor * alone)


def test_a_release_that_nobody_states_may_set_the_most_aside() -> None:
    asked = EngineSettings(engine=Engine.SGLANG, speculative=EAGLE)
    on = card("rtx-3090")
    least, usual = (each(model(DENSE), on, asked) for each in (least_fraction, fraction_of))
    assert usual - least == pytest.approx(4096 / (on.total.value * 1024))
    low, without = (
        estimate(model(DENSE), on, each).available.low
        for each in (asked, replace(asked, version=(0, 5, 14)))
    )
    assert low < without - 2.0
    known = replace(asked, version=(0, 5, 9))
    assert least_fraction(model(DENSE), on, known) == fraction_of(model(DENSE), on, known)


def test_the_rest_is_what_the_share_leaves() -> None:
    asked = EngineSettings(engine=Engine.SGLANG, version=(0, 5, 9), memory_fraction=0.9)
    assert own_rest_gib(card("rtx-3090"), asked) == pytest.approx(3760 / 1024)
