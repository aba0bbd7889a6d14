"""What must hold for every model, engine and size, whatever the constants are.

More context never needs less memory, more GPUs never need more per GPU, a larger batch or a wider
cache never leaves more room, a lower cap never draws more: over published architectures (dense,
experts, latent attention, sliding windows, delta nets, Mamba) and all three engines.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import CONFIGS

from rigspec.catalog.gpus import all_gpus
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import load_model_facts
from rigspec.rules.context import CheckContext
from rigspec.rules.power_states import power_states
from rigspec.sizing.cards import card_of
from rigspec.sizing.group import tightest
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.power import speed_at_cap
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.throughput import decode
from rigspec.sizing.verdict import Verdict
from rigspec.spec.load import load

ROOT = Path(__file__).parents[3]
MODELS = (
    "Qwen/Qwen3-8B",  # dense, grouped queries
    "meta-llama/Llama-2-7b-hf",  # dense, every head its own keys
    "Qwen/Qwen3-30B-A3B",  # experts
    "deepseek-ai/DeepSeek-V2-Lite",  # latent attention
    "zai-org/GLM-5.1",  # latent attention with an indexer
    "google/gemma-3-12b-it",  # sliding windows and a vision tower
    "openai/gpt-oss-20b",  # sliding windows and experts
    "nvidia/Qwen3.6-27B-NVFP4",  # delta nets, mixed formats
    "Qwen/Qwen3.5-35B-A3B",  # delta nets and experts
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",  # Mamba
)
CARDS = tuple(card_of(gpu) for gpu in all_gpus() if gpu.memory_bandwidth_gb_s)


@cache
def published(name: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None, name
    return facts


FACTS = st.sampled_from(MODELS).map(published)
SETTINGS = st.builds(
    EngineSettings,
    engine=st.sampled_from(Engine),
    version=st.sampled_from([None, (0, 11), (0, 19), (0, 24), (0, 30), (0, 33)]),
    tensor_parallel=st.sampled_from([1, 2, 4]),
    memory_fraction=st.sampled_from([None, 0.5, 0.85, 0.95]),
    context=st.integers(256, 200_000),
    max_seqs=st.sampled_from([None, 1, 8, 64]),
    max_batched_tokens=st.sampled_from([None, 512, 2048, 8192]),
    kv_dtype=st.sampled_from(["auto", "fp8"]),
    speculative=st.sampled_from([None, Speculative("mtp", 2)]),
    split=st.sampled_from(["layer", "row", "tensor"]),
    parallel=st.sampled_from([1, 4]),
)
EXAMPLES = settings(max_examples=40, deadline=None)
TINY_GIB = 1e-6


def needs(found: MemoryEstimate) -> float:
    """GiB one full request needs; 0 where the layout is not known."""
    return found.needed.value if found.needed else 0.0


ORDER = (Verdict.NO, Verdict.CLOSE, Verdict.YES)


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS, st.integers(1, 200_000))
def test_more_context_never_needs_less(facts, card, asked, more) -> None:  # type: ignore[no-untyped-def]
    short = estimate(facts, card, asked)
    long = estimate(facts, card, replace(asked, context=asked.context + more))
    assert needs(long) >= needs(short) - TINY_GIB
    assert long.available.value <= short.available.value + TINY_GIB
    assert ORDER.index(long.verdict) <= ORDER.index(short.verdict)


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS, st.sampled_from([1, 2, 4, 8]))
def test_more_gpus_never_need_more_per_gpu(facts, card, asked, ranks) -> None:  # type: ignore[no-untyped-def]
    """Weights and cache of the card that holds the most of each; what an engine keeps for itself
    may grow with its ranks (SGLang), and of llama.cpp's cards the one with the least room may hold
    other layers than before."""
    one, two = (
        tightest(facts, (card,) * count, replace(asked, tensor_parallel=count))[0]
        for count in (ranks, 2 * ranks)
    )
    assume(not one.refusals and not two.refusals)
    few, many = ((found, *found.beside) for found in (one, two))
    weights = [max(each.weights.value for each in cards) for cards in (few, many)]
    assert weights[1] <= weights[0] + 0.07  # more ranks, more allocator remainders
    assert max(map(needs, many)) <= max(map(needs, few)) + TINY_GIB


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS)
def test_more_stages_never_hold_more_weights_each(facts, card, asked) -> None:  # type: ignore[no-untyped-def]
    asked = replace(asked, engine=Engine.VLLM)
    one = estimate(facts, card, asked).weights
    two = estimate(facts, card, replace(asked, pipeline_parallel=2)).weights
    assert two.value <= one.value + TINY_GIB


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS)
def test_a_smaller_cache_type_never_needs_more(facts, card, asked) -> None:  # type: ignore[no-untyped-def]
    plain = estimate(facts, card, replace(asked, kv_dtype="auto"))
    small = estimate(facts, card, replace(asked, kv_dtype="fp8"))
    assert needs(small) <= needs(plain) + TINY_GIB


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS, st.floats(0.5, 40.0))
def test_another_process_never_leaves_more_room(facts, card, asked, taken) -> None:  # type: ignore[no-untyped-def]
    alone = estimate(facts, card, asked)
    shared = estimate(facts, card, replace(asked, other_processes_gib=taken))
    assert shared.available.value <= alone.available.value + TINY_GIB
    assert ORDER.index(shared.verdict) <= ORDER.index(alone.verdict)


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS)
def test_bands_hold_their_figure_and_the_longest_context_fits(facts, card, asked) -> None:  # type: ignore[no-untyped-def]
    found = estimate(facts, card, asked)
    amounts = [found.weights, found.available, *(term.amount for term in found.terms)]
    amounts += [amount for amount in (found.needed, found.kv_tokens) if amount is not None]
    assert all(a.low <= a.value + TINY_GIB and a.value <= a.high + TINY_GIB for a in amounts)
    longest = found.largest_context
    if longest and found.needed:
        again = estimate(facts, card, replace(asked, context=longest))
        if again.available.value >= found.available.value - TINY_GIB:
            assert needs(again) <= again.available.value + 0.01


@EXAMPLES
@given(FACTS, st.sampled_from(CARDS), SETTINGS, st.integers(2, 64), st.integers(0, 32_768))
def test_speed_falls_with_context_and_the_sum_rises_with_streams(  # type: ignore[no-untyped-def]
    facts, card, asked, streams, context
) -> None:
    empty = decode(facts, card, asked)
    filled = decode(facts, card, asked, context=context)
    many = decode(facts, card, asked, streams=streams, context=context)
    assert empty is not None
    assert filled is not None
    assert many is not None
    assert filled.tok_s.value <= empty.tok_s.value * (1 + 1e-9)
    assert many.tok_s.value >= 0.5 * filled.tok_s.value


@EXAMPLES
@given(st.sampled_from(CARDS), st.integers(100, 1000), st.integers(1, 400))
def test_a_lower_cap_is_never_faster(card, watts, less) -> None:  # type: ignore[no-untyped-def]
    high, low = (replace(card, power_limit_w=float(w)) for w in (watts + less, watts))
    for work in ("decode", "batch", "prefill"):
        slow, fast = speed_at_cap(low, work), speed_at_cap(high, work)
        if slow.measured and fast.measured:
            assert slow.value <= fast.value + 1e-9


@pytest.mark.parametrize("spec", ["home", "starter"])
@EXAMPLES
@given(watts=st.integers(150, 600), less=st.integers(1, 450))
def test_a_lower_cap_never_draws_more(spec: str, watts: int, less: int) -> None:
    rig = load(ROOT / "rigs" / f"{spec}.yaml").rig
    assert rig is not None
    drawn = []
    for cap in (watts, max(1, watts - less)):
        gpus = {
            name: group.model_copy(update={"power_limit_w": cap})
            for name, group in rig.gpus.items()
        }
        states = power_states(rig.model_copy(update={"gpus": gpus}), CheckContext())
        assert states is not None
        drawn.append(states)
    high, low = drawn
    assert low.capped_w <= high.capped_w
    assert all(a.steady_w <= b.steady_w and a.peak_w <= b.peak_w
               for a, b in zip(low.supplies, high.supplies, strict=True))  # fmt: skip
