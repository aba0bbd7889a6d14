"""What a run names decides which size is its file's, and of which type its cache was."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from benchmarks.sizing import DATA
from benchmarks.sizing_cases import case_of
from benchmarks.sizing_faults import faults_of
from benchmarks.sizing_known import Unknown
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import predict_tokens
from benchmarks.sizing_words import with_options_as_text
from benchmarks.sizing_yaml import read_yaml
from rigspec.catalog.model_sizes import size_table
from rigspec.sizing.settings import Speculative

CONFIGS = DATA / "model-configs"


@lru_cache(maxsize=1)
def models() -> Models:
    return Models(CONFIGS, size_table(read_yaml(CONFIGS / "sizes.yaml")))


RUN: dict[str, Any] = {
    "id": "x", "model": "Qwen/Qwen3.5-9B", "config": "Qwen__Qwen3.5-9B.json", "gpu": "RTX 5090",
    "gpu_count": 1, "tp": 1, "engine_family": "vllm", "quantization": "bf16",
    "max_model_len": 4096, "measured": {"available_kv_gib": 6.56, "kv_cache_tokens": 53328},
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "quantization", "taken"),
    [
        ("unsloth/Qwen3.8-27B-GGUF Qwen3.8-27B-UD-IQ4_XS.gguf", "GGUF UD-IQ4_XS", True),
        ("unsloth/Qwen3.8-27B-GGUF", "GGUF UD-IQ4_XS", True),
        ("unsloth/Qwen3.8-27B-GGUF", "GGUF IQ4_XS", False),  # another file of the repository
        ("somebody/Qwen3.8-27B-GGUF", "GGUF UD-IQ4_XS", False),
        ("unsloth/Qwen3.8-27B-GGUF", "GGUF", False),
    ],
)
def test_a_size_at_hand_is_that_of_the_gguf_of_its_repository_and_type(
    model: str, quantization: str, taken: bool
) -> None:
    told = {"model": model, "quantization": quantization, "engine_family": "llama.cpp"}
    run = {"id": "x", "config": "Qwen__Qwen3.8-27B.json", "gpu": "RTX 3090", "gpu_count": 1}
    found = case_of({**run, **told, "measured": {}}, models(), 0).facts
    assert found is not None
    assert (found.sizes is not None) is taken
    assert not taken or found.sizes.total_bytes == 14252845984  # type: ignore[union-attr]


def test_an_unstated_cache_of_a_bare_release_is_the_model_s_own() -> None:
    # Qwen3.5-9B on a 5090 in vLLM 0.20.0, nothing stated of its cache: 53,328 tokens
    told = case_of(RUN | {"engine_version": "0.20.0"}, models(), 0)
    assert predict_tokens(told).value == pytest.approx(53_328, rel=0.002)
    with pytest.raises(Unknown, match="leaves open"):
        predict_tokens(case_of(RUN | {"engine_version": "0.20.0 (somebody's image)"}, models(), 0))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"method": "mtp", "num_speculative_tokens": 2}, Speculative("mtp", 2)),
        ({"method": "ngram", "num_speculative_tokens": 4, "model": None}, Speculative("ngram", 4)),
        ({}, None),
    ],
)
def test_drafts_may_be_told_as_the_engine_is(told: object, expected: Speculative | None) -> None:
    raw = with_options_as_text(RUN | {"speculative": told})
    assert not faults_of(raw)
    assert case_of(raw, models(), 0).settings.speculative == expected
    assert with_options_as_text(RUN) == RUN


def test_sglang_rounds_keys_and_values_each_and_keeps_a_page_more_than_it_says() -> None:
    # Qwen3-8B on SM100: K 117.28 and V 117.28 GB, pages of 64, 1,707,904 tokens
    run = {
        "id": "x", "model": "Qwen/Qwen3-8B", "config": "Qwen__Qwen3-8B.json", "gpu": "B300",
        "gpu_count": 1, "tp": 1, "engine_family": "sglang", "kv_cache_dtype": "bfloat16",
        "measured": {"available_kv_gib": 234.56, "kv_cache_tokens": 1_707_904},
    }  # fmt: skip
    found = predict_tokens(case_of(run, models(), 0))
    assert found.value - 64 < 1_707_904 + 73 < found.high
    assert found.low < 1_707_904
    assert found.high - found.low < 0.0002 * found.value


@pytest.mark.parametrize(
    ("note", "apart"),
    [
        ("config of a sibling", True),
        ("config of nvidia's NVFP4 of the same base; another quantizer's checkpoint ran", True),
        ("dimensions of the model itself", False),
    ],
)
def test_the_config_of_another_packer_leaves_open_what_is_packed(note: str, apart: bool) -> None:
    run = RUN | {
        "model": "somebody/Gemma-4-31B-NVFP4", "config": "nvidia__Gemma-4-31B-IT-NVFP4.json",
        "quantization": "NVFP4", "config_note": note,
    }  # fmt: skip
    found = case_of(run, models(), 0).facts
    assert found is not None
    assert (found.weights_span != (1.0, 1.0)) is apart


@pytest.mark.parametrize(
    ("told", "layers"),
    [
        ({"n_cpu_moe": 29}, 29),
        ({"n_cpu_moe": 35, "notes": "With --n-cpu-moe 33: 9266 MiB"}, 35),  # the run's own counts
        ({"notes": "--n-cpu-moe 33"}, 33),
        ({"n_cpu_moe": 23, "notes": "-ot per_layer_token_embd=CPU"}, 23),  # lies there anyway
        ({"notes": "-ot per_layer_token_embd=CPU"}, 0),
        ({"n_cpu_moe": 23, "notes": "-ot ffn_up=CPU"}, None),
        ({"n_cpu_moe": 4, "engine_family": "vllm"}, 0),
    ],
)
def test_experts_in_host_memory_are_as_many_as_the_run_states(
    told: dict[str, Any], layers: int | None
) -> None:
    case = case_of(RUN | {"engine_family": "llama.cpp", "measured": {}} | told, models(), 0)
    assert case.unplaced is (layers is None)
    assert case.settings.host_experts == (layers or 0)
