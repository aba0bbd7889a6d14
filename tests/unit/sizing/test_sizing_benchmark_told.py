"""What a run names decides which size is its file's, and of which type its cache was."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from benchmarks.sizing import DATA
from benchmarks.sizing_cases import case_of
from benchmarks.sizing_known import Unknown
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import predict_tokens
from benchmarks.sizing_yaml import read_yaml
from rigspec.catalog.model_sizes import size_table

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
