"""Prompt processing: what a format, a card or a recurrent state changes, against published runs."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from published import CONFIGS, card

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.all_reduce import HOST_PCIE, NETWORK, NVLINK
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.prefill import prefill, state_flops
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Bottleneck, Speed, decode

LLAMA = EngineSettings(engine=Engine.LLAMA_CPP)


def model(name: str, quantization: Quantization) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return replace(facts, quantization=quantization)


def gguf(name: str, bits: float = 4.89) -> ModelFacts:
    return model(name, Quantization(Scheme.GGUF, bits_per_weight=bits))


def prompt_speed(
    facts: ModelFacts, on: Card, settings: EngineSettings, prompt: int = 2048
) -> Speed:
    found = prefill(facts, on, settings, prompt=prompt)
    assert found is not None
    return found


def test_a_format_the_card_multiplies_in_is_faster() -> None:
    # Qwen3.8-27B NVFP4 on two 5060 Ti, vLLM 0.30.0: 4,176 tok/s of a prompt of 4,123
    facts = model("Qwen/Qwen3.8-27B", Quantization(Scheme.NVFP4, 16))
    found = prompt_speed(facts, card("rtx-5060-ti-16gb"), EngineSettings(tensor_parallel=2), 4123)
    assert found.tok_s.low < 4176 < found.tok_s.high
    # Ampere has no such arithmetic; llama.cpp unpacks
    for on, settings in ((card("rtx-3090"), EngineSettings()), (card("rtx-5090"), LLAMA)):
        plain = replace(facts, quantization=Quantization())
        work = [prompt_speed(each, on, settings).step.weights_ms for each in (facts, plain)]
        assert work[0] == pytest.approx(work[1])


def test_recurrent_states_slow_llama_cpp_most_where_experts_are_few() -> None:
    # Qwen3.6-35B-A3B Q4_K_S on a 5090: 7,749 tok/s, where the fit alone gave 11,500
    experts = prompt_speed(gguf("Qwen/Qwen3.5-35B-A3B", 4.67), card("rtx-5090"), LLAMA, 512)
    assert experts.tok_s.value == pytest.approx(7749, rel=0.2)
    dense = prompt_speed(gguf("Qwen/Qwen3.5-27B"), card("rtx-3090"), LLAMA)
    assert dense.tok_s.low < 1158 < dense.tok_s.high


@pytest.mark.parametrize(
    ("name", "sku", "measured"),
    [
        ("Qwen/Qwen3-8B", "dgx-spark", 3167),
        ("meta-llama/Meta-Llama-3.1-8B", "a100-80gb-pcie", 5981),
    ],
)
def test_boards_that_are_no_geforce_have_their_own_share(
    name: str, sku: str, measured: float
) -> None:
    found = prompt_speed(gguf(name), card(sku), LLAMA, 1024)
    assert found.tok_s.low < measured < found.tok_s.high


def test_four_ranks_over_pcie_wait_longer_for_whole_chunks() -> None:
    # Qwen3.6-27B W4A16 on four 3090s without peer access, vLLM 0.24: 981 tok/s
    facts = model("Qwen/Qwen3.5-27B", Quantization(Scheme.INT4))
    four = EngineSettings(tensor_parallel=4)
    found = prefill(facts, card("rtx-3090"), four, prompt=4096, link=HOST_PCIE)
    assert found is not None
    assert found.tok_s.value == pytest.approx(981, rel=0.2)
    for link, ranks in ((NVLINK, 4), (HOST_PCIE, 2)):
        pair = EngineSettings(tensor_parallel=ranks)
        plain = prefill(facts, card("rtx-3090"), pair, prompt=4096, link=link)
        assert plain is not None
        chunk_ms = link.all_reduce_us(2048 * facts.hidden * 2, ranks) / 1e3
        assert plain.step.link_ms == pytest.approx(2 * 64 * chunk_ms / 2048)


def test_before_ampere_a_prompt_may_be_far_slower() -> None:
    # Qwen3.6-35B-A3B Q2_K_XL on a T4: 715 tok/s
    found = prompt_speed(gguf("Qwen/Qwen3.5-35B-A3B", 3.1), card("t4"), LLAMA, 512)
    assert found.tok_s.low < 715
    ampere = prompt_speed(gguf("Qwen/Qwen3.5-27B"), card("rtx-3090"), LLAMA, 512)
    assert ampere.tok_s.low > 0.6 * ampere.tok_s.value  # many runs check the fit there


@pytest.mark.parametrize(("prompt", "rise"), [(512, 1.0), (4096, 1.45)])
def test_cards_that_take_turns_share_the_micro_batches_of_a_long_prompt(
    prompt: int, rise: float
) -> None:
    # Qwen3.8-27B on two 3060s: 870 tok/s of a long prompt, 556 of 512 tokens
    facts, on = gguf("Qwen/Qwen3.8-27B"), card("rtx-3060-12gb")
    split = replace(LLAMA, tensor_parallel=2)
    speeds = [prompt_speed(facts, on, each, prompt).tok_s.value for each in (LLAMA, split)]
    assert speeds[1] == pytest.approx(rise * speeds[0], rel=0.02)


def test_small_boards_have_peaks_and_bandwidth_of_their_own() -> None:
    # 70 W beside 140 W: gpt-oss-20b, llama.cpp, 110 tok/s and prompts of 2,704
    facts, on = gguf("openai/gpt-oss-20b", 4.6), card("rtx-pro-4000-sff")
    found = decode(facts, on, LLAMA)
    assert found is not None
    assert found.tok_s.low <= 109.7 <= found.tok_s.high
    assert prompt_speed(facts, on, LLAMA).tok_s.low <= 2704


@pytest.mark.parametrize("scheme", [Scheme.FP8, Scheme.FP8_BLOCK])
def test_eight_bit_floats_are_multiplied_as_such_from_ada_on(scheme: Scheme) -> None:
    # Qwen2.5-14B FP8, as many weights, on an RTX PRO 6000, vLLM 0.12: 15,909 tok/s
    dense = model("Qwen/Qwen3-14B", Quantization(scheme))
    found = prompt_speed(dense, card("rtx-pro-6000-server"), EngineSettings(), 1024).tok_s
    assert found.low < 15909 < found.high
    # twice 16 bits there; Ampere unpacks them first (27B on 3090s: 0.7)
    for sku, share in (("rtx-pro-6000-server", 2.0), ("rtx-3090", 0.7)):
        work = [
            prompt_speed(each, card(sku), EngineSettings()).step.weights_ms
            for each in (dense, replace(dense, quantization=Quantization()))
        ]
        assert work[1] == pytest.approx(share * work[0])


def test_experts_keep_the_fit_of_experts_in_any_format() -> None:
    plain, packed = (
        prompt_speed(model("Qwen/Qwen3-30B-A3B", each), card("rtx-5090"), EngineSettings())
        for each in (Quantization(), Quantization(Scheme.FP8))
    )
    assert packed.step.weights_ms == plain.step.weights_ms
    assert packed.tok_s.value > plain.tok_s.value  # of which half as much is read


def test_recurrent_states_cost_their_elements_in_llama_cpp_only() -> None:
    # Nemotron-3-Nano: 23 Mamba layers of 4,096 × 128; 200 FLOP each
    facts = model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", Quantization())
    assert state_flops(facts, LLAMA) == 200 * 23 * 4096 * 128
    assert state_flops(facts, EngineSettings()) == 0.0


def test_experts_in_mxfp4_read_prompts_faster_in_llama_cpp() -> None:
    # gpt-oss-20b, llama-bench pp512: 7,784 tok/s on a 5070 Ti, 3,839 on a 5060 Ti, 7,477 on a 5080
    packed = Quantization(Scheme.GGUF, bits_per_weight=8.5, expert_scheme=Scheme.MXFP4)
    facts = model("openai/gpt-oss-20b", packed)
    other = replace(facts, quantization=replace(packed, expert_scheme=Scheme.INT4))
    for sku, measured in (("rtx-5070-ti", 7784), ("rtx-5060-ti", 3839), ("rtx-5080", 7477)):
        found, usual = (prompt_speed(each, card(sku), LLAMA, 512) for each in (facts, other))
        assert found.tok_s.low < measured < found.tok_s.high
        assert usual.step.weights_ms == pytest.approx(1.35 * found.step.weights_ms)


@pytest.mark.parametrize(
    ("name", "sku", "bits", "prompt", "measured"),
    [
        ("Qwen/Qwen3-235B-A22B", "gb10", 3.16, 512, 134.0),  # Q2_K
        ("openai/gpt-oss-120b", "rtx-3090", 4.9, 512, 1275.25),  # on four, by layers
    ],
)
def test_experts_may_read_a_prompt_much_slower(
    name: str, sku: str, bits: float, prompt: int, measured: float
) -> None:
    found = prompt_speed(gguf(name, bits), card(sku), LLAMA, prompt).tok_s
    assert found.low < measured < found.value
    assert found.value / found.low == pytest.approx(2.8)


@pytest.mark.parametrize(("name", "measured"), [("Qwen/Qwen3-4B", 8519), ("Qwen/Qwen3-8B", 6154)])
def test_a_short_prompt_waits_for_its_weights(name: str, measured: float) -> None:
    # Q8_0 on a 5090, b8234: 128 tokens of a prompt at once
    facts, on = gguf(name, 8.5), card("rtx-5090")
    found, filled = (prompt_speed(facts, on, LLAMA, prompt) for prompt in (128, 512))
    assert found.tok_s.low < measured < found.tok_s.value < 0.75 * filled.tok_s.value
    read_ms = facts_gib(facts) * 2**30 / (0.8 * 1792e9) * 1e3 / 128
    token_ms = 1e3 / found.tok_s.value
    assert token_ms == pytest.approx(found.step.weights_ms + read_ms, rel=0.02)
    at_once = math.hypot(filled.step.weights_ms, read_ms / 4)
    assert 1e3 / filled.tok_s.value == pytest.approx(at_once, rel=0.02)


def facts_gib(facts: ModelFacts) -> float:
    """Of what a step reads: all but the table, unless that is the output, too."""
    skipped = () if facts.tied else (Part.EMBEDDING,)
    return sum(m.stored_bytes for m in matrices(facts) if m.part not in skipped) / 2**30


def test_few_tokens_of_many_experts_are_bound_by_memory() -> None:
    # Qwen3.6-35B-A3B of 16 bits on a GB10, vLLM: 1,802 tok/s of 1,024 tokens, 70 GB at 273 GB/s
    facts = model("Qwen/Qwen3.5-35B-A3B", Quantization())
    found = prompt_speed(facts, card("dgx-spark"), EngineSettings(), 1024)
    assert found.tok_s.low < 1802 < found.tok_s.high
    assert found.bottleneck is Bottleneck.MEMORY
    assert prompt_speed(facts, card("dgx-spark"), EngineSettings(), 8192).bottleneck is (
        Bottleneck.COMPUTE
    )


def test_a_link_that_waits_less_than_the_weights_is_no_bottleneck() -> None:
    # a quarter of the experts each: the network takes longer than the arithmetic, but reading 65
    # GiB of weights once for 512 tokens longer still
    facts = model("Qwen/Qwen3.5-35B-A3B", Quantization())
    asked = EngineSettings(tensor_parallel=4)
    found = prefill(facts, card("dgx-spark"), asked, prompt=512, link=NETWORK)
    assert found is not None
    read_ms = facts_gib(facts) / 4 * 2**30 / (0.8 * 273e9) * 1e3 / 512
    assert found.step.weights_ms < found.step.link_ms < 0.9 * read_ms
    assert found.bottleneck is Bottleneck.MEMORY


def test_sglang_s_chunk_says_how_often_a_prompt_reads_the_weights() -> None:
    facts = model("Qwen/Qwen3.5-35B-A3B", Quantization())
    small, own, large = (
        prompt_speed(facts, card("dgx-spark"), EngineSettings(Engine.SGLANG, max_batched_tokens=n))
        for n in (1024, None, 2048)
    )
    assert small.tok_s.value < large.tok_s.value
    assert own == large  # its own chunk on such a card


def test_a_card_of_unknown_bandwidth_is_judged_by_its_arithmetic() -> None:
    on = replace(card("rtx-3090"), bandwidth_gb_s=None)
    found = prompt_speed(model("Qwen/Qwen3-8B", Quantization()), on, EngineSettings())
    assert 1e3 / found.tok_s.value == pytest.approx(found.step.weights_ms)


@pytest.mark.parametrize(("ranks", "measured"), [(2, 1148), (4, 435)])
def test_a_split_of_every_tensor_reads_prompts_slower(ranks: int, measured: float) -> None:
    # Qwen3.6-27B Q8_0 on 3090s without peer access
    asked = replace(LLAMA, tensor_parallel=ranks, split="tensor")
    found = prefill(gguf("Qwen/Qwen3.5-27B", 8.5), card("rtx-3090"), asked, prompt=1024,
                    link=HOST_PCIE)  # fmt: skip
    assert found is not None
    assert found.tok_s.low < measured < found.tok_s.high
    assert found.tok_s.value / found.tok_s.low == pytest.approx(1.9)


def test_a_longer_prompt_never_takes_less_time_where_it_fills_the_card() -> None:
    facts, on = model("Qwen/Qwen3-30B-A3B", Quantization()), card("h100-sxm")
    took = [n / prompt_speed(facts, on, EngineSettings(), n).tok_s.value for n in range(32, 640, 8)]
    assert all(one <= two for one, two in pairwise(took))


@pytest.mark.parametrize(("sku", "prompt"), [("b200", 1), ("rtx-3090", 8)])
def test_no_prompt_is_read_faster_than_its_weights(sku: str, prompt: int) -> None:
    facts, on = model("Qwen/Qwen3-8B", Quantization()), card(sku)
    found = prompt_speed(facts, on, EngineSettings(), prompt).tok_s
    least_s = facts_gib(facts) * 2**30 / ((on.bandwidth_gb_s or 0.0) * 1e9)
    assert found.high <= prompt / least_s * 1.001


def test_on_one_card_there_is_no_tensor_to_split() -> None:
    facts, on = gguf("Qwen/Qwen3-8B"), card("rtx-3090")
    whole, asked = (prompt_speed(facts, on, replace(LLAMA, split=s)) for s in ("layer", "tensor"))
    assert asked.tok_s == whole.tok_s


def test_a_split_by_tensor_is_of_llama_cpp_alone() -> None:
    # vLLM cuts every matrix by itself; the setting has no meaning there
    facts, on = model("Qwen/Qwen3-8B", Quantization()), card("rtx-3090")
    own = EngineSettings(tensor_parallel=2)
    assert prompt_speed(facts, on, replace(own, split="tensor")) == prompt_speed(facts, on, own)


def test_a_fast_prompt_waits_for_the_server_too() -> None:
    # 8,192 tokens of 35B-A3B NVFP4 took a B200 119 ms, 68,840 tok/s; a long prompt hides that
    facts, on = load_model_facts("nvidia/Qwen3.6-35B-A3B-NVFP4", [CONFIGS]), card("b200")
    assert facts is not None
    asked = EngineSettings(engine=Engine.SGLANG)
    short, long = (prefill(facts, on, asked, prompt=n) for n in (8192, 131_072))
    assert short is not None
    assert long is not None
    assert short.tok_s.low < 68_840
    assert short.tok_s.value / short.tok_s.low > 1.2 * long.tok_s.value / long.tok_s.low


def test_what_a_context_over_several_ranks_costs_a_prompt_differs_by_build() -> None:
    # Kimi-K2.6 on eight RTX PRO 6000: 7,283, 7,646 and 7,639 tok/s on 1, 4 and 8 ranks
    facts = model("nvidia/Kimi-K2.6-NVFP4", Quantization(Scheme.INT4, 32))
    on = card("rtx-pro-6000-blackwell-workstation-edition")
    one, four, eight = (
        prompt_speed(facts, on, EngineSettings(tensor_parallel=8, decode_context_parallel=ranks))
        for ranks in (1, 4, 8)
    )
    assert one.tok_s.value > 1.5 * four.tok_s.value > 1.5 * eight.tok_s.value
    assert one.tok_s.high == pytest.approx(four.tok_s.high) == pytest.approx(eight.tok_s.high)
