"""Speed: published runs within the stated spread, and the shape of the formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.all_reduce import HOST_PCIE, NVLINK, PEER_PCIE, Link
from rigspec.sizing.arithmetic import peak_tflops
from rigspec.sizing.cards import Card
from rigspec.sizing.prefill import prefill
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.speculation import accepted_length, with_speculation
from rigspec.sizing.throughput import Bottleneck, Speed, decode, weight_bytes


def gguf(name: str, bits: float) -> ModelFacts:
    return replace(model(name), quantization=Quantization(Scheme.GGUF, bits_per_weight=bits))


def speed(
    facts: ModelFacts, on: Card, settings: EngineSettings, streams: int = 1, context: int = 0
) -> Speed:
    found = decode(facts, on, settings, streams=streams, context=context, link=PEER_PCIE)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("facts", "sku", "settings", "measured"),
    [
        (model("meta-llama/Meta-Llama-3.1-8B"), "a100-80gb-pcie", EngineSettings(), 87.0),
        (gguf("Qwen/Qwen3.8-27B", 6.56), "rtx-5090", EngineSettings(engine=Engine.LLAMA_CPP), 62.0),
        (gguf("Qwen/Qwen3.8-27B", 4.89), "rtx-3090-ti", EngineSettings(engine=Engine.LLAMA_CPP),
         42.0),
    ],
)  # fmt: skip
def test_dense_decode_meets_published_runs(
    facts: ModelFacts, sku: str, settings: EngineSettings, measured: float
) -> None:
    assert speed(facts, card(sku), settings).tok_s.value == pytest.approx(measured, rel=0.12)


def test_one_gpu_needs_no_link() -> None:
    assert speed(model("Qwen/Qwen3-8B"), card("h100"), EngineSettings()).step.link_ms == 0.0


@pytest.mark.parametrize(("link", "microseconds"), [(PEER_PCIE, 14.6), (HOST_PCIE, 47.0)])
def test_small_all_reduce_of_four_cards(link: Link, microseconds: float) -> None:
    assert link.all_reduce_us(8192, 4) == pytest.approx(microseconds, abs=3.0)


def test_slow_links_become_the_bottleneck() -> None:
    settings = EngineSettings(tensor_parallel=8)
    small = model("Qwen/Qwen3-1.7B")
    found = decode(small, card("rtx-3090"), settings, link=HOST_PCIE)
    fast = decode(small, card("rtx-3090"), settings, link=NVLINK)
    assert found is not None
    assert fast is not None
    assert found.bottleneck is Bottleneck.LINK
    assert fast.tok_s.value > found.tok_s.value


def test_a_hard_cap_is_named() -> None:
    found = speed(model("Qwen/Qwen3-8B"), card("rtx-3090", power_w=180.0), EngineSettings())
    assert found.bottleneck is Bottleneck.POWER


def test_streams_wake_distinct_experts() -> None:
    facts = model("Qwen/Qwen3-30B-A3B")
    one, two, many = (weight_bytes(facts, EngineSettings(), n, 1) for n in (1, 2, 10000))
    dense = one - (two - one) * 128 / 120  # routed part of one stream: E·(1−(1−k/E)^B), k/E = 8/128
    assert many == pytest.approx(dense + (one - dense) * 16, rel=1e-3)


def test_more_streams_give_more_tokens_and_longer_context_fewer() -> None:
    facts, on = model("Qwen/Qwen3-8B"), card("h100")
    one = speed(facts, on, EngineSettings())
    assert speed(facts, on, EngineSettings(), streams=16).tok_s.value > 8 * one.tok_s.value
    assert speed(facts, on, EngineSettings(), context=32768).tok_s.value < one.tok_s.value


def test_bandwidth_unknown_gives_no_speed() -> None:
    assert decode(model("Qwen/Qwen3-8B"), card("rtx-pro-2000"), EngineSettings()) is None


def test_llama_cpp_gains_more_where_arithmetic_is_plenty() -> None:
    facts = gguf("Qwen/Qwen3.8-27B", 4.9)
    settings = EngineSettings(engine=Engine.LLAMA_CPP, speculative=Speculative("mtp", 3))
    gains = []
    for sku in ("rtx-3090", "rtx-5090"):
        plain = speed(facts, card(sku), settings)
        gains.append(
            with_speculation(plain, facts, card(sku), settings).tok_s.value / plain.tok_s.value
        )
    assert 1.0 <= gains[0] < gains[1]


def test_stated_acceptance_is_used_as_it_is() -> None:
    assert accepted_length(Speculative("mtp", 3, accepted=3.4)) == 3.4
    assert accepted_length(Speculative("mtp", 1)) == pytest.approx(1.72)


def test_no_speculation_leaves_the_speed_alone() -> None:
    facts, on = model("Qwen/Qwen3-8B"), card("h100")
    plain = speed(facts, on, EngineSettings())
    assert with_speculation(plain, facts, on, EngineSettings()) is plain


def test_prefill_meets_a_published_run() -> None:
    found = prefill(
        gguf("Qwen/Qwen3.8-27B", 4.9), card("rtx-3090"),
        EngineSettings(engine=Engine.LLAMA_CPP), prompt=8000,
    )  # fmt: skip
    assert found is not None
    assert found.tok_s.value == pytest.approx(1025, rel=0.2)  # club-3090


def test_prefill_peak_of_named_boards() -> None:
    assert peak_tflops(card("rtx-pro-6000-max-q")) == 251
    assert peak_tflops(card("h100")) == 989
    assert peak_tflops(card("l4")) == 60
    assert peak_tflops(card("rtx-3090-ti")) == 80


KIMI = "nvidia/Kimi-K2.6-NVFP4"
PRO_6000 = card("rtx-pro-6000-blackwell-workstation-edition")


def test_decode_context_parallelism_costs_more_with_more_streams() -> None:
    """Kimi-K2.6 on 8 cards: DCP 8 takes 13.5 instead of 11.3 ms for one stream, 101 instead of 63
    for 128 (rtx6kpro wiki): a fixed part, and queries and results that are sent around."""
    facts = model(KIMI)
    extra = {}
    for streams in (1, 128):
        steps = [
            decode(facts, PRO_6000, EngineSettings(tensor_parallel=8, decode_context_parallel=dcp),
                   streams=streams, link=PEER_PCIE.at_gen5())
            for dcp in (1, 8)
        ]  # fmt: skip
        alone, spread = (step.step.total_ms for step in steps if step is not None)
        extra[streams] = spread - alone
    assert extra[1] == pytest.approx(2.2, rel=0.4)
    assert extra[128] == pytest.approx(38.0, rel=0.5)


def test_drafts_gain_less_where_rows_must_be_sent_around() -> None:
    facts = model(KIMI)
    gains = []
    for dcp in (1, 8):
        asked = EngineSettings(
            tensor_parallel=8, decode_context_parallel=dcp, speculative=Speculative("eagle", 3)
        )
        plain = decode(facts, PRO_6000, asked, streams=64)
        assert plain is not None
        drafted = with_speculation(plain, facts, PRO_6000, asked)
        gains.append(drafted.tok_s.value / plain.tok_s.value)
    assert gains[1] < 0.9 * gains[0]


def test_sparse_attention_may_fall_at_many_rows_and_the_band_says_so() -> None:
    facts = model("zai-org/GLM-5.1")
    few, many = (
        decode(facts, PRO_6000, EngineSettings(tensor_parallel=8), streams=streams)
        for streams in (16, 32)
    )
    assert few is not None
    assert many is not None
    assert few.tok_s.value / few.tok_s.low < 1.9
    assert many.tok_s.value / many.tok_s.low == pytest.approx(2.6)


def test_speculation_that_is_not_described_may_cost_or_double() -> None:
    facts = model("Qwen/Qwen3-8B")
    asked = EngineSettings(speculative=Speculative("unstated"))
    plain = decode(facts, PRO_6000, asked)
    assert plain is not None
    band = with_speculation(plain, facts, PRO_6000, asked).tok_s
    assert band.low < 0.7 * plain.tok_s.value
    assert band.high > 2.2 * plain.tok_s.value


def test_integer_weights_may_prefill_in_eight_bits() -> None:
    plain, awq = (
        prefill(model(name), PRO_6000, EngineSettings(), prompt=4096)
        for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-AWQ")
    )
    assert plain is not None
    assert awq is not None
    assert awq.tok_s.high / awq.tok_s.value > 1.7 > plain.tok_s.high / plain.tok_s.value


@pytest.mark.parametrize(
    ("name", "sku", "measured"),
    [
        ("Qwen/Qwen3.5-27B", "a100-sxm4-80gb", 46.0),
        ("Qwen/Qwen3.5-27B", "h100", 74.0),
        ("Qwen/Qwen3.5-35B-A3B", "a100-sxm4-80gb", 128.0),
        ("Qwen/Qwen3.5-35B-A3B", "h100", 194.0),
    ],
)
def test_llama_cpp_on_data_centre_cards_waits_for_its_layers(
    name: str, sku: str, measured: float
) -> None:
    # files of Q4_K_M, one request: pavlokhmel.com, 13 GPUs and 10 models, June 2026
    found = speed(gguf(name, 4.9), card(sku), EngineSettings(engine=Engine.LLAMA_CPP))
    assert found.tok_s.low <= measured <= found.tok_s.high
    assert found.step.layers_ms > 0.9 * found.step.weights_ms


def test_a_row_split_over_pcie_may_be_much_slower() -> None:
    # llama.cpp on four 3090s, Qwen3.6-27B Q6_K: 33.1 by layer, 19.0 by row; prompts 1,633 and 151
    facts, four = gguf("Qwen/Qwen3.5-27B", 6.56), card("rtx-3090")
    rows = EngineSettings(engine=Engine.LLAMA_CPP, tensor_parallel=4, split="row")
    assert speed(facts, four, rows).tok_s.low <= 19.0
    prompts = prefill(facts, four, rows, prompt=2048)
    assert prompts is not None
    assert prompts.tok_s.low <= 151


@pytest.mark.parametrize(
    ("name", "sku", "measured"),
    [
        ("meta-llama/Meta-Llama-3.1-70B", "rtx-pro-6000-workstation", 1794.0),
        ("meta-llama/Meta-Llama-3.1-70B", "h100-pcie", 1013.0),
        ("meta-llama/Meta-Llama-3.1-70B", "rtx-a6000", 482.0),
    ],
)
def test_llama_cpp_prompts_depend_on_the_generation(name: str, sku: str, measured: float) -> None:
    # Q4_K_M, llama-bench: XiongjieDai/GPU-Benchmarks-on-LLM-Inference and a log of a PRO 6000
    found = prefill(gguf(name, 4.9), card(sku), EngineSettings(engine=Engine.LLAMA_CPP), prompt=512)
    assert found is not None
    assert found.tok_s.value == pytest.approx(measured, rel=0.25)


def test_the_host_of_old_vllm_may_hold_a_fast_card_back() -> None:
    # 0.7.3 on an A100, Llama-3.1-8B: 75.8 tok/s; the later engines reach what is computed
    facts, fast = model("meta-llama/Meta-Llama-3.1-8B"), card("a100-80gb-pcie")
    old = speed(facts, fast, EngineSettings(version=(0, 7)))
    newer = speed(facts, fast, EngineSettings(version=(0, 20)))
    assert old.tok_s.low < 0.9 * newer.tok_s.low
    assert old.tok_s.low < 75.8


def test_a_host_may_hold_a_step_back_that_takes_no_time() -> None:
    # 0.6B on an A100: 239 tok/s where the card alone would reach 470; 8B knows nothing of it
    small = speed(model("Qwen/Qwen3-0.6B"), card("a100-80gb-pcie"), EngineSettings()).tok_s
    large = speed(model("Qwen/Qwen3-8B"), card("a100-80gb-pcie"), EngineSettings()).tok_s
    assert small.low < 243
    assert large.low > 0.8 * large.value


@pytest.mark.parametrize(
    ("name", "sku", "measured"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "a100-80gb-pcie", 39.06),  # vLLM 0.15.1, a 40 GB A100
        ("Qwen/Qwen2.5-7B-Instruct", "l4", 35.98),  # GPTQ, vLLM 0.27.1 on a hosted notebook
    ],
)
def test_a_host_bounds_a_step_without_graphs(name: str, sku: str, measured: float) -> None:
    facts = replace(model(name), quantization=Quantization(Scheme.INT4_ZERO))
    with_graphs, eager = (
        speed(facts, card(sku), EngineSettings(eager=eager)) for eager in (False, True)
    )
    assert eager.tok_s.value == pytest.approx(measured, rel=0.25)
    assert eager.tok_s.low < measured < with_graphs.tok_s.low
    assert eager.tok_s.high == with_graphs.tok_s.high  # a fast host keeps up with the card


def test_three_bits_are_read_no_faster_than_four() -> None:
    # Qwen3.6-27B on a 5090: 72.4 tok/s from Q3_K_S, 70.1 from Q4_K_M
    three, four = (
        speed(gguf("Qwen/Qwen3.5-27B", bits), card("rtx-5090"), EngineSettings(Engine.LLAMA_CPP))
        for bits in (3.64, 4.89)
    )
    assert three.tok_s.value < 1.15 * four.tok_s.value
    assert three.tok_s.low < 72.4 < three.tok_s.high


def test_two_bits_are_still_read_faster_than_four() -> None:
    # Qwen3.8-27B UD-IQ2_XXS, 9.01 GB, on a 3080: 45.1 tok/s
    found = speed(gguf("Qwen/Qwen3.8-27B", 2.68), card("rtx-3080"),
                  EngineSettings(Engine.LLAMA_CPP))  # fmt: skip
    assert found.tok_s.value == pytest.approx(45.1, rel=0.12)


def test_a_dense_mlp_beside_the_experts_starts_more_kernels() -> None:
    # Gemma 4 26B-A4B Q4_K_M on an A100 80 GB: it had been 36 % too fast
    facts = gguf("google/gemma-4-26B-A4B", 4.89)
    alone = replace(facts, layers=tuple(replace(layer, mlp=None) for layer in facts.layers))
    both, experts = (
        speed(each, card("a100-80gb-pcie"), EngineSettings(Engine.LLAMA_CPP)).step.layers_ms
        for each in (facts, alone)
    )
    assert both == pytest.approx(1.5 * experts)


def test_unlisted_four_bit_weights_widen_the_band() -> None:
    # unsloth's NVFP4 of Qwen3.6-27B on a 5090: 52.6 tok/s; it holds a third more than the habit
    facts = replace(model("Qwen/Qwen3.5-27B"), quantization=Quantization(Scheme.NVFP4, 16))
    listed = replace(facts, quantization=replace(facts.quantization, has_list=True))
    unlisted = speed(facts, card("rtx-5090"), EngineSettings()).tok_s
    certain = speed(listed, card("rtx-5090"), EngineSettings()).tok_s
    assert unlisted.low < 53 < certain.low
    assert unlisted.high > certain.high


def test_cards_that_take_turns_feel_a_cap_less() -> None:
    # Qwen3.5-9B Q8_0 at 220 W: 54.2 tok/s on one 3090, 84.9 split by layers over four
    facts, capped = gguf("Qwen/Qwen3.5-9B", 8.5), card("rtx-3090", power_w=220.0)
    one, four = (
        speed(facts, capped, EngineSettings(Engine.LLAMA_CPP, tensor_parallel=cards))
        for cards in (1, 4)
    )
    assert four.tok_s.value > 1.2 * one.tok_s.value
    # with several streams no card waits for another: each feels its cap
    kept = [
        speed(facts, capped, split, streams=4).tok_s.value
        / speed(facts, card("rtx-3090"), split, streams=4).tok_s.value
        for split in (EngineSettings(Engine.LLAMA_CPP, tensor_parallel=cards) for cards in (1, 4))
    ]
    assert kept[0] < 0.95
    assert kept[0] == pytest.approx(kept[1])
    tensor = EngineSettings(Engine.LLAMA_CPP, tensor_parallel=4, split="tensor")
    assert tensor.turns == 1


def test_experts_on_slow_memory_are_bound_by_bytes() -> None:
    experts = replace(
        model("Qwen/Qwen3-30B-A3B"), quantization=Quantization(Scheme.GGUF, bits_per_weight=4.89)
    )
    found = decode(experts, card("dgx-spark"), EngineSettings(engine=Engine.LLAMA_CPP))
    assert found is not None
    assert found.tok_s.value == pytest.approx(89.3, rel=0.22)  # llama-bench; 27 % off at 0.56
    assert found.tok_s.high > 89.3


def test_kernels_before_ampere_may_be_untuned() -> None:
    # Qwen3.8-27B in 4 bits on two T4: 4.78 tok/s from vLLM, 23 from llama.cpp
    facts = replace(model("Qwen/Qwen3.8-27B"), quantization=Quantization(Scheme.INT4))
    found = speed(facts, card("t4"), EngineSettings(tensor_parallel=2))
    assert found.tok_s.low <= 4.78
    assert (
        speed(
            gguf("Qwen/Qwen3.8-27B", 4.6), card("t4"), EngineSettings(engine=Engine.LLAMA_CPP)
        ).tok_s.low
        > 8
    )


def test_streams_together_fall_behind_their_steps() -> None:
    # rtx6kpro, eight RTX PRO 6000 with 8 streams: 340.7 tok/s of Kimi-K2.6, 260.9 of GLM-5.1
    asked = EngineSettings(tensor_parallel=8, kv_dtype="fp8")
    for name, measured in ((KIMI, 340.7), ("zai-org/GLM-5.1", 260.9)):
        facts = replace(model(name), quantization=model(KIMI).quantization)
        found = decode(facts, PRO_6000, asked, streams=8, link=PEER_PCIE.at_gen5())
        assert found is not None
        assert found.tok_s.value == pytest.approx(measured, rel=0.11)
