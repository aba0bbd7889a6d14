"""How much of a card a published run had, how many of its streams ran, what its pool was."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sizing_cases import Case, case_of
from benchmarks.sizing_known import Unknown
from benchmarks.sizing_links import link_of
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import (
    predict_available,
    predict_fits,
    predict_tokens,
    predict_weights,
)
from benchmarks.sizing_rates import decode, running
from rigspec.catalog.model_sizes import size_table
from rigspec.sizing.amount import Amount

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
RUN = {"engine_family": "vllm", "model": "Qwen/Qwen3-8B", "tp": 1, "engine_version": "0.30.0"}


@lru_cache(maxsize=1)
def models() -> Models:
    return Models(DATA, size_table(DATA))


def case(**told: Any) -> Case:
    return case_of(RUN | told, models(), 0)


@pytest.mark.parametrize(
    ("gpu", "stated", "least", "most"),
    [
        ("L4", 24, 21.8, 22.3),  # nvidia-smi shows 22.5, CUDA 22.0
        ("L4", 22.03, 22.03, 22.03),
        ("L4", None, 21.8, 22.3),
        ("RTX 4090", 24, 23.4, 23.8),
        ("NVIDIA GeForce RTX 2080 Ti 22GB", 22, 21.4, 21.9),  # twice its memory, said in its name
        ("RTX 4090", 48, 48, 48),
    ],
)
def test_a_whole_number_is_what_the_box_says(
    gpu: str, stated: float | None, least: float, most: float
) -> None:
    found = case(gpu=gpu, gpu_total_gib=stated).card
    assert found is not None
    assert least <= found.total.value <= most


@pytest.mark.parametrize("notes", ["WSL2, driver 591", "on Windows with Docker"])
def test_windows_shows_programs_the_whole_card(notes: str) -> None:
    found = case(gpu="RTX 4090", gpu_total_gib=24, notes=notes).card
    assert found is not None
    assert found.total.value == pytest.approx(23.99, abs=0.01)


def test_streams_beyond_the_cache_or_the_engine_s_own_number_wait() -> None:
    # Qwen3-32B in 16 bits leaves an H100 a few thousand tokens: 1,000 streams made 814 tok/s
    told = case(model="Qwen/Qwen3-32B", gpu="H100 80GB", gpu_memory_utilization=0.9)
    fewest, usual, most = running(told, 1000, 0)
    assert 1 <= fewest <= usual <= 40
    assert most > usual  # requests may be as short as one likes
    found = decode(1000, 0)(told)
    assert found.low <= 814.03 <= found.high
    assert found.value < 3000
    small = case(gpu="A100 80GB", gpu_memory_utilization=0.9, max_num_seqs=16)
    assert running(small, 64, 100) == (16, 16, 16)
    assert running(small, 8, 100) == (8, 8, 8)
    assert running(small, 1, 10**6) == (1, 1, 1)


def test_llama_cpp_s_slots_are_no_pool() -> None:
    llama = case(engine_family="llama.cpp", quantization="GGUF Q4_K_M", gpu="RTX 3090")
    assert running(llama, 64, 8192) == (64, 64, 64)


def test_tokens_of_a_pool_with_states_depend_on_a_context_that_must_be_stated() -> None:
    # vLLM prints requests times context: 4.05 GiB of 27B in 4 bits were 59,837 tokens of 16 bits
    told = {
        "model": "Qwen/Qwen3.8-27B", "quantization": "AWQ INT4", "gpu": "RTX 3090",
        "engine_version": "0.29.0", "kv_cache_dtype": "auto", "enable_prefix_caching": True,
        "measured": {"available_kv_gib": 4.05},
    }  # fmt: skip
    whole = predict_tokens(case(**told, max_model_len=262144)).value
    assert predict_tokens(case(**told, max_model_len=8192)).value < 0.8 * whole
    with pytest.raises(Unknown, match="recurrent states depends on"):
        predict_tokens(case(**told))


def test_a_printed_pool_of_sglang_holds_no_states() -> None:
    # Qwen3.8-27B in 16 bits at 0.88 of an RTX PRO 6000: 18.0 GiB are 295,344 tokens
    told = case(
        engine_family="sglang", model="Qwen/Qwen3.8-27B", gpu="RTX PRO 6000 Blackwell 96 GB",
        gpu_total_gib=95.6, mem_fraction_static=0.88, kv_cache_dtype="bf16", quantization="bf16",
        engine_version=None,
        measured={"available_kv_gib": 18.0, "kv_cache_tokens": 295344},
    )  # fmt: skip
    assert predict_tokens(told).value == pytest.approx(295344, rel=0.003)
    found = predict_available(told)
    assert found.low < 18.0 < found.high
    assert found.value == pytest.approx(18.0, rel=0.15)


def test_the_fullest_card_of_a_gguf_holds_a_layer_more_or_the_output() -> None:
    # 64 layers and the output over four cards: 17, 16, 16 and 16, and not a quarter each; 4.82 GiB
    told = {
        "engine_family": "llama.cpp", "model": "DeepSeek-R1-Distill-Qwen-32B", "tp": None,
        "config": "Qwen__Qwen2.5-32B.json", "quantization": "GGUF Q4_K_M", "max_model_len": 8192,
    }  # fmt: skip
    four = predict_weights(case(gpu="RTX 3090", gpu_count=4, **told)).value
    whole = predict_weights(case(gpu="RTX 3090", gpu_count=1, **told)).value
    assert four == pytest.approx(4.82, rel=0.04)
    assert four > 1.01 * whole / 4
    assert predict_fits(case(gpu="RTX 3090", gpu_count=4, **told)) == "yes"


@pytest.mark.parametrize(("split", "verdict"), [("0.5,0.5", "yes"), ("0.2,0.8", "no")])
def test_each_card_of_a_stated_split_is_judged(split: str, verdict: str) -> None:
    told = case(
        engine_family="llama.cpp", model="Qwen/Qwen3-32B", quantization="GGUF Q4_K_M", tp=None,
        gpu="RTX 3060", gpu_count=2, tensor_split=split, max_model_len=4096, flash_attn=True,
    )  # fmt: skip
    assert predict_fits(told) == verdict


def test_a_laptop_is_no_desktop_card() -> None:
    laptop, desktop = (case(gpu=f"RTX 4080{word}").card for word in (" Laptop GPU", ""))
    assert laptop is not None
    assert desktop is not None
    assert (laptop.bandwidth_gb_s, desktop.bandwidth_gb_s) == (432, pytest.approx(717, abs=1))
    assert case(gpu="RTX 4050 Laptop GPU").card is None
    assert case(gpu="RTX 5070 Laptop GPU").card is None  # whose desktop card has 12 GB, not 8


def test_a_name_of_two_boards_may_mean_the_slower() -> None:
    # Qwen3-32B: 26.75 tok/s of an `H100` that is a board with 2.0 TB/s, not a module with 3.35
    told = {"model": "Qwen/Qwen3-32B", "quantization": "bf16"}

    def rate(gpu: str, **more: Any) -> Amount:
        return decode(1, 0)(case(gpu=gpu, **told, **more))

    either, module, board = rate("NVIDIA H100"), rate("H100 SXM5"), rate("NVIDIA H100 PCIe")
    assert either.value == module.value > 1.3 * board.value
    assert (either.low, either.high) == (board.low, module.high)
    assert either.low < 26.75
    assert rate("NVIDIA H100 (PCIe or SXM not stated)").low == either.low
    eight = rate("NVIDIA H100", gpu_count=8, tp=8)
    assert eight.low == rate("H100 SXM5", gpu_count=8, tp=8).low


@pytest.mark.parametrize(
    ("told", "gb_s"),
    [
        ({"gpu": "8 x RTX 3060 12 GB on PCIe x1 risers"}, 0.49),
        ({"gpu": "RTX 3090 (PCIe Gen4 x8/x8, PHB)"}, 6.0),
        ({"gpu": "RTX 3090", "interconnect": "PCIe 3.0 x4"}, 1.97),
        ({"gpu": "RTX 3090", "interconnect": "PCIe 3.0 x16, patched P2P on"}, 11.0),
        ({"gpu": "RTX 3090"}, 6.0),
        ({"gpu": "4x RTX 3090", "interconnect": "no NVLink"}, 6.0),
    ],
)
def test_lanes_that_are_told_bound_the_link(told: dict[str, str], gb_s: float) -> None:
    assert link_of(case(gpu_count=4, **told)).bandwidth_gb_s == pytest.approx(gb_s, rel=0.03)


def test_weights_that_fit_the_stated_memory_are_taken_as_they_are() -> None:
    # Qwen3-4B in 16 bits, 7.56 GiB, on a 2060 of 12 GB; the usual one has 6
    twelve = predict_weights(case(model="Qwen/Qwen3-4B", gpu="RTX 2060 12GB", gpu_total_gib=12.0))
    six = predict_weights(case(model="Qwen/Qwen3-4B", gpu="RTX 2060"))
    assert twelve.value == pytest.approx(7.5552, rel=0.002)
    assert six.value < 4


def test_a_name_without_a_space_is_the_same_card() -> None:
    glued, apart = (case(gpu=name).card for name in ("RTX3090", "RTX 3090"))
    assert glued is not None
    assert glued == apart


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({}, "close"),  # 45,056 tokens of 32B on two 3090s ran out without it
        ({"flash_attn": True}, "yes"),
        ({"engine_version": "b7000"}, "yes"),
        ({"engine_version": "build 5177 (80982e81)"}, "close"),
        ({"kv_cache_dtype": "q8_0"}, "yes"),  # which needs it
    ],
)
def test_an_old_llama_cpp_may_have_held_every_score(told: dict[str, Any], verdict: str) -> None:
    run = {
        "engine_family": "llama.cpp", "engine_version": None, "model": "Qwen/Qwen3-32B", "tp": None,
        "gpu": "RTX 3090", "gpu_count": 2, "max_model_len": 45_056, "quantization": "GGUF Q5_K_M",
    }  # fmt: skip
    assert predict_fits(case(**run | told)) == verdict


@pytest.mark.parametrize(
    ("printed", "gib"),
    # what every token is looked up in, 8 % of it, stays in host memory; without a size 6.5 bits
    [("(28,230,538,624 bytes)", 24.3), ("26.29 GiB", 24.3), ("(28,230 bytes)", 19.4)],
)
def test_a_printed_size_of_a_file_is_taken(printed: str, gib: float) -> None:
    told = case(
        engine_family="llama.cpp", model="Qwen/Qwen3.6-27B", config="Qwen__Qwen3.5-27B.json",
        gpu="RTX 5090", quantization=f"GGUF NVFP4 {printed}",
    )  # fmt: skip
    assert predict_weights(told).value == pytest.approx(gib, rel=0.05)


@pytest.mark.parametrize(("kind", "doubt"), [("IQ3_XXS", 0.09), ("Q4_K_M", 0.05)])
def test_few_bits_are_an_average_of_a_small_model(kind: str, doubt: float) -> None:
    told = case(
        engine_family="llama.cpp", model="Qwen/Qwen3-30B-A3B", gpu="RTX 5060 Ti",
        quantization=f"GGUF {kind}",
    )  # fmt: skip
    found = predict_weights(told)
    assert found.value / found.low - 1 == pytest.approx(doubt, abs=0.02)
