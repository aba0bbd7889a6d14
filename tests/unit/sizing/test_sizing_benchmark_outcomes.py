"""What of a published run counts as an outcome, and what nobody could have predicted."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sizing_cases import case_of
from benchmarks.sizing_known import Unknown
from benchmarks.sizing_models import Models
from benchmarks.sizing_outcomes import fits_measured
from benchmarks.sizing_predict import (
    Row,
    predict_accepted,
    predict_available,
    predict_fits,
    predict_tokens,
    predict_tokens_from_spec,
    predict_weights,
    predictions,
)
from benchmarks.sizing_rates import decode
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.model_sizes import size_table
from rigspec.sizing.llamacpp_told import ALL_LAYERS

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
RUN = {"engine_family": "vllm", "model": "Qwen/Qwen3-8B", "gpu": "NVIDIA A100 80GB", "tp": 1}


@lru_cache(maxsize=1)
def models() -> Models:
    return Models(DATA, size_table(DATA))


@pytest.mark.parametrize(
    ("stage", "counted"),
    [
        ("kv cache", "no"),
        ("runtime (sampling)", None),
        ("run time: embedding of a prompt of about 400k tokens", None),
        ("not stated", None),
        (None, "no"),
    ],
)
def test_memory_that_ran_out_in_service_is_no_boot_s(
    stage: str | None, counted: str | None
) -> None:
    measured = {"oom": True, "stage": stage}
    assert fits_measured(case_of(RUN | {"measured": measured}, models(), 0)) == counted


@pytest.mark.parametrize(("version", "verdict"), [("0.30.0", "yes"), ("a fork of 0.30", "close")])
def test_a_fork_may_keep_more_than_anybody_knows(version: str, verdict: str) -> None:
    told = {"engine_version": version, "gpu_memory_utilization": 0.9, "max_model_len": 8192}
    assert predict_fits(case_of(RUN | told, models(), 0)) == verdict


def test_a_share_that_nobody_states_may_have_been_another() -> None:
    # 16.4 GB of weights and 1.1 of cache: 0.9 of 24 GiB holds them, 0.85 does not
    told = {"engine_version": "0.30.0", "gpu": "RTX 3090", "max_model_len": 24000,
            "max_num_seqs": 8}  # fmt: skip
    stated = predict_fits(case_of(RUN | told | {"gpu_memory_utilization": 0.92}, models(), 0))
    assert stated == "yes"
    assert predict_fits(case_of(RUN | told, models(), 0)) == "close"


def test_weights_beyond_the_cards_have_no_speed_that_anybody_could_tell() -> None:
    run = {"engine_family": "llama.cpp", "model": "Qwen/Qwen3-235B-A22B", "gpu": "RTX 5090",
           "quantization": "GGUF IQ3_K"}  # fmt: skip
    case = case_of(run, models(), 0)
    with pytest.raises(Unknown, match="its weights exceed the cards"):
        decode(1, 0)(case)
    assert decode(1, 0)(case_of(run | {"model": "Qwen/Qwen3-30B-A3B"}, models(), 0)).value > 0


@pytest.mark.parametrize(
    ("words", "scheme"),
    [("EXL3 4bpw", Scheme.INT4), ("compressed-tensors", Scheme.INT8), ("16 bit", Scheme.PLAIN)],
)
def test_a_format_that_only_its_width_or_nothing_tells_is_doubted(
    words: str, scheme: Scheme
) -> None:
    facts = case_of(RUN | {"quantization": words}, models(), 0).facts
    assert facts is not None
    assert facts.quantization.scheme is scheme
    assert bool(facts.weights_doubt) is (scheme is not Scheme.PLAIN)


def test_an_eight_bit_cache_of_sparse_attention_may_go_unsaid() -> None:
    run: dict[str, Any] = {
        "id": "x", "engine_family": "sglang", "model": "deepseek-ai/DeepSeek-V3.2", "gpu": "H200",
        "gpu_count": 8, "tp": 8, "measured": {"available_kv_gib": 2.38, "kv_cache_tokens": 53056},
    }  # fmt: skip
    rows = [row for row in predictions(case_of(run, models(), 0)) if isinstance(row, Row)]
    (found,) = (row for row in rows if row.quantity == "kv_cache_tokens")
    assert float(found.low) < 53056 < float(found.high)


def test_a_format_of_another_engine_is_not_what_the_config_records() -> None:
    # GLM-5.3-Flash is recorded as 8-bit blocks; packed to 92 GiB it started on one GB10
    told = {"model": "zai-org/GLM-5.3-Flash", "gpu": "NVIDIA GB10", "max_model_len": 4096}
    facts = case_of(RUN | told | {"quantization": "EXL3"}, models(), 0).facts
    assert facts is not None
    assert "the format of the weights is not known" in facts.doubts
    assert predict_fits(case_of(RUN | told | {"quantization": "EXL3"}, models(), 0)) == "close"
    assert predict_fits(case_of(RUN | told, models(), 0)) == "no"


def test_a_windowed_pool_of_an_unstated_context_may_be_of_short_requests() -> None:
    # Gemma 4 26B in 4-bit floats on a GB10, 0.6 of it: 837,957 tokens
    told = {"model": "google/gemma-4-26B-A4B", "quantization": "NVFP4", "gpu": "NVIDIA GB10",
            "engine_version": "0.28.0", "gpu_memory_utilization": 0.6, "kv_cache_dtype": "fp8",
            "language_model_only": True}  # fmt: skip
    found = predict_tokens_from_spec(case_of(RUN | told, models(), 0))
    assert found.low <= 837_957 <= found.high
    long = predict_tokens_from_spec(case_of(RUN | told | {"max_model_len": 262144}, models(), 0))
    assert long.low > 2 * found.low


def test_a_month_in_which_the_printed_line_changed_is_either() -> None:
    # Gemma 4 31B on two 3090s, May 2026: 196,527 tokens; four pools of that month print the other
    told = {"model": "google/gemma-3-27b-it", "gpu": "RTX 3090", "gpu_count": 2, "tp": 2,
            "quantization": "auto_round int4 g128", "gpu_memory_utilization": 0.95,
            "max_model_len": 131072, "kv_cache_dtype": "auto"}  # fmt: skip
    open_month, older, newer = (
        predict_tokens_from_spec(case_of(RUN | told | said, models(), 0))
        for said in (
            {"date": "2026-05-31"},
            {"engine_version": "0.20.0"},
            {"engine_version": "0.20.2"},
        )
    )
    assert open_month.low == older.low
    assert open_month.high >= 0.9 * newer.high > 2 * older.high


@pytest.mark.parametrize(
    ("words", "gib"),
    [
        ("low-bit (checkpoint 9.42 GB)", 9.42e9 / 2**30),
        ("unknown mix, 12.5 GiB file", 12.5),
        ("weird (155.4 GiB on the hub)", 155.4),
        ("not stated (8.28 GiB)", None),  # what was loaded is a figure to predict
        ("NVFP4 (weights 17.53 GiB)", None),
        ("fp8", None),
        ("GGUF Q8_0 (8.11 GiB); draft Q8_0 (1.53 GiB)", 8.11),
        ("GGUF Q8_0; draft Q8_0 (1.53 GiB)", None),
    ],
)
def test_a_size_of_files_is_taken_and_one_of_loaded_weights_is_not(
    words: str, gib: float | None
) -> None:
    facts = case_of(RUN | {"quantization": words}, models(), 0).facts
    assert facts is not None
    printed = facts.sizes and facts.sizes.source == "printed file size"
    assert bool(printed) is (gib is not None)
    if gib is not None and facts.sizes:
        assert facts.sizes.total_bytes / 2**30 == pytest.approx(gib, rel=1e-6)
        # a `GB` may be 7 % more
        assert facts.sizes.relative_error == (0.04 if " GB" in words else 0.01)


def test_a_stated_size_tells_nothing_more_where_the_format_is_known() -> None:
    told = {"model": "nvidia/MiniMax-M2.5-NVFP4", "quantization": "NVFP4 (about 131 GB on disk)"}
    facts = case_of(RUN | told, models(), 0).facts
    assert facts is not None
    assert facts.sizes is None or facts.sizes.source != "printed file size"


def test_a_cache_of_a_fork_s_own_type_may_be_narrow() -> None:
    told = {
        "engine_family": "llama.cpp", "model": "Qwen/Qwen3.5-27B", "gpu": "RTX 3090",
        "quantization": "GGUF Q5_K_M", "flash_attn": True, "max_model_len": 160_000,
    }  # fmt: skip
    plain, foreign, own = (
        predict_fits(case_of(RUN | told | {"kv_cache_dtype": kind}, models(), 0))
        for kind in ("f16", "kvarn4/kvarn4 (fork; 28 % of bf16)", "q4_0")
    )
    assert (plain, foreign) == ("no", "close")
    assert own != "no"


@pytest.mark.parametrize(
    ("refused", "oom", "counted"),
    [
        ("Capture cuda graph failed: PagedKVCacheWrapper::Plan failed, head_dim 96", False, None),
        ("max_num_seqs (256) exceeds available Mamba cache blocks (215)", False, "no"),
        ("not enough memory for the KV pool", False, "no"),
        ("2.19 GiB available, 2.8 GiB needed", False, "no"),
        ("58384 tokens fit, 60000 asked", False, "no"),
        ("boot fails: 96K exceeds engine ceiling at 0.92", False, "no"),
        ("Capture cuda graph failed", True, "no"),
        ("Capture cuda graph failed", None, "no"),
    ],
)
def test_what_stopped_for_something_else_is_no_refusal_of_memory(
    refused: str, oom: bool | None, counted: str | None
) -> None:
    measured = {"refused": refused, "oom": oom, "stage": "start"}
    assert fits_measured(case_of(RUN | {"measured": measured}, models(), 0)) == counted


@pytest.mark.parametrize(
    ("notes", "moved"),
    [
        ("-ot exps=CPU -ub 2048", ALL_LAYERS),
        ('-ot "ffn_(up|gate)_exps.weight=CPU"', None),
        ("--cpu-moe", ALL_LAYERS),
        ("flags -cmoe -fa", ALL_LAYERS),
        ("--n-cpu-moe 20", 20),
        ("-ncmoe 28 -t 9", 28),
        ("as the -ncmoe 28 line but -ncmoe 24", None),
        ("--n-cpu-moe 20 -ot blk.3=CPU", None),
        ("--n-cpu-moe 0 -b 4096", 0),
        ("part of the experts on CPU by -ot", None),
        ('-ot ".ffn_.*_exps.=CPU"', ALL_LAYERS),
        ('-ot "blk.3.ffn_.*_exps.=CPU"', None),
        ("-ot ffn_up_exps=CPU", None),
        ("exps=CPU, -ot blk.3=CUDA0", None),
        ("blocks 0-14 to CUDA0, exps=CPU", None),
        ("experts of blocks 0-16 on CUDA0, rest elsewhere", 0),
        ("all 62 layers on GPU", 0),
        ("no experts on the CPU", 0),
        ("run without experts in RAM", 0),
        (None, 0),
    ],
)
def test_experts_in_host_memory_are_read_from_the_notes_of_llama_cpp(
    notes: str | None, moved: int | None
) -> None:
    told = {"engine_family": "llama.cpp", "notes": notes, "quantization": "GGUF Q4_K_M"}
    found = case_of(RUN | told, models(), 0)
    assert (found.settings.host_experts, found.unplaced) == (moved or 0, moved is None)
    other = case_of(RUN | {"notes": notes}, models(), 0)  # vLLM
    assert (other.settings.host_experts, other.unplaced) == (0, False)


def test_a_part_that_somehow_lies_in_host_memory_is_not_guessed() -> None:
    assert case_of(RUN | {"cpu_offload": True}, models(), 0).unplaced


@pytest.mark.parametrize(
    ("notes", "accepted"),
    [("YaRN factor 4", "yes"), ("--rope-scaling yarn", "yes"), ("without YaRN", "no"),
     ("--hf-overrides {...}", "yes"), (None, "no")],
)  # fmt: skip
def test_positions_scaled_by_the_owner_are_no_refusal(notes: str | None, accepted: str) -> None:
    told = {"max_model_len": 131_072, "notes": notes}
    assert predict_accepted(case_of(RUN | told, models(), 0)) == accepted


@pytest.mark.parametrize(
    ("model", "quantization", "text_only"),
    [
        ("Org/Qwen3.6-27B-Text-NVFP4", "NVFP4", True),
        ("Qwen/Qwen3.6-27B", "NVFP4 (text only)", True),
        ("Qwen/Qwen3.6-27B", "NVFP4", False),
        ("Org/Qwen3.6-27B-Text-Embed", "NVFP4", False),
    ],
)
def test_a_checkpoint_of_text_alone_has_no_tower(
    model: str, quantization: str, text_only: bool
) -> None:
    told = {"model": model, "config": "nvidia__Qwen3.6-27B-NVFP4", "quantization": quantization}
    facts = case_of(RUN | told, models(), 0).facts
    assert facts is not None
    assert (facts.vision is None) is text_only


@pytest.mark.parametrize(
    ("gpu", "ours"),
    [
        ("AMD Instinct MI300X", False),
        ("AMD Radeon AI PRO R9700 32GB (ROCm)", False),
        ("Strix Halo (gfx1151, 128 GB unified)", False),
        ("RX 7900 XTX 24 GB", False),
        ("2x R9700", False),
        ("Apple M3 Ultra 512GB", False),
        ("M4 Max 128 GB", False),
        ("RTX 3090 (Ryzen 9 5950X)", True),
        ("RTX PRO 6000 Max-Q", True),
        ("RTX A6000", True),
        ("RTX 3090 in an AMD EPYC box", False),  # nobody writes so: better declined than wrong
        ("NVIDIA L4", True),
    ],
)
def test_cards_of_other_makers_are_declined(gpu: str, ours: bool) -> None:
    told = case_of(RUN | {"gpu": gpu, "gpu_total_gib": 24.0}, models(), 0)
    if ours:
        assert predict_fits(told) in ("yes", "no", "close")
        return
    with pytest.raises(Unknown, match="is no card of NVIDIA"):
        predict_available(told)


@pytest.mark.parametrize(
    ("told", "cached"),
    [
        ({}, None),  # the release's own
        ({"speculative": "mtp n=3"}, True),  # recipes with drafts turn it on
        ({"speculative": "off"}, None),
        ({"enable_prefix_caching": False, "speculative": "mtp n=3"}, False),
        ({"enable_prefix_caching": True}, True),
        ({"engine_family": "sglang"}, True),
    ],
)
def test_prefixes_are_cached_as_stated_or_as_such_runs_are(
    told: dict[str, Any], cached: bool | None
) -> None:
    assert case_of(RUN | told, models(), 0).settings.prefix_caching is cached


def test_where_nobody_says_the_band_holds_pools_with_and_without_prefixes() -> None:
    # Qwen3.8-27B-FP8 on an L40S, 0.26: 141,036 tokens, with prefixes cached 138,604
    told = {
        "model": "Qwen/Qwen3.8-27B-FP8", "config": "Qwen__Qwen3.8-27B", "gpu": "NVIDIA L40S",
        "engine_version": "0.26.0", "max_model_len": 131_072, "quantization": "fp8",
        "kv_cache_dtype": "auto", "measured": {"available_kv_gib": 10.1},
    }  # fmt: skip
    unsaid, cached, not_cached = (
        predict_tokens(case_of(RUN | told | said, models(), 0))
        for said in ({}, {"enable_prefix_caching": True}, {"enable_prefix_caching": False})
    )
    assert unsaid.value == not_cached.value > cached.value
    assert unsaid.low == cached.low
    assert unsaid.high >= not_cached.high


@pytest.mark.parametrize(
    ("model", "config", "gib", "doubt"),
    [
        ("Qwen/Qwen3.6-27B", "Qwen__Qwen3.5-27B", 19.4, 0.3),  # published: 17.7 to 26.3
        ("Qwen/Qwen3-8B", "Qwen__Qwen3-8B", 4.3, 0.05),
    ],
)
def test_an_nvfp4_gguf_of_a_mixed_checkpoint_keeps_wider_parts(
    model: str, config: str, gib: float, doubt: float
) -> None:
    told = {"engine_family": "llama.cpp", "model": model, "config": config,
            "quantization": "GGUF NVFP4"}  # fmt: skip
    found = predict_weights(case_of(RUN | told, models(), 0))
    assert found.value == pytest.approx(gib, rel=0.03)
    assert found.high / found.value == pytest.approx(1 + doubt, rel=0.02)


def test_a_fork_s_pool_may_be_smaller_than_the_release_s() -> None:
    told = {"gpu_memory_utilization": 0.9, "max_model_len": 8192, "max_num_seqs": 64}
    release, fork = (
        predict_tokens_from_spec(case_of(RUN | told | {"engine_version": said}, models(), 0))
        for said in ("0.30.0", "a fork of 0.30.0")
    )
    assert (fork.value, fork.high) == (release.value, release.high)
    assert fork.low == pytest.approx(0.7 * release.low)


def test_sequences_that_nobody_states_may_have_been_few() -> None:
    # MiniMax-M2.5 in NVFP4 on an H200 with 16 of them had 5.98 GiB, with 1,024 it would have 3.8
    told = {"model": "nvidia/MiniMax-M2.5-NVFP4", "gpu": "NVIDIA H200 141GB",
            "engine_version": "0.19", "gpu_memory_utilization": 0.95}  # fmt: skip
    unsaid, many = (
        predict_available(case_of(RUN | told | said, models(), 0))
        for said in ({}, {"max_num_seqs": 1024})
    )
    assert many.high < 5.98 <= unsaid.high + 0.3
    assert unsaid.value == pytest.approx(many.value, abs=0.1)


@pytest.mark.parametrize(("family", "version"), [("sglang", (0, 5, 10)), ("vllm", (0, 19))])
def test_a_date_is_a_release_of_the_engine_that_ran(family: str, version: tuple[int, ...]) -> None:
    case = case_of(RUN | {"engine_family": family, "date": "2026-04-10"}, models(), 0)
    assert case.settings.version == version


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"notes": "The card also drives the display."}, True),
        ({"notes": "RTX 5090, display attached. llama-server -m x.gguf"}, True),
        ({"gpu": "NVIDIA A100 80GB (drives the display, Windows)"}, True),
        ({"notes": "no display attached"}, False),
        ({"notes": "display on another card"}, False),
        ({}, False),
    ],
)
def test_a_desktop_may_hold_a_part_of_the_card_it_is_shown_on(
    said: dict[str, Any], shown: bool
) -> None:
    card, alone = (case_of(RUN | told, models(), 0).card for told in (said, {}))
    assert card is not None
    assert alone is not None
    assert (card.total.low < alone.total.low - 1) is shown
    assert card.total.high == pytest.approx(alone.total.high)
