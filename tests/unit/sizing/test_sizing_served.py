"""Streams that come and go: what their prompts take of the answers, against published loads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model
from test_sizing_benchmark_totals import RUN, case, models

from benchmarks.sizing_cases import Case, case_of
from benchmarks.sizing_rates import decode as predicted
from benchmarks.sizing_rates import load_of
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.amount import Amount
from rigspec.sizing.prefill import prefill
from rigspec.sizing.served import Load, chats, served, summed
from rigspec.sizing.service import sized
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.throughput import Bottleneck, decode

ANSWERS, PROMPTS = Amount(1000.0, 800.0, 1200.0), Amount(10_000.0, 5_000.0, 20_000.0)


def test_prompts_take_their_time_from_the_answers() -> None:
    found = summed(ANSWERS, PROMPTS, Load(1.0, 3.0), 8)
    assert found.value == pytest.approx(1 / (1 / 1000 + 1 / 10_000))
    assert found.low == pytest.approx(1 / (1 / 800 + 3 / 10_000))
    assert found.high == 1200.0  # nobody asks anything new


def test_one_stream_is_quoted_without_its_prompt() -> None:
    assert summed(ANSWERS, PROMPTS, Load(1.0, 3.0), 1) == ANSWERS


def test_a_card_whose_prompts_nobody_knows_may_spend_half_its_time_on_them() -> None:
    assert summed(ANSWERS, None, Load(1.0, 3.0), 8) == Amount(1000.0, 400.0, 1200.0)


@pytest.mark.parametrize(("depth", "most"), [(0, 3.0), (512, 3.0), (4096, 4.0), (16_384, 16.0)])
def test_long_prompts_may_get_short_answers(depth: int, most: float) -> None:
    assert chats(depth) == Load(1.0, most)


def test_requests_that_come_all_at_once_are_read_before_they_are_answered() -> None:
    # GLM-4.5-Air on four A100 made 2,972 tok/s of 1,000 requests of 314 tokens at once
    facts, on = model("zai-org/GLM-4.5-Air"), card("a100-sxm4-80gb")
    asked = EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)
    answers = decode(facts, on, asked, streams=1000, context=314)
    prompts = prefill(facts, on, asked, prompt=314)
    assert answers is not None
    assert prompts is not None
    found = served(answers, prompts, chats(314), 1000)
    assert found.tok_s.low <= 2972 <= found.tok_s.high
    assert answers.tok_s.value / 2 > 2972
    assert found.bottleneck is prompts.bottleneck
    few = served(answers, prompts, chats(314), 256).tok_s
    assert few.low > found.tok_s.low
    assert few.value == found.tok_s.value


def test_what_holds_up_the_answers_is_named_while_they_take_longer() -> None:
    facts, on, asked = model("Qwen/Qwen3-8B"), card("h100-sxm"), EngineSettings()
    answers = decode(facts, on, asked, streams=8, context=1024)
    prompts = prefill(facts, on, asked, prompt=1024)
    assert answers is not None
    found = served(answers, prompts, chats(1024), 8)
    assert found.bottleneck is answers.bottleneck is Bottleneck.MEMORY
    assert 0.8 * answers.tok_s.value < found.tok_s.value < answers.tok_s.value


@pytest.mark.parametrize(("streams", "tok_s"), [(8, 261.0), (16, 246.0)])
def test_agents_leave_little_of_the_sum(streams: int, tok_s: float) -> None:
    # 35B-A3B on two 3090s, 16,384 tokens sent and 256 back: each further stream lowers the sum
    run = case(
        model="Qwen/Qwen3.5-35B-A3B", quantization="auto_round int4 mixed", gpu="RTX 3090",
        gpu_count=2, tp=2, engine_version="0.24.0",
    )  # fmt: skip
    found = predicted(streams, 16_384)(run)
    assert found.low <= tok_s <= found.high


def test_a_depth_of_zero_and_llama_cpp_s_own_benchmark_hold_no_prompts() -> None:
    run = case()
    assert load_of(run, 0) == Load(0.0, 1.0)
    assert load_of(run, None) == Load(4.0, 8.0)
    assert load_of(run, 2048) == chats(2048)
    llama = case(engine_family="llama.cpp", quantization="GGUF Q4_K_M", gpu="RTX 3090")
    assert load_of(llama, 2048) == Load(0.0, 1.0)


def test_streams_of_a_depth_share_their_prompt() -> None:
    # Kimi-K2.6 on eight RTX PRO 6000 holds 437,264 tokens, and made 635 tok/s of 128 streams at a
    # depth of 41,500, of which it could hold ten
    def of(streams: int) -> Case:
        told = {
            "model": "nvidia/Kimi-K2.6-NVFP4", "quantization": "compressed-tensors INT4 experts",
            "gpu": "NVIDIA RTX PRO 6000 Blackwell", "gpu_count": 8, "tp": 8,
            "kv_cache_dtype": "fp8", "gpu_memory_utilization": 0.94, "max_num_seqs": streams,
            "max_num_batched_tokens": 8192, "engine_version": "0.20",
        }  # fmt: skip
        return case_of(RUN | told, models(), 0)

    many, few = predicted(128, 41_500)(of(128)), predicted(10, 41_500)(of(10))
    assert many.low <= 635.5 <= many.high
    assert many.value > 1.5 * few.value


def test_copies_of_the_model_share_the_streams() -> None:
    spread = {"gpu": "H100 80GB", "gpu_count": 4, "gpu_memory_utilization": 0.9}
    one = predicted(16, 0)(case(**spread | {"gpu_count": 1}))
    four = predicted(64, 0)(case(**spread, dp=4))
    assert four.value == pytest.approx(4 * one.value)
    alone = predicted(1, 0)(case(**spread, dp=4))
    assert alone.value == predicted(1, 0)(case(**spread | {"gpu_count": 1})).value


def test_sglang_s_copies_on_the_cards_of_one_are_of_its_attention() -> None:
    told = {"engine_family": "sglang", "gpu": "H200", "gpu_count": 8, "tp": 8, "dp": 8}
    assert case(**told).settings.dp_attention
    assert not case(**told | {"gpu_count": 64}).settings.dp_attention
    assert case(**told, enable_dp_attention=True).settings.dp_attention


def test_the_screen_s_sum_is_with_prompts_and_with_drafts() -> None:
    facts = replace(model("Qwen/Qwen3.8-27B"), quantization=Quantization(Scheme.FP8, 0))
    on = (card("h100-sxm"),)
    asked = EngineSettings(version=(0, 30), context=8192, max_seqs=16)
    plain = speeds_of(sized("m", facts, on, asked))
    alone = decode(facts, on[0], asked, streams=16, context=4096)
    assert plain.batch is not None
    assert alone is not None
    assert plain.batch.tok_s.value < alone.tok_s.value
    assert plain.batch.tok_s.high == alone.tok_s.high
    assert plain.prefill is not None
    four = 1 / alone.tok_s.low + 4096 / 1024 / plain.prefill.tok_s.value
    assert plain.batch.tok_s.low == pytest.approx(1 / four)
    drafts = replace(asked, speculative=Speculative("mtp", 2, accepted=2.4))
    found = speeds_of(sized("m", facts, on, drafts))
    assert found.batch is not None
    assert found.batch.tok_s.value > 1.2 * plain.batch.tok_s.value
