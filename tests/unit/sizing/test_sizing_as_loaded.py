"""Weights quantized while they load: by the argument, from 16 bits only, never in llama.cpp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.report.sizing import service_lines
from rigspec.sizing.as_loaded import as_loaded
from rigspec.sizing.service import Sized, size_service
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.weights import rank_weights
from rigspec.spec.load import load_text

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "benchmarks" / "data" / "model-configs"


def model(name: str) -> ModelFacts:
    found = load_model_facts(name, [CONFIGS])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "printed_gib"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", 67.70),  # RTX PRO 6000, vLLM 0.23
        ("Qwen/Qwen3-8B", 9.06),  # L4
    ],
)
def test_eight_bits_at_load_take_what_was_printed(name: str, printed_gib: float) -> None:
    files = ExactSizes(150 * 10**9, "header bytes")  # of 16 bits: they say nothing of it
    found = rank_weights(as_loaded(replace(model(name), sizes=files), "fp8"), EngineSettings())
    assert found.amount.low < printed_gib < found.amount.high


def test_four_bits_at_load_take_less_and_are_doubted() -> None:
    whole = rank_weights(model("Qwen/Qwen3-8B"), EngineSettings()).amount
    found = rank_weights(as_loaded(model("Qwen/Qwen3-8B"), "bitsandbytes"), EngineSettings()).amount
    assert found.high < whole.low / 2
    assert found.high - found.low > 0.2 * found.value


@pytest.mark.parametrize("argument", [None, "awq", "fp8_per_block", "modelopt"])
def test_other_arguments_change_nothing(argument: str | None) -> None:
    facts = model("Qwen/Qwen3-8B")
    assert as_loaded(facts, argument) is facts


def test_a_checkpoint_that_is_quantized_stays_as_it_is() -> None:
    facts = replace(model("Qwen/Qwen3-8B"), quantization=Quantization(Scheme.INT4))
    assert as_loaded(facts, "fp8") is facts


def sized(*changes: tuple[str, str]) -> Sized:
    text = (ROOT / "rigs" / "starter.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    loaded = load_text("rig.yaml", text)
    assert loaded.rig is not None, loaded.findings
    found = size_service(loaded.rig, "qwen", {"qwen": model("Qwen/Qwen3-32B")}, find_gpu)
    assert found is not None
    return found


def test_a_service_is_sized_with_its_argument() -> None:
    # 32B: 61 GiB of 16 bits do not fit two 3090s, 8 bits do
    ranks = "    tensor_parallel_size: 2\n"
    asked = (ranks, f"{ranks}    quantization: fp8\n")
    plain, eight = sized(), sized(asked)
    assert plain.memory.boots == "no"
    assert eight.memory.boots != "no"
    assert eight.memory.weights.value < 0.6 * plain.memory.weights.value


@pytest.mark.parametrize(("context", "depth"), [("2048", 2048), ("32768", 4096)])
def test_speeds_are_quoted_where_the_context_reaches(context: str, depth: int) -> None:
    found = sized(
        ("    context_length: 32768\n", f"    context_length: {context}\n"),
        ("    tensor_parallel_size: 2\n", "    tensor_parallel_size: 2\n    quantization: fp8\n"),
    )
    assert speeds_of(found).depth == depth
    assert any(f"decode at {depth:,} tokens" in line for line in service_lines(found, None))
