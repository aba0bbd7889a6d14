"""What SGLang takes by itself, by release, and what recurrent states leave its cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import card, model

from rigspec.sizing import sglang
from rigspec.sizing.amount import exact
from rigspec.sizing.flags import attention_context
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_states import cache_of
from rigspec.spec.load import load_text

STARTER = Path(__file__).parents[3] / "rigs/starter.yaml"
OLD = EngineSettings(engine=Engine.SGLANG, version=(0, 4, 4))


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
    left = cache_of(facts, asked, exact(0.9 * 31.0 - 20.14))
    assert sglang.tokens(facts, asked, left.value) == pytest.approx(printed, rel=0.15)


def test_ranks_of_one_context_each_hold_the_heads_of_a_smaller_tp() -> None:
    # Qwen3-32B at 0.88 of four 5090s, 2 TP x 2 CP, 0.5.13: 18.25 GiB each, 70,950 tokens
    asked = EngineSettings(
        engine=Engine.SGLANG, version=(0, 5, 13), tensor_parallel=4, attention_context=2,
        memory_fraction=0.88,
    )  # fmt: skip
    found = estimate(model("Qwen/Qwen3-32B"), card("rtx-5090"), asked)
    assert found.weights.value == pytest.approx(18.25, rel=0.005)
    assert found.kv_tokens is not None
    assert found.kv_tokens.value == pytest.approx(70_950, rel=0.05)
    apart = estimate(model("Qwen/Qwen3-32B"), card("rtx-5090"), replace(asked, attention_context=1))
    assert apart.weights.value < 15.7


@pytest.mark.parametrize(
    ("flags", "ranks", "counted"),
    [
        (("--attn-cp-size", "2"), 4, 2),
        (("--attention-context-parallel-size=4",), 4, 4),
        (("--attn-cp-size", "3"), 4, 1),
        (("--attn-cp-size", "0"), 4, 1),
        ((), 4, 1),
    ],
)
def test_ranks_of_one_context_are_what_the_flag_says(
    flags: tuple[str, ...], ranks: int, counted: int
) -> None:
    spec = load_text("rig.yaml", STARTER.read_text()).rig
    assert spec is not None
    told = {"extra_args": flags, "tensor_parallel_size": ranks, "engine": "sglang"}
    service = spec.services["qwen"].model_copy(update=told)
    assert attention_context(service) == counted
    assert attention_context(service.model_copy(update={"engine": "vllm"})) == 1
