"""The breakdown of one GPU, its verdict, and the rules that hold for every model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing import llamacpp, sglang, vllm
from rigspec.sizing.amount import Amount, about, exact, total
from rigspec.sizing.cards import Card
from rigspec.sizing.fit import fit_table, group_sizes
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.verdict import Verdict, late_short
from rigspec.sizing.vllm_activation import peak_activation
from rigspec.units import GIB

H100 = EngineSettings(
    version=(0, 19), memory_fraction=0.95, context=8192, max_seqs=1024, max_batched_tokens=8192
)


@pytest.mark.parametrize(
    ("name", "settings", "printed_gib"),
    [
        ("Qwen/Qwen3-8B", H100, 57.50),
        ("meta-llama/Llama-3.1-8B-Instruct", replace(H100, tensor_parallel=4), 67.44),
        ("mistralai/Mixtral-8x7B-v0.1", replace(H100, tensor_parallel=4), 50.43),
        ("deepseek-ai/DeepSeek-V2-Lite", H100, 43.61),
        ("meta-llama/Llama-3.1-8B-Instruct", replace(H100, pipeline_parallel=2), 66.54),
    ],
)
def test_available_cache_meets_the_printed_line(
    name: str, settings: EngineSettings, printed_gib: float
) -> None:
    found = estimate(model(name), card("h100", total_gib=79.19), settings)
    assert found.available.value == pytest.approx(printed_gib, abs=0.3)
    assert found.available.low <= printed_gib <= found.available.high


def test_terms_add_up_to_the_requested_share() -> None:
    found = estimate(model("Qwen/Qwen3-8B"), card("h100", total_gib=79.19), H100)
    assert sum(term.amount.value for term in found.terms) == pytest.approx(79.19 * 0.95)


def test_70b_on_one_card_does_not_fit() -> None:
    found = estimate(model("meta-llama/Meta-Llama-3.1-70B"), card("rtx-3090"), EngineSettings())
    assert found.verdict is Verdict.NO


def test_a_small_model_fits_surely() -> None:
    settings = EngineSettings(version=(0, 30), context=8192)
    found = estimate(model("Qwen/Qwen3-1.7B"), card("rtx-3090"), settings)
    assert found.verdict is Verdict.YES
    assert found.concurrency is not None
    assert found.concurrency > 1


def test_too_close_to_call_is_said() -> None:
    facts, settings = model("Qwen/Qwen3-8B"), EngineSettings(version=(0, 30))
    found = estimate(facts, card("rtx-4090", total_gib=23.52), settings)
    assert found.largest_context is not None
    edge = replace(settings, context=found.largest_context)
    assert estimate(facts, card("rtx-4090", total_gib=23.52), edge).verdict is Verdict.CLOSE


def test_less_free_memory_than_asked_stops_the_boot() -> None:
    found = estimate(
        model("codellama/CodeLlama-34b-Instruct-hf"),
        card("h100", total_gib=79.19, free_gib=60.87),
        replace(H100, tensor_parallel=2),
    )
    assert found.verdict is Verdict.NO


def test_late_allocations_make_a_tight_share_doubtful() -> None:
    settings = EngineSettings(
        version=(0, 22), tensor_parallel=2, memory_fraction=0.92, context=262144, max_seqs=2,
        max_batched_tokens=8192, kv_dtype="fp8", speculative=Speculative("mtp", 3),
    )  # fmt: skip
    facts = model("Qwen/Qwen3.5-27B")
    tight = vllm.late_gib(facts, card("rtx-3090"), settings)
    assert tight > 0.5
    assert estimate(facts, card("rtx-3090"), settings).verdict is not Verdict.YES


@pytest.mark.parametrize(("share", "verdict"), [(0.90, Verdict.YES), (0.95, Verdict.CLOSE)])
def test_mxfp4_needs_room_outside_its_share(share: float, verdict: Verdict) -> None:
    settings = EngineSettings(version=(0, 11), memory_fraction=share, context=16000)
    found = estimate(model("openai/gpt-oss-20b"), card("h100", total_gib=79.18), settings)
    assert found.verdict is verdict  # 0.90 boots, 0.95 ran out with 552 MiB left


@pytest.mark.parametrize(("sku", "ranks"), [("rtx-5090", 1), ("rtx-5090", 16), ("l4", 1)])
def test_mxfp4_needs_little_outside_its_share_beyond_hopper(sku: str, ranks: int) -> None:
    # r4-5090-gptoss20b and vllm-gptoss20b-l4 boot at 0.9: Marlin has no such workspaces
    settings = EngineSettings(memory_fraction=0.9, context=16384, tensor_parallel=ranks)
    facts = model("openai/gpt-oss-20b")
    assert vllm.late_gib(facts, card(sku), settings) < 0.5
    assert estimate(facts, card(sku), settings).verdict is Verdict.YES


def test_a_fixed_cache_size_replaces_what_is_left() -> None:
    settings = replace(H100, kv_bytes=4 * GIB)
    found = estimate(model("Qwen/Qwen3-8B"), card("h100"), settings)
    assert found.available == exact(4.0)


def test_more_ranks_never_need_more_per_gpu() -> None:
    facts = model("meta-llama/Meta-Llama-3.1-70B")
    weights = [
        estimate(facts, card("h100"), replace(H100, tensor_parallel=n)).weights.value
        for n in (1, 2, 4, 8)
    ]
    assert weights == sorted(weights, reverse=True)


def test_unknown_layout_gives_no_token_count() -> None:
    found = estimate(
        model("deepseek-ai/DeepSeek-V4-Flash"),
        card("h200"),
        EngineSettings(tensor_parallel=4),
    )
    assert found.kv_tokens is None
    assert found.doubts


def test_sglang_pool_is_fraction_minus_weights() -> None:
    settings = EngineSettings(engine=Engine.SGLANG, memory_fraction=0.8)
    on = card("h100", total_gib=79.0, free_gib=78.0)
    left = sglang.pool(model("Qwen/Qwen3-8B"), on, settings, exact(20.0))
    assert left.value == pytest.approx(0.8 * 78.0 - 20.0)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "Qwen/Qwen3-VL-8B-Instruct"])
def test_terms_and_pool_of_sglang_are_no_more_than_the_card(name: str) -> None:
    # a tower makes the engine's own fraction 5 % smaller, for the pool as for the rest
    found = estimate(model(name), card("rtx-4090"), EngineSettings(engine=Engine.SGLANG))
    shown = sum(term.amount.value for term in found.terms)
    assert shown <= card("rtx-4090").total.value


def test_sglang_tokens_of_a_printed_pool() -> None:
    settings = EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)
    tokens = sglang.tokens(model("Qwen/Qwen3-14B"), settings, 2 * 5.69)
    assert tokens == pytest.approx(298447, rel=2e-3)  # printed


@pytest.mark.parametrize(
    ("name", "kv", "context", "mib"),
    [
        ("Qwen/Qwen3-30B-A3B", "f16", 65536, 6144.0),
        ("deepseek-ai/DeepSeek-R1", "q8_0", 32768, 1166.6),
        ("moonshotai/Kimi-K2-Instruct", "q8_0", 131072, 4666.5),
    ],
)
def test_llama_cpp_cache_is_exact(name: str, kv: str, context: int, mib: float) -> None:
    settings = EngineSettings(engine=Engine.LLAMA_CPP, kv_dtype=kv)
    found = llamacpp.cache_gib(model(name), settings, context) * 1024
    assert found == pytest.approx(mib, rel=1e-4)


def test_llama_cpp_window_layers_keep_window_plus_batch() -> None:
    settings = EngineSettings(engine=Engine.LLAMA_CPP, kv_dtype="f16")
    found = llamacpp.cache_gib(model("meta-models/Muse-Glimmer-30B"), settings, 32768) * 1024
    assert found == pytest.approx(513.5, rel=1e-3)  # printed: 416.0 full + 97.5 window


def test_llama_cpp_split_follows_the_stated_shares() -> None:
    even = EngineSettings(engine=Engine.LLAMA_CPP, tensor_parallel=2)
    uneven = replace(even, tensor_split=(9.0, 17.0))
    assert even.fullest_share == 0.5
    assert uneven.fullest_share == pytest.approx(17 / 26)
    facts = model("Qwen/Qwen3-8B")
    found = [estimate(facts, card("h100"), s).weights.value for s in (even, uneven)]
    assert found[1] / found[0] == pytest.approx(34 / 26, rel=1e-2)


def test_another_service_on_the_card_stops_a_greedy_one() -> None:
    alone = estimate(model("Qwen/Qwen3-1.7B"), card("h100"), replace(H100, memory_fraction=0.5))
    assert alone.verdict is Verdict.YES
    crowded = replace(H100, memory_fraction=0.5, other_processes_gib=60.0)
    found = estimate(model("Qwen/Qwen3-1.7B"), card("h100"), crowded)
    assert found.verdict is Verdict.NO


def test_llama_cpp_mixed_cache_types() -> None:
    assert llamacpp.cache_widths("q8_0 / q4_0") == (34 / 32, 18 / 32)
    assert llamacpp.cache_widths("") == (2.0, 2.0)


def test_doubts_add_as_squares() -> None:
    found = total((about(1.0, 3.0), about(2.0, 4.0)))
    assert found == Amount(3.0, -2.0, 8.0)


def test_fit_table_has_a_row_per_size_and_context() -> None:
    rows = fit_table(
        model("Qwen/Qwen3-8B"), card("rtx-3090"), EngineSettings(), count=2,
        contexts=(8192, 32768, 131072),
    )  # fmt: skip
    assert [(row.tensor_parallel, row.context) for row in rows] == [
        (1, 8192), (1, 32768), (2, 8192), (2, 32768),
    ]  # fmt: skip
    by_size = {row.tensor_parallel: row for row in rows}
    assert by_size[2].weights_gib.value < by_size[1].weights_gib.value


def test_fit_table_says_what_the_engine_refuses() -> None:
    rows = fit_table(model("microsoft/phi-4"), card("h100"), EngineSettings(), count=4)
    refused = {row.tensor_parallel: row.refused for row in rows}
    assert refused[1] == ""
    assert "10 key/value heads" in refused[4]
    assert all(row.verdict is Verdict.NO for row in rows if row.refused)


def test_group_sizes_are_powers_and_the_count() -> None:
    assert group_sizes(6) == (1, 2, 4, 6)
    assert group_sizes(1) == (1,)


@pytest.mark.parametrize(
    ("name", "version", "total_gib", "fraction", "printed_gib"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", (0, 8, 5), 31.74, 0.90, 9.88),
        ("Qwen/Qwen2.5-1.5B-Instruct", (0, 8), 14.56, 0.50, 2.36),
    ],
)
def test_cards_before_ampere_ran_the_first_engine_with_whole_prompts(
    name: str, version: tuple[int, ...], total_gib: float, fraction: float, printed_gib: float
) -> None:
    turing = Card("T4 or V100", exact(total_gib), 300.0, (7, 5))
    settings = EngineSettings(version=version, memory_fraction=fraction, context=32768)
    found = estimate(model(name), turing, settings).available
    assert found.low <= printed_gib <= found.high
    ampere = replace(turing, compute=(8, 6))
    assert estimate(model(name), ampere, settings).available.value > found.value


def test_graphs_are_deducted_from_0_20_on() -> None:
    """Boots of 0.20.0 and 0.20.2 print that graphs are profiled, 0.19.2rc1 that they are not."""
    facts, ada = model("Qwen/Qwen3-8B"), card("rtx-4090")
    one = [
        vllm.graph_estimate(facts, EngineSettings(version=v), ada).value for v in ((0, 19), (0, 20))
    ]
    assert one[0] == 0 < one[1]


def test_sglang_gives_window_layers_a_smaller_pool() -> None:
    facts = model("nvidia/Gemma-4-31B-IT-NVFP4")
    pair = EngineSettings(engine=Engine.SGLANG, tensor_parallel=2, kv_dtype="bfloat16")
    # full_layer_tokens=24248, swa_layer_tokens=19398, mem usage 8.33 GB
    assert sglang.tokens(facts, pair, 8.33) == pytest.approx(24_248, rel=0.01)


def test_unified_memory_may_be_given_back() -> None:
    spark = card("dgx-spark", total_gib=121.7)
    settings = EngineSettings(memory_fraction=0.49, context=16384)
    found = estimate(model("Qwen/Qwen3-30B-A3B"), spark, settings)
    assert found.available.high > 4.1  # printed: 4.85
    assert found.boots is not Verdict.NO


def test_unified_memory_may_be_given_back_by_more() -> None:
    # vLLM 0.23.1, fp8 cache, MTP of 8 tokens: 22.72 GiB, where 60.69 of 73.01 were taken
    spark = card("dgx-spark", total_gib=121.69)
    settings = EngineSettings(
        version=(0, 23, 1), memory_fraction=0.6, kv_dtype="fp8", speculative=Speculative("mtp", 8)
    )
    assert estimate(model("Qwen/Qwen3.8-27B"), spark, settings).available.high > 22.72


def test_a_group_of_experts_may_hold_more_outside_the_allocator() -> None:
    # Qwen3-30B-A3B-FP8 on four L4, vLLM 0.29, 0.85: 9.2 GiB, with expert parallelism
    facts = model("Qwen/Qwen3-30B-A3B-FP8")
    four = EngineSettings(
        version=(0, 29), tensor_parallel=4, memory_fraction=0.85, context=8192, prefix_caching=False
    )
    spread = replace(four, expert_parallel=True)
    low = [estimate(facts, card("l4"), each).available.low for each in (four, spread)]
    assert low[1] < 9.2 < low[0]


def test_a_dummy_image_may_take_more_than_the_text() -> None:
    facts = model("nvidia/Gemma-4-26B-A4B-NVFP4")
    settings = EngineSettings(version=(0, 20, 2), max_batched_tokens=16384, max_seqs=2)
    ada = card("rtx-5090")
    assert peak_activation(facts, settings, ada).high > 3.5  # 4.2 GiB with the other terms
    assert peak_activation(facts, replace(settings, language_only=True), ada).high < 2.0


def test_bridged_pairs_hold_no_buffers_of_switched_cards() -> None:
    # two 3090s with a bridge, vLLM 0.20: 10.55 GiB for the cache, as much as over PCIe
    asked = EngineSettings(version=(0, 20), tensor_parallel=2)
    facts = model("Qwen/Qwen3-8B")
    bridged, switched, bare = (
        vllm.non_torch(facts, asked, replace(card(sku), nvlink=nvlink)).value
        for sku, nvlink in (("rtx-3090", True), ("h100", True), ("rtx-3090", False))
    )
    assert bridged == bare < switched


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.LLAMA_CPP])
def test_the_longest_context_does_not_hang_on_what_was_asked(engine: Engine) -> None:
    facts, settings = model("meta-llama/Llama-3.1-8B-Instruct"), EngineSettings(engine=engine)
    found = {
        estimate(facts, card("rtx-3090"), replace(settings, context=asked)).largest_context
        for asked in (4096, 8000, 20000, 40000, 41000, 69000, 131072)
    }
    assert len(found) == 1


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.LLAMA_CPP])
def test_a_stretched_context_is_not_cut_at_the_models_own(engine: Engine) -> None:
    facts = model("Qwen/Qwen3-8B")
    assert facts.max_positions == 40960
    settings = EngineSettings(engine=engine, context=131072, stretched=True)
    longest = estimate(facts, card("h100"), settings).largest_context
    assert longest is not None
    assert longest > 131072


def test_flashinfer_takes_its_workspace_with_the_first_prompt() -> None:
    # 27B on a 4090 at 0.97: started, and answered every request with an OutOfMemoryError
    asked = EngineSettings(
        version=(0, 27), memory_fraction=0.97, context=8192, max_seqs=8, max_batched_tokens=1568,
        kv_dtype="fp8", eager=True, language_only=True,
    )  # fmt: skip
    facts = replace(model("Qwen/Qwen3.8-27B"), quantization=Quantization(Scheme.INT4_ZERO, 32))
    on = card("rtx-4090", total_gib=23.48)
    assert estimate(facts, on, asked).verdict is Verdict.CLOSE
    assert late_short(facts, on, asked)
    plain, roomy = replace(asked, kv_dtype="auto"), replace(asked, memory_fraction=0.9)
    assert not late_short(facts, on, plain)
    assert not late_short(facts, on, roomy)
    assert vllm.takes_flashinfer(asked, on)
    assert not vllm.takes_flashinfer(asked, card("h100"))
    grown = vllm.late_gib(facts, on, asked) - vllm.late_gib(facts, on, plain)
    assert grown == pytest.approx(394 / 1024)


def test_a_format_that_no_engine_is_known_to_read_is_never_sure_to_start() -> None:
    unknown = Quantization(Scheme.INT8, doubts=("the quantization method is not known",))
    facts = replace(model("Qwen/Qwen3-8B"), quantization=unknown)
    asked = EngineSettings(context=4096)
    assert estimate(facts, card("h200"), asked).boots is Verdict.CLOSE
    read = replace(facts, quantization=Quantization(Scheme.INT8))
    assert estimate(read, card("h200"), asked).boots is Verdict.YES
