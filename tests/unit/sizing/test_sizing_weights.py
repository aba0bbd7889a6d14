"""Weights against header totals and printed loads of real boots."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from published import model

from rigspec.catalog.model_facts import ExactSizes
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing import sglang
from rigspec.sizing.matrices import Cut, Part, matrices
from rigspec.sizing.overrides import Override
from rigspec.sizing.settings import Engine, EngineSettings, Lora, Portion, Speculative
from rigspec.sizing.stages import fullest_stage
from rigspec.sizing.weights import rank_weights, weights_as_loaded
from rigspec.units import GIB

HEADER_TOTALS = [
    ("Qwen/Qwen3-8B", 16381470720),
    ("Qwen/Qwen3-14B", 29536614400),
    ("Qwen/Qwen3-32B", 65524246528),
    ("Qwen/Qwen3-8B-AWQ", 6098479104),
    ("Qwen/Qwen3.8-27B", 55562855904),
    ("deepseek-ai/DeepSeek-V2-Lite", 31412968448),
    ("google/gemma-2-2b-it", 5228683776),
    ("meta-llama/Llama-3.1-8B-Instruct", 16060522496),
    ("openai/gpt-oss-120b", 65248815744),
    ("zai-org/GLM-4.7-Flash", 62442983168),
]
"""Bytes of the published safetensors headers (benchmarks/data/model-configs/sizes.yaml)."""


@pytest.mark.parametrize(("name", "total"), HEADER_TOTALS)
def test_formulas_reproduce_the_header_total(name: str, total: int) -> None:
    facts = model(name)
    assert sum(m.stored_bytes for m in matrices(facts)) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "ranks", "printed_gib"),
    [
        ("Qwen/Qwen3-8B", 1, 15.27),
        ("meta-llama/Llama-3.1-8B-Instruct", 4, 3.77),
        ("Qwen/Qwen2.5-72B-Instruct", 2, 67.80),
        ("Qwen/Qwen2.5-72B-Instruct", 4, 33.98),
        ("mistralai/Mixtral-8x7B-v0.1", 2, 43.51),
        ("google/gemma-3-12b-it", 1, 23.31),
    ],
)
def test_printed_loads_are_met_within_half_a_per_cent(
    name: str, ranks: int, printed_gib: float
) -> None:
    found = rank_weights(model(name), EngineSettings(tensor_parallel=ranks)).amount
    assert found.value == pytest.approx(printed_gib, rel=0.005)


def test_key_value_heads_are_repeated_when_ranks_outnumber_them() -> None:
    facts = model("Qwen/Qwen3.5-122B-A10B")  # two key/value heads
    four, eight = (
        rank_weights(facts, EngineSettings(tensor_parallel=ranks)).amount.value for ranks in (4, 8)
    )
    assert eight > four / 2


def test_last_pipeline_stage_carries_the_head() -> None:
    facts = model("meta-llama/Llama-3.1-8B-Instruct")
    found = rank_weights(facts, EngineSettings(pipeline_parallel=4)).amount.value
    assert found == pytest.approx(4.26, rel=0.005)  # printed by vLLM 0.19


def test_a_tied_table_is_on_both_ends_of_a_pipeline() -> None:
    # gemma-4-31B in 8-bit blocks on two 3090s, text only, 0.21: 17.06 GiB by stages, 15.85 by ranks
    facts = replace(
        model("nvidia/Gemma-4-31B-IT-NVFP4"),
        quantization=Quantization(Scheme.FP8_BLOCK),
        sizes=None,
    )
    text = EngineSettings(version=(0, 21), language_only=True)
    staged = rank_weights(facts, replace(text, pipeline_parallel=2)).amount
    ranked = rank_weights(facts, replace(text, tensor_parallel=2)).amount
    assert staged.low < 17.06 < staged.high
    assert ranked.low < 15.85 < ranked.high
    assert staged.value - ranked.value == pytest.approx(262144 * 5376 / GIB, rel=0.1)


def test_a_last_stage_that_is_the_fullest_holds_the_tied_table_as_well() -> None:
    facts = model("deepseek-ai/DeepSeek-V2-Lite")  # its first layer has no experts
    two = EngineSettings(engine=Engine.SGLANG, pipeline_parallel=2)  # 13 and 14 layers
    last = fullest_stage(matrices(facts), facts, two)
    tied = replace(facts, tied=True)
    shared = fullest_stage(matrices(tied), tied, two)
    assert max(m.layer or 0 for m in last) == max(m.layer or 0 for m in shared) == 26
    assert Part.EMBEDDING not in {m.part for m in last}
    assert Part.EMBEDDING in {m.part for m in shared}


def test_a_first_stage_may_be_the_fullest() -> None:
    facts = model("Qwen/Qwen3.8-27B")  # the tower is embedded, the head is as large as the table
    seen, blind = (
        rank_weights(facts, EngineSettings(pipeline_parallel=2, language_only=only)).amount.value
        for only in (False, True)
    )
    tower = sum(m.stored_bytes for m in matrices(facts) if m.part is Part.VISION)
    assert seen - blind == pytest.approx(tower / GIB, abs=0.02)


def test_draft_layer_is_loaded_only_with_speculation() -> None:
    facts = model("Qwen/Qwen3.8-27B")
    plain = rank_weights(facts, EngineSettings()).amount.value
    drafted = rank_weights(facts, EngineSettings(speculative=Speculative("mtp", 3))).amount.value
    assert drafted - plain == pytest.approx(849398784 / GIB, abs=0.01)


def test_vision_tower_is_left_out_for_text_only() -> None:
    facts = model("Qwen/Qwen3.8-27B")
    whole = rank_weights(facts, EngineSettings()).amount.value
    text = rank_weights(facts, EngineSettings(language_only=True)).amount.value
    tower = sum(m.stored_bytes for m in matrices(facts) if m.part is Part.VISION)
    assert whole - text == pytest.approx(tower / GIB, abs=0.01)


def test_known_sizes_outweigh_the_formula() -> None:
    facts = replace(model("Qwen/Qwen3-8B"), sizes=ExactSizes(18_000_000_000, "header bytes"))
    found = rank_weights(facts, EngineSettings())
    assert found.amount.value == pytest.approx(18e9 / GIB, abs=0.05)
    assert found.basis == "header bytes"


def test_a_rounded_figure_of_a_page_is_not_taken_alone() -> None:
    # cyankiwi's AWQ of Qwen3.6-27B is called 17 GB on a page and loads 18.47 GiB with its drafts
    page = ExactSizes(17_000_000_000, "published GB", None, 0.03)
    facts = replace(model("Qwen/Qwen3.5-27B"), quantization=Quantization(Scheme.INT4), sizes=page)
    asked = EngineSettings(speculative=Speculative("mtp", 1))
    found = rank_weights(facts, asked).amount
    assert found.low < 18.47 < found.high
    header = replace(facts, sizes=replace(page, source="header bytes", relative_error=0.0))
    assert rank_weights(header, asked).amount.value < found.value
    plain = replace(facts, quantization=Quantization(), sizes=replace(page, total_bytes=54 * 10**9))
    assert rank_weights(plain, EngineSettings()).amount.value == pytest.approx(54e9 / GIB, rel=0.02)


def test_unknown_architecture_widens_the_band() -> None:
    facts = model("Qwen/Qwen3-8B")
    known = rank_weights(facts, EngineSettings()).amount
    doubtful = rank_weights(replace(facts, doubts=("new",)), EngineSettings()).amount
    assert doubtful.high - doubtful.low > 5 * (known.high - known.low)


LIVELY = EngineSettings(
    complete=True,
    stretched=True,
    patched=True,
    engine=Engine.LLAMA_CPP,
    version=(0, 20),
    beyond_known=True,
    tensor_parallel=2,
    pipeline_parallel=2,
    stage=1,
    decode_context_parallel=2,
    data_parallel=2,
    dp_attention=True,
    attention_context=2,
    expert_parallel=True,
    memory_fraction=0.8,
    kv_bytes=1 << 30,
    context=9000,
    auto_context=True,
    slots=2,
    max_seqs=3,
    max_batched_tokens=999,
    max_graph_size=16,
    eager=True,
    kv_dtype="fp8",
    block_size=32,
    prefix_caching=False,
    state_bytes=2,
    state_ratio=0.5,
    state_slots=30,
    pool_tokens=9000,
    language_only=True,
    speculative=Speculative("mtp", 2, draft_gib=0.5),
    lora=Lora(3, 8),
    estimates_graphs=True,
    split="row",
    tensor_split=(3.0, 1.0),
    main_gpu=1,
    portion=Portion(range(9), 0.5, 0.5),
    parallel=2,
    batch=1024,
    ubatch=256,
    flash_attention=False,
    host_experts=3,
    overrides=(Override("exps", on_host=True),),
    other_processes_gib=1.0,
    uncounted=True,
)
"""No field at its default."""


def test_settings_that_the_weights_are_kept_by_are_all_that_decide_them() -> None:
    facts = model("zai-org/GLM-4.7-Flash")
    names = [field.name for field in fields(EngineSettings)]
    assert not [n for n in names if getattr(LIVELY, n) == getattr(EngineSettings(), n)]
    computed = weights_as_loaded.__wrapped__
    for base, other in ((EngineSettings(), LIVELY), (LIVELY, EngineSettings())):
        for name in names:
            asked = replace(base, **{name: getattr(other, name)})
            assert rank_weights(facts, asked) == computed(facts, asked), name


def test_a_list_of_exceptions_for_the_dense_mlp_spares_the_experts_beside_it() -> None:
    # Gemma 4 keeps both: `layers.0.mlp*` in the list names the MLP, `layers.0.experts` stays 4-bit
    loaded = rank_weights(model("nvidia/Gemma-4-26B-A4B-NVFP4"), EngineSettings())
    assert loaded.amount.value == pytest.approx(17.89, rel=0.02)  # vLLM 0.20.2 printed 17.89 GiB


def test_a_four_bit_checkpoint_without_a_list_may_leave_attention_alone_or_not() -> None:
    facts = replace(model("zai-org/GLM-4.6"), quantization=Quantization(Scheme.NVFP4, 16))
    by_habit = replace(facts, quantization=replace(facts.quantization, experts_only=True))
    loaded = rank_weights(by_habit, EngineSettings(tensor_parallel=4)).amount
    assert loaded.low < 47.11 < loaded.value  # GLM-4.7-NVFP4 printed 47.11 GiB on four GPUs


def test_sglang_counts_unpacked_originals_of_packed_integers() -> None:
    facts = replace(
        model("mistralai/Devstral-Small-2-24B-Instruct-2512"),
        quantization=Quantization(Scheme.INT4_ZERO),
    )
    vllm, sglang = (
        rank_weights(facts, EngineSettings(engine=engine, tensor_parallel=2)).amount
        for engine in (Engine.VLLM, Engine.SGLANG)
    )
    assert vllm.high < 9
    assert sglang.value > vllm.value
    assert sglang.high > 12.91  # "mem usage=12.91 GB", 5.29 GB of it given back after the graphs


def test_sglang_shuffles_quantized_weights_for_its_kernels() -> None:
    settings = EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)
    loaded = rank_weights(model("nvidia/DeepSeek-V3.1-NVFP4"), settings).amount
    assert loaded.low < 94.5 < loaded.high  # printed for DeepSeek-V3-0324-FP4


@pytest.mark.parametrize(
    ("name", "ranks", "marlin_gib", "triton_gib"),
    [
        ("openai/gpt-oss-20b", 1, 13.72, 13.47),
        ("openai/gpt-oss-120b", 1, 65.97, 64.6),
        ("openai/gpt-oss-120b", 4, 17.22, None),
        ("openai/gpt-oss-20b", 4, None, 3.63),
    ],
)
def test_kernels_pad_mxfp4_experts_in_both_directions(
    name: str, ranks: int, marlin_gib: float | None, triton_gib: float | None
) -> None:
    loaded = rank_weights(model(name), EngineSettings(tensor_parallel=ranks)).amount
    if marlin_gib:
        assert loaded.value == pytest.approx(marlin_gib, rel=0.003)
    if triton_gib:
        assert loaded.low < triton_gib < loaded.high


@pytest.mark.parametrize(
    ("name", "version", "printed_gib"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", (0, 28), 2.98),
        ("Qwen/Qwen2.5-7B-Instruct", (0, 22), 14.29),
        ("Qwen/Qwen2.5-7B-Instruct", (0, 27, 1), 14.29),
        ("meta-llama/Llama-3.1-8B-Instruct", (0, 6), 14.96),
    ],
)
def test_what_a_load_prints_may_hold_tables_or_not(
    name: str, version: tuple[int, ...], printed_gib: float
) -> None:
    loaded = rank_weights(model(name), EngineSettings(version=version)).amount
    assert loaded.low <= printed_gib <= loaded.high
    assert loaded.high - loaded.low < 0.2


@pytest.mark.parametrize(("ranks", "printed_gib"), [(2, 67.80), (4, 33.98)])
def test_large_tensors_waste_the_rest_of_their_last_step(ranks: int, printed_gib: float) -> None:
    # 78 and 120 MiB of Qwen2.5-72B
    found = rank_weights(model("Qwen/Qwen2.5-72B-Instruct"), EngineSettings(tensor_parallel=ranks))
    assert found.amount.value == pytest.approx(printed_gib, abs=0.02)


def test_what_sglang_holds_at_its_start_may_be_inside_a_load_or_not() -> None:
    # Qwen3-32B on an H100: 61.07 GB printed, 61.02 are stored
    stored = 65524246528 / GIB
    found = rank_weights(model("Qwen/Qwen3-32B"), EngineSettings(engine=Engine.SGLANG)).amount
    assert found.low <= stored <= 61.07 <= stored + 0.15 <= found.high


def test_copies_of_a_model_share_experts_in_vllm_alone() -> None:
    facts = model("Qwen/Qwen3-235B-A22B")
    alone = EngineSettings(tensor_parallel=4)
    for engine, shares in ((Engine.VLLM, True), (Engine.SGLANG, False)):
        one, two = (
            rank_weights(facts, replace(alone, engine=engine, data_parallel=dp)).amount.value
            for dp in (1, 2)
        )
        assert (two < 0.6 * one) is shares
        assert shares or two == one


def test_sglang_s_copies_of_the_attention_are_cut_into_fewer_parts() -> None:
    # TP 8: with as many copies of the attention each rank holds all of its 12 GB of 8 bits, and
    # all of the up-projections of the latent that are kept in 16 bits beside
    facts = model("deepseek-ai/DeepSeek-R1")
    ranks = EngineSettings(engine=Engine.SGLANG, tensor_parallel=8)
    copies = replace(ranks, data_parallel=8, dp_attention=True)
    assert (ranks.attention_ranks, copies.attention_ranks) == (8, 1)
    one, two = (rank_weights(facts, asked).amount.value for asked in (ranks, copies))
    cut = [m for m in matrices(facts) if m.part is Part.MIXER and m.cut is not Cut.WHOLE]
    stored = sum(m.stored_bytes for m in cut)
    absorbed = 61 * 128 * (128 + 128) * 512 * 2  # layers, heads, widths without rope, latent
    assert two - one == pytest.approx((stored + absorbed) * 7 / 8 / 2**30, rel=0.02)


def test_a_copy_of_the_attention_caches_all_heads() -> None:
    facts = model("Qwen/Qwen3-235B-A22B")
    ranks = EngineSettings(engine=Engine.SGLANG, tensor_parallel=4)
    copies = replace(ranks, data_parallel=4, dp_attention=True)
    one, two = (sglang.bytes_per_token(facts, asked) for asked in (ranks, copies))
    assert two == 4 * one


@pytest.mark.parametrize(
    ("scheme", "name", "wide"),
    [
        (Scheme.INT8, "Qwen/Qwen3.5-9B", True),
        (Scheme.FP8, "Qwen/Qwen3.5-9B", False),
        (Scheme.INT8, "Qwen/Qwen3-8B", False),
    ],
)
def test_eight_bit_integers_may_leave_what_lies_beside_states_in_sixteen(
    scheme: Scheme, name: str, wide: bool
) -> None:
    facts = replace(model(name), quantization=Quantization(scheme, 0))
    loaded = rank_weights(facts, EngineSettings(language_only=True)).amount
    assert (loaded.high > 1.1 * loaded.value) is wide
    listed = replace(facts, quantization=replace(facts.quantization, has_list=True))
    told = rank_weights(listed, EngineSettings(language_only=True)).amount
    assert told.high < 1.1 * told.value
    if wide:  # W8A8 of Qwen3.5-9B, vLLM 0.27.1 printed 11.87 GiB
        assert loaded.low < 11.87 < loaded.high


@pytest.mark.parametrize(
    ("name", "ranks", "printed_gib"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1, 15.02),
        ("Qwen/Qwen3-8B", 1, 15.28),
        ("Qwen/Qwen3-32B", 4, 15.50),
        ("Qwen/Qwen3-0.6B", 1, 1.25),
    ],
)
def test_sglang_may_count_a_little_of_its_start_up(
    name: str, ranks: int, printed_gib: float
) -> None:
    settings = EngineSettings(engine=Engine.SGLANG, tensor_parallel=ranks)
    found = rank_weights(model(name), settings).amount
    assert found.low < printed_gib < found.high
    assert abs(found.value - printed_gib) < 0.1
