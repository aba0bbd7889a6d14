"""Steps with drafts: published runs, what a drafter holds, and when the host sets the pace."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
from published import card, model

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.all_reduce import HOST_PCIE, PEER_PCIE
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.speculation import draft_bytes, draft_ms, host_floor_ms, with_speculation
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.weights import weights_as_loaded
from rigspec.units import GIB

TWO = EngineSettings(version=(0, 24), tensor_parallel=2)
MTP = Speculative("mtp", 3)


def stored(scheme: Scheme) -> ModelFacts:
    return replace(model("Qwen/Qwen3.8-27B"), quantization=Quantization(scheme))


def drafted(facts: ModelFacts, sku: str, settings: EngineSettings) -> Speed:
    plain = decode(facts, card(sku), settings, link=HOST_PCIE)
    assert plain is not None
    return with_speculation(plain, facts, card(sku), settings)


@pytest.mark.parametrize(
    ("facts", "sku", "settings", "measured"),
    [
        # club-3090, FP8 weights and an int8 cache: passes of the drafter, each one read
        (stored(Scheme.FP8), "rtx-3090", replace(TWO, kv_dtype="int8", speculative=MTP), 82.3),
        (
            stored(Scheme.FP8), "rtx-3090",
            replace(TWO, kv_dtype="int8", speculative=Speculative("mtp", 5)), 73.5,
        ),
        # a block drafter drafts in one pass, however deep
        (
            stored(Scheme.INT4), "rtx-4090",
            EngineSettings(version=(0, 27), speculative=Speculative("dflash", 15)), 130.5,
        ),
        (
            stored(Scheme.INT4), "rtx-3090",
            replace(TWO, version=(0, 20), speculative=Speculative("dflash", 7)), 86.6,
        ),
        # EAGLE of an H100: the seventh draft brings less than it costs
        (
            model("meta-llama/Meta-Llama-3.1-8B"), "h100",
            EngineSettings(version=(0, 7), speculative=Speculative("eagle", 7)), 169.9,
        ),
    ],
)  # fmt: skip
def test_steps_with_drafts_meet_published_runs(
    facts: ModelFacts, sku: str, settings: EngineSettings, measured: float
) -> None:
    assert drafted(facts, sku, settings).tok_s.value == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("scheme", [Scheme.FP8, Scheme.INT4])
def test_an_8_bit_float_cache_is_launched_in_pieces(scheme: Scheme) -> None:
    # 27B on two 3090s: 68 to 76 tok/s whatever the weights (club-3090, vLLM 0.20 to 0.24)
    asked = replace(TWO, kv_dtype="fp8_e5m2", speculative=MTP)
    assert drafted(stored(scheme), "rtx-3090", asked).tok_s.value == pytest.approx(72, rel=0.06)


@pytest.mark.parametrize(
    ("sku", "version", "kv_dtype", "engine", "in_pieces"),
    [
        ("rtx-3090", (0, 27), "fp8_e4m3", Engine.VLLM, True),
        ("rtx-3090", (0, 27), "int8", Engine.VLLM, False),
        ("rtx-3090", (0, 27), "fp8_e4m3", Engine.SGLANG, False),
        ("h100", (0, 24), "fp8", Engine.VLLM, False),
        ("rtx-5090", (0, 24), "fp8", Engine.VLLM, True),
        ("rtx-5090", (0, 26), "fp8", Engine.VLLM, False),
    ],
)
def test_which_steps_the_host_launches(
    sku: str, version: tuple[int, ...], kv_dtype: str, engine: Engine, in_pieces: bool
) -> None:
    asked = EngineSettings(engine=engine, version=version, kv_dtype=kv_dtype, speculative=MTP)
    assert bool(host_floor_ms(model("Qwen/Qwen3.8-27B"), card(sku), asked)) is in_pieces


def test_early_blackwell_may_have_run_steps_with_drafts_whole() -> None:
    # 27B NVFP4 on two RTX PRO 6000, vLLM 0.19.2, an 8-bit cache: about 190 tok/s
    asked = replace(TWO, version=(0, 19, 2), kv_dtype="fp8", speculative=MTP)
    found = drafted(stored(Scheme.NVFP4), "rtx-pro-6000-max-q", asked).tok_s
    assert found.value < 190 < found.high
    ampere = drafted(stored(Scheme.NVFP4), "rtx-3090", asked).tok_s
    assert ampere.high / ampere.value < 0.8 * found.high / found.value


def test_a_state_alone_needs_no_attention_kernel() -> None:
    asked = EngineSettings(version=(0, 24), kv_dtype="fp8", speculative=MTP)
    facts = model("Qwen/Qwen3.8-27B")
    without = replace(facts, layers=facts.layers[:3])
    assert host_floor_ms(without, card("rtx-3090"), asked) == 0.0


def test_a_block_drafter_is_weights_beside_the_model() -> None:
    # Qwen3.6-27B-DFlash: 1.75 GB; 1.2 in 4 bits, 3.85 whole
    facts = model("Qwen/Qwen3.8-27B")
    asked = replace(TWO, speculative=Speculative("dflash", 7))
    found = drafter_gib(facts, asked)
    assert found.value == pytest.approx(1.75 / 1.0737 / 2, rel=0.15)
    assert found.low <= 1.2 / 1.0737 / 2 <= 1.75 / 1.0737 / 2 <= found.high
    assert found.high >= 3.5 / 1.0737 / 2
    plain = weights_as_loaded(facts, TWO).amount.value
    assert weights_as_loaded(facts, asked).amount.value == pytest.approx(plain + found.value)


def test_a_stated_drafter_is_taken_at_its_word() -> None:
    asked = replace(TWO, speculative=Speculative("dflash", 7, draft_gib=3.0))
    assert drafter_gib(model("Qwen/Qwen3.8-27B"), asked).value == 1.5


def test_drafts_of_experts_meet_published_runs() -> None:
    # Kimi-K2.6 with EAGLE on eight RTX PRO 6000, three builds: 110.1, 114.1 and 117.1 tok/s
    packed = Quantization(Scheme.INT4, 32, experts_only=True)
    facts = replace(model("nvidia/Kimi-K2.6-NVFP4"), quantization=packed)
    on = card("rtx-pro-6000-blackwell-workstation-edition")
    asked = EngineSettings(
        version=(0, 20), tensor_parallel=8, kv_dtype="fp8", speculative=Speculative("eagle", 3)
    )
    plain = decode(facts, on, asked, link=PEER_PCIE.at_gen5())
    assert plain is not None
    found = with_speculation(plain, facts, on, asked).tok_s
    assert found.value == pytest.approx(114, rel=0.15)
    # a plain step, 0.45 and 3 × 0.14 of it for drafts; as much again where they wake more experts
    certain = with_speculation(plain, facts, on, replace(asked, speculative=stated(3))).tok_s
    sent = 3 * plain.step.traffic_ms / plain.step.total_ms
    dearer = (1.87 + sent + 0.87) / (1.87 + sent)
    assert certain.high / certain.value == pytest.approx(joined(plain, dearer))


def stated(drafts: int) -> Speculative:
    return Speculative("mtp", drafts, accepted=2.6)


def joined(plain: Speed, dearer: float) -> float:
    """The upper end of a band: that of the plain step, of the text, of the drafts."""
    factors = (plain.tok_s.high / plain.tok_s.value, 1.15, dearer)
    return math.exp(math.hypot(*map(math.log, factors)))


@pytest.mark.parametrize(
    ("sku", "bits", "measured"),
    [("rtx-3090", 4.89, 50.3), ("rtx-5090", 6.56, 123.3)],  # MTP of three tokens, 27B
)
def test_drafts_in_llama_cpp_meet_published_runs(sku: str, bits: float, measured: float) -> None:
    facts = replace(
        model("Qwen/Qwen3.8-27B"), quantization=Quantization(Scheme.GGUF, bits_per_weight=bits)
    )
    asked = EngineSettings(engine=Engine.LLAMA_CPP, speculative=MTP)
    assert drafted(facts, sku, asked).tok_s.value == pytest.approx(measured, rel=0.12)


def test_a_pass_reads_the_drafter_and_the_output_matrix() -> None:
    # 128,256 × 4,096 × 2 bytes; Gemma's head is its embedding, 262,144 × 5,376 × 2 on two ranks
    llama, gemma = model("meta-llama/Meta-Llama-3.1-8B"), model("nvidia/Gemma-4-31B-IT-NVFP4")
    eagle = Speculative("eagle", 3)
    assert draft_bytes(llama, EngineSettings(speculative=eagle)) == 128256 * 4096 * 2
    assert draft_bytes(gemma, replace(TWO, speculative=eagle)) == 262144 * 5376
    whole = replace(TWO, speculative=Speculative("dflash", 7, draft_gib=3.0))
    assert draft_bytes(gemma, whole) == 1.5 * GIB + 262144 * 5376


def test_a_copy_of_the_vocabulary_beside_an_mtp_layer_is_not_read_twice() -> None:
    facts = model("Qwen/Qwen3.8-27B")
    assert facts.draft is not None
    copied = replace(facts, draft=replace(facts.draft, vocab_copies=1))
    asked = EngineSettings(speculative=MTP)
    assert draft_bytes(copied, asked) == draft_bytes(facts, asked)


def test_a_look_up_in_the_prompt_has_no_pass_of_its_own() -> None:
    facts, asked = model("Qwen/Qwen3.8-27B"), EngineSettings(speculative=Speculative("ngram", 4))
    plain = decode(facts, card("rtx-3090"), asked)
    assert plain is not None
    assert draft_ms(plain.step, facts, card("rtx-3090"), asked) == 0.0


def test_hosts_differ_by_as_much_as_two_published_machines() -> None:
    # the same step took 27 and 53 ms on two machines with a 3090; here it brings 2.6 tokens
    asked = replace(TWO, kv_dtype="fp8_e5m2", speculative=stated(3))
    found = drafted(stored(Scheme.INT4), "rtx-3090", asked).tok_s
    assert 2.6 / found.high * 1e3 < 27
    assert 2.6 / found.low * 1e3 > 53


@pytest.mark.parametrize(("chance", "end"), [(0.60, "low"), (0.84, "high")])
def test_the_band_covers_prose_and_code(chance: float, end: str) -> None:
    # mean length of three drafts: 1 + p + p² + p³
    asked = replace(TWO, version=(0, 27), kv_dtype="int8", speculative=MTP)
    likely = drafted(stored(Scheme.FP8), "rtx-3090", asked).tok_s
    certain = drafted(stored(Scheme.FP8), "rtx-3090", replace(asked, speculative=stated(3))).tok_s
    share = sum(chance**k for k in range(4)) / sum(0.72**k for k in range(4))
    width = getattr(likely, end) / likely.value
    known = getattr(certain, end) / certain.value
    assert (width < known) if end == "low" else (width > known)
    assert (width < share) if end == "low" else (width > share)


def test_drafting_may_be_half_as_dear_again() -> None:
    # llama.cpp on a 3090: a plain step and 3 × 0.30 of it, perhaps 3 × 0.45
    facts = replace(
        model("Qwen/Qwen3.8-27B"), quantization=Quantization(Scheme.GGUF, bits_per_weight=4.89)
    )
    asked = EngineSettings(engine=Engine.LLAMA_CPP, speculative=stated(3))
    plain = decode(facts, card("rtx-3090"), asked)
    assert plain is not None
    found = with_speculation(plain, facts, card("rtx-3090"), asked).tok_s
    assert found.high / found.value == pytest.approx(joined(plain, 2.35 / 1.9))


def test_drafts_that_nobody_describes_gain_a_little() -> None:
    # club-3090, 27B in 4 bits on one 3090: 50.0 tok/s twice
    asked = EngineSettings(version=(0, 20), speculative=Speculative("unstated"))
    found = drafted(stored(Scheme.INT4), "rtx-3090", asked).tok_s
    assert found.value == pytest.approx(50.0, rel=0.15)


def test_a_block_drafter_costs_experts_one_pass() -> None:
    # V4-Flash with DSpark on two RTX PRO 6000: three drafts of 2.6 accepted made 1.98 of the speed
    facts, on = model("Qwen/Qwen3-30B-A3B"), card("rtx-pro-6000-workstation")
    block, serial = (
        EngineSettings(speculative=Speculative(method, tokens=3, accepted=2.6))
        for method in ("dflash", "mtp")
    )
    plain = decode(facts, on, EngineSettings())
    assert plain is not None
    drafted = with_speculation(plain, facts, on, block).tok_s.value
    assert drafted / plain.tok_s.value == pytest.approx(1.98, rel=0.05)
    assert drafted > 1.3 * with_speculation(plain, facts, on, serial).tok_s.value


def test_drafts_copied_from_the_text_promise_little() -> None:
    facts, on = model("Qwen/Qwen3-8B"), card("h200")
    plain = decode(facts, on, EngineSettings())
    assert plain is not None
    copied, layers = (
        with_speculation(plain, facts, on, EngineSettings(speculative=Speculative(method, 4))).tok_s
        for method in ("ngram", "mtp")
    )
    assert plain.tok_s.value < copied.value < 1.5 * plain.tok_s.value
    assert copied.low < plain.tok_s.value
    assert copied.value < layers.value


@pytest.mark.parametrize(
    ("method", "accepted", "measured"), [("eagle", 5.39, 378.57), ("eagle", 3.76, 230.08)]
)
def test_sglang_drafts_from_graphs(
    method: Literal["eagle"], accepted: float, measured: float
) -> None:
    # Llama-3.1-8B on an H100 with EAGLE3 and EAGLE2, eight steps; vLLM takes 0.8 ms more for each
    spec = Speculative(method, 8, accepted=accepted)
    asked = EngineSettings(engine=Engine.SGLANG, speculative=spec)
    facts = model("meta-llama/Llama-3.1-8B-Instruct")
    found = drafted(facts, "h100", asked)
    assert found.tok_s.low < measured < found.tok_s.high
    assert found.tok_s.value == pytest.approx(measured, rel=0.25)
    plain = decode(facts, card("h100"), asked)
    assert plain is not None
    ours, theirs = (
        draft_ms(plain.step, facts, card("h100"), replace(asked, engine=each))
        for each in (Engine.SGLANG, Engine.VLLM)
    )
    assert theirs - ours == pytest.approx(8 * 0.8)


def test_drafts_of_experts_cost_llama_cpp_by_the_draft() -> None:
    # Gemma 4 26B-A4B on two 5060 Ti: 1.52 times as fast with three drafts
    facts = replace(
        model("google/gemma-4-26B-A4B"), quantization=Quantization(Scheme.GGUF, bits_per_weight=4.9)
    )
    on, llama = card("rtx-5060-ti"), EngineSettings(engine=Engine.LLAMA_CPP)
    plain = decode(facts, on, llama)
    assert plain is not None
    gains = [
        with_speculation(plain, facts, on, replace(llama, speculative=stated(drafts))).tok_s.value
        / plain.tok_s.value
        for drafts in (1, 3)
    ]
    assert gains == pytest.approx([2.6 / 1.27, 2.6 / 1.81])


@pytest.mark.parametrize(("drafts", "measured"), [(2, 115.6), (4, 105.6), (5, 98.5)])
def test_drafts_cost_llama_cpp_more_than_they_bring_beside_experts_and_states(
    drafts: int, measured: float
) -> None:
    # 35B-A3B in 4 bits on a 3090, ik_llama.cpp: about 155 tok/s without
    facts = replace(
        model("Qwen/Qwen3.5-35B-A3B"), quantization=Quantization(Scheme.GGUF, bits_per_weight=4.2)
    )
    on, llama = card("rtx-3090"), EngineSettings(engine=Engine.LLAMA_CPP)
    plain = decode(facts, on, llama)
    assert plain is not None
    asked = replace(llama, speculative=Speculative("mtp", drafts))
    found = with_speculation(plain, facts, on, asked).tok_s
    assert found.low <= measured <= found.high
    assert found.value < plain.tok_s.value
    many = replace(asked, speculative=Speculative("mtp", 16))
    least = with_speculation(plain, facts, on, many).tok_s.value
    assert least == pytest.approx(0.6 * plain.tok_s.value)
