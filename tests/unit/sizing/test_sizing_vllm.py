"""Terms of vLLM's budget that one version or one kind of card has, against what boots printed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.model_parts import Latent
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing import vllm
from rigspec.sizing.amount import exact
from rigspec.sizing.cards import Card
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.vllm_batch import batch_of, runs_old_engine


def test_the_host_may_hold_much_of_unified_memory() -> None:
    # MiniMax-M2.7 AWQ on two GB10 at 0.85: 28.74 GiB for the cache, 13.2 less than is computed
    found = estimate(model("Qwen/Qwen3-8B"), card("dgx-spark"), EngineSettings(context=8192))
    assert found.available.value - found.available.low > 13.2 - 0.5
    alone = estimate(model("Qwen/Qwen3-8B"), card("h100"), EngineSettings(context=8192))
    assert alone.available.value - alone.available.low < 5


def test_the_first_engine_counted_what_other_processes_held() -> None:
    # five boots held 0.01 to 0.35 GiB outside the allocator, a sixth 1.79
    asked = EngineSettings(version=(0, 7))
    found = vllm.non_torch(model("Qwen/Qwen3-8B"), asked, card("rtx-3090"))
    assert found.low <= 0.01 < 0.35 < 1.79 <= found.high


def test_the_sampler_of_0_9_copies_its_logits_more_often() -> None:
    # Qwen3-8B on an A100 40 GB, vLLM 0.9.2: 18.69 GiB for the cache
    settings = EngineSettings(version=(0, 9, 2), context=40960, max_batched_tokens=2048)
    found = estimate(model("Qwen/Qwen3-8B"), card("a100-sxm4-40gb", total_gib=39.42), settings)
    assert found.available.value == pytest.approx(18.69, abs=0.4)


@pytest.mark.parametrize(("share", "ranks", "printed_gib"), [(0.5, 1, 24.83), (0.25, 2, 12.02)])
def test_a_sampler_of_flashinfer_copies_them_less(
    share: float, ranks: int, printed_gib: float
) -> None:
    # Qwen2-7B, of the dimensions of Qwen2.5-7B, on A100 80 GB with vLLM 0.10.1 and FlashInfer
    settings = EngineSettings(
        version=(0, 10, 1), memory_fraction=share, context=16384, max_batched_tokens=2048,
        tensor_parallel=ranks,
    )  # fmt: skip
    facts, on = model("Qwen/Qwen2.5-7B-Instruct"), card("a100-80gb-pcie")
    found = estimate(facts, on, settings).available
    assert found.value < printed_gib < found.high
    newer = estimate(facts, on, replace(settings, version=(0, 17))).available
    assert newer.high - newer.value < found.high - found.value


def test_the_warm_up_of_a_sampler_may_not_find_room() -> None:
    # Qwen2.5-VL-72B FP8 on two virtual RTX PRO 6000, vLLM 0.13, 0.95: 1,024 requests ran out of
    # memory in the warm-up, 32 did not
    facts = replace(model("Qwen/Qwen2.5-72B-Instruct"), quantization=Quantization(Scheme.FP8))
    on, asked = (
        card("rtx-pro-6000-server", total_gib=95.42),
        EngineSettings(
            version=(0, 13), tensor_parallel=2, memory_fraction=0.95, context=4096, kv_dtype="fp8"
        ),
    )
    assert estimate(facts, on, asked).boots is Verdict.CLOSE
    assert estimate(facts, on, replace(asked, max_seqs=32)).boots is Verdict.YES


def test_without_a_context_the_first_engine_takes_a_prompt_of_the_models_length() -> None:
    turing = Card("T4", exact(31.74), 300.0, (7, 5))
    unset = EngineSettings(version=(0, 8, 5), memory_fraction=0.90)
    facts = model("Qwen/Qwen2.5-7B-Instruct")
    whole = replace(unset, context=facts.max_positions)
    found = [estimate(facts, turing, each).available for each in (unset, whole)]
    assert found[0] == found[1]
    assert found[0].low <= 9.88 <= found[0].high  # a V100 with 0.8.5


def test_a_model_that_fits_at_its_own_length_is_said_to() -> None:
    facts, settings = model("Qwen/Qwen3-1.7B"), EngineSettings(context=8192)
    assert estimate(facts, card("h100"), settings).largest_context == facts.max_positions


def test_runners_of_some_releases_hold_more_or_less_than_reckoned() -> None:
    # Llama-3.1-70B in 8 bits on a PRO 6000, 0.23: 14.54 GiB where 13.6 are reckoned
    facts = replace(
        model("meta-llama/Llama-3.1-70B-Instruct"), quantization=Quantization(Scheme.FP8)
    )
    on = card("rtx-pro-6000-workstation")
    asked = EngineSettings(version=(0, 23), memory_fraction=0.9, context=16384)
    known = replace(asked, version=(0, 29))
    room, later = (estimate(facts, on, each).available for each in (asked, known))
    assert room.low < 14.54 < room.high
    assert room.high - room.value > later.high - later.value


def test_stages_of_the_first_engine_may_hold_the_cache_of_all_layers() -> None:
    # QwQ-32B in 4 bits on two 5090s, 0.8.5: 58,384 tokens, 60,000 asked
    facts = replace(model("Qwen/Qwen2.5-32B"), quantization=Quantization(Scheme.INT4))
    asked = EngineSettings(
        version=(0, 8, 5), pipeline_parallel=2, memory_fraction=0.85, context=60000
    )
    assert estimate(facts, card("rtx-5090"), asked).boots is Verdict.CLOSE
    later = replace(asked, version=(0, 11))
    assert estimate(facts, card("rtx-5090"), later).boots is Verdict.YES


def test_scores_of_sparse_attention_are_cut_to_a_budget() -> None:
    # GLM-5.2 in 8 bits on eight H20 of 141 GB: 28.74 GiB at 262,144 tokens, 22.87 at 1,048,576 with
    # drafts; whole scores would take 8 and 32 GiB
    facts, on = model("zai-org/GLM-5.2-FP8"), card("h20", total_gib=139.8)
    asked = EngineSettings(version=(0, 22), tensor_parallel=8, memory_fraction=0.9, kv_dtype="fp8")
    short, long = (
        estimate(facts, on, replace(asked, context=context)).available
        for context in (262144, 1048576)
    )
    assert short.low < 28.74 < short.high
    assert short == long


def test_an_image_of_unknown_version_may_score_whole_prompts() -> None:
    facts, on = model("zai-org/GLM-5.2-FP8"), card("h20", total_gib=139.8)
    asked = EngineSettings(
        tensor_parallel=8, memory_fraction=0.9, context=1048576, max_batched_tokens=8192
    )
    fork, known = (
        vllm.peak_activation(facts, replace(asked, version=version), on)
        for version in (None, (0, 30))
    )
    assert fork.value == known.value
    assert fork.high >= 8192 * 1048576 * 4 / 2**30 > known.high


@pytest.mark.parametrize(
    ("version", "first"), [((0, 8, 5), True), ((0, 10, 1), True), ((0, 11, 0), False)]
)
def test_turing_ran_the_first_engine_in_every_release_of_0_10(
    version: tuple[int, ...], first: bool
) -> None:
    asked = EngineSettings(version=version)
    assert runs_old_engine(asked, card("tesla-t4")) is first
    assert not runs_old_engine(asked, card("rtx-3090"))


@pytest.mark.parametrize(("context", "tokens"), [(16384, 16384), (65536, 2048)])
def test_the_first_engine_cut_long_prompts_only(context: int, tokens: int) -> None:
    # up to 32,768 tokens a prompt is one step; above, 0.6 turns chunks of 2,048 on by itself
    asked = EngineSettings(version=(0, 6), context=context)
    assert vllm.batch_of(model("Qwen/Qwen3-8B"), asked, card("rtx-3090")).tokens == tokens


@pytest.mark.parametrize(
    ("version", "seqs"),
    [((0, 8, 0), 1024), ((0, 8, 3), 1024), ((0, 8, 4), 256), ((0, 8), 256), (None, 256)],
)
def test_the_first_releases_of_v1_took_many_sequences_on_every_card(
    version: tuple[int, ...] | None, seqs: int
) -> None:
    facts, stated = model("Qwen/Qwen3-8B"), EngineSettings(version=version, max_seqs=8)
    assert batch_of(facts, EngineSettings(version=version), card("rtx-4090")).seqs == seqs
    assert batch_of(facts, stated, card("rtx-4090")).seqs == 8


@pytest.mark.parametrize(
    ("name", "sku", "settings", "tokens"),
    [
        ("google/gemma-4-12B", "l4", EngineSettings(version=(0, 26)), 2496),
        ("google/gemma-4-26B-A4B", "l4", EngineSettings(), 2496),
        ("google/gemma-4-12B", "l4", EngineSettings(version=(0, 21)), 2048),
        ("google/gemma-4-12B", "l4", EngineSettings(language_only=True), 2048),
        ("google/gemma-4-12B", "l4", EngineSettings(max_batched_tokens=1024), 1024),
        ("google/gemma-4-12B", "h200", EngineSettings(), 8192),
        ("google/gemma-3-12b-it", "l4", EngineSettings(), 2048),  # an image is 256
        ("google/gemma-4-12B", "b200", EngineSettings(version=(0, 27, 1)), 8192),
        ("google/gemma-4-12B", "b200", EngineSettings(version=(0, 28)), 16384),
        ("google/gemma-4-12B", "b200", EngineSettings(), 8192),
    ],
)
def test_a_step_s_default_goes_by_card_version_and_the_largest_item(
    name: str, sku: str, settings: EngineSettings, tokens: int
) -> None:
    # 32 frames of 78 tokens (gemma4_mm.py)
    assert batch_of(model(name), settings, card(sku)).tokens == tokens


def test_logits_of_many_sequences_leave_small_cards_little() -> None:
    # DeepSeek-R1-Distill-Qwen-32B on four 4090s at 0.95, vLLM 0.8.3: 0.78 GiB for the cache
    asked = EngineSettings(
        version=(0, 8, 3), tensor_parallel=4, memory_fraction=0.95, context=32768
    )
    found = estimate(model("Qwen/Qwen2.5-32B"), card("rtx-4090"), asked).available
    assert found.value == pytest.approx(0.78, abs=0.3)
    assert (
        estimate(
            model("Qwen/Qwen2.5-32B"), card("rtx-4090"), replace(asked, version=(0, 8, 4))
        ).available.value
        > 4
    )


def test_graphs_are_those_of_each_kind_of_layer() -> None:
    # Kimi-K3 has 23 layers of latent attention among 93
    on, asked = card("h200"), EngineSettings(version=(0, 30), max_seqs=256)
    latent, mixed = model("zai-org/GLM-4.7-Flash"), model("moonshotai/Kimi-K3")
    kinds = [isinstance(layer.mixer, Latent) for layer in mixed.layers]
    per_latent = vllm.graph_estimate(latent, asked, on).value / len(latent.layers)
    per_delta = per_latent * 537 / 1024 / 1.39
    expected = sum(kinds) * per_latent + (len(kinds) - sum(kinds)) * per_delta
    assert 0 < sum(kinds) < len(kinds)
    assert vllm.graph_estimate(mixed, asked, on).value == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize(
    ("version", "tokens", "seqs"), [((0, 32), 8192, 1024), ((0, 33), 2048, 256), (None, 8192, 1024)]
)
def test_a_gb10_is_no_large_card_any_more(
    version: tuple[int, ...] | None, tokens: int, seqs: int
) -> None:
    spark = replace(card("h200"), total=exact(121.7), compute=(12, 1))
    asked = EngineSettings(version=version)
    found = batch_of(model("Qwen/Qwen3-8B"), asked, spark)
    assert (found.tokens, found.seqs) == (tokens, seqs)
    assert batch_of(model("Qwen/Qwen3-8B"), asked, card("h200")).tokens == 8192


@pytest.mark.parametrize(
    ("version", "share"), [((0, 19, 1), 0.90), ((0, 20, 0), 0.92), ((0, 33), 0.92), (None, 0.92)]
)
def test_the_share_that_is_not_stated_grew_with_the_profile_of_graphs(
    version: tuple[int, ...] | None, share: float
) -> None:
    assert vllm.fraction_of(EngineSettings(version=version)) == share
    assert vllm.fraction_of(EngineSettings(version=version, memory_fraction=0.5)) == 0.5


@pytest.mark.parametrize(
    ("sku", "version", "stated", "largest"),
    [
        ("b200", (0, 27, 1), None, 512), ("b200", (0, 28), None, 1024), ("b200", None, None, 512),
        ("rtx-5090", (0, 28), None, 512), ("h200", (0, 33), None, 512), ("b200", (0, 28), 64, 64),
        ("h200", (0, 33), 2048, 2048),
    ],
)  # fmt: skip
def test_only_blackwell_of_data_centres_captures_beyond_512(
    sku: str, version: tuple[int, ...] | None, stated: int | None, largest: int
) -> None:
    settings = EngineSettings(version=version, max_graph_size=stated)
    assert max(vllm.graph_sizes(settings, card(sku), 1024)) == largest
