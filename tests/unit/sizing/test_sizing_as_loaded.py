"""Weights quantized while they load: by the argument, from 16 bits only, never in llama.cpp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import model

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.report.sizing import service_lines
from rigspec.sizing.accepted import refusals
from rigspec.sizing.as_loaded import as_computed, as_loaded, load_peak
from rigspec.sizing.cache_type import cache_type
from rigspec.sizing.cards import card_of
from rigspec.sizing.service import Sized, size_service
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.stored import formula_bytes
from rigspec.sizing.weights import rank_weights
from rigspec.spec.load import load_text

ROOT = Path(__file__).parents[3]


def asked(argument: str | None, facts: ModelFacts | None = None) -> ModelFacts:
    """Qwen3-8B, or another model, as a vLLM of no stated version loads it."""
    return as_loaded(facts or model("Qwen/Qwen3-8B"), argument, EngineSettings())


@pytest.mark.parametrize(
    ("name", "printed_gib"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", 67.70),  # RTX PRO 6000, vLLM 0.23
        ("Qwen/Qwen3-8B", 9.06),  # L4
    ],
)
def test_eight_bits_at_load_take_what_was_printed(name: str, printed_gib: float) -> None:
    plain = model(name)
    files = ExactSizes(int(formula_bytes(plain)), "header bytes")  # of 16 bits: they say nothing
    found = rank_weights(asked("fp8", replace(plain, sizes=files)), EngineSettings())
    assert found.amount.low < printed_gib < found.amount.high


def test_four_bits_at_load_take_less_and_are_doubted() -> None:
    whole = rank_weights(model("Qwen/Qwen3-8B"), EngineSettings()).amount
    found = rank_weights(asked("bitsandbytes"), EngineSettings()).amount
    assert found.high < whole.low / 2
    assert found.high - found.low > 0.2 * found.value


@pytest.mark.parametrize("argument", [None, "awq", "fp8_per_nothing", "modelopt"])
def test_other_arguments_change_nothing(argument: str | None) -> None:
    facts = model("Qwen/Qwen3-8B")
    assert asked(argument, facts) is facts


@pytest.mark.parametrize("argument", ["fp8", "fp8_per_tensor", "fp8_per_block", "mxfp8"])
def test_every_word_for_eight_bits_halves_the_layers(argument: str) -> None:
    facts = model("Qwen/Qwen3-8B")
    whole = rank_weights(facts, EngineSettings()).amount.value
    found = rank_weights(asked(argument), EngineSettings()).amount.value
    assert 0.5 * whole < found < 0.62 * whole  # the table and the head stay in 16 bits


SIXTEEN_GIB = 15.27
"""8B parameters of 2 bytes: 8,190,735,360, the checkpoint's index."""
EIGHT_GIB = 8.79
"""The same with a byte each, but for table and head: 2 x 151,936 x 4,096."""


@pytest.mark.parametrize(
    ("engine", "version", "least_gib", "most_gib"),
    [
        (Engine.VLLM, (0, 11, 2), SIXTEEN_GIB, SIXTEEN_GIB),  # all of it in 16 bits first
        (Engine.VLLM, (0, 14, 0), SIXTEEN_GIB, 1.5 * SIXTEEN_GIB),  # and the 8 bits beside
        (Engine.VLLM, None, EIGHT_GIB, 1.5 * SIXTEEN_GIB),
        (Engine.SGLANG, (0, 5, 7), SIXTEEN_GIB, 1.5 * SIXTEEN_GIB),
        (Engine.SGLANG, (0, 5, 23), EIGHT_GIB, 1.5 * SIXTEEN_GIB),
    ],
)
def test_what_lies_there_while_it_loads(
    engine: Engine, version: tuple[int, ...] | None, least_gib: float, most_gib: float
) -> None:
    facts = asked("fp8")
    found = load_peak(facts, EngineSettings(engine=engine, version=version))
    assert found is not None
    assert found.low == pytest.approx(least_gib, rel=0.04)
    assert found.high == pytest.approx(most_gib, rel=0.04)


@pytest.mark.parametrize(("argument", "version"), [("fp8", (0, 15)), ("bitsandbytes", (0, 11))])
def test_tensor_by_tensor_nothing_more_is_held(argument: str, version: tuple[int, ...]) -> None:
    facts = asked(argument)
    assert load_peak(facts, EngineSettings(version=version)) is None


def test_a_checkpoint_that_is_quantized_stays_as_it_is() -> None:
    facts = replace(model("Qwen/Qwen3-8B"), quantization=Quantization(Scheme.INT4))
    assert asked("fp8", facts) is facts


MXFP4_GIB = 5.75
"""4.25 bits for each of the 6.95 billion weights of its layers, 16 for table and head."""


@pytest.mark.parametrize("version", [(0, 29), (0, 30, 1), (0, 33)])
def test_mxfp4_is_made_of_sixteen_bits_by_a_recent_vllm(version: tuple[int, ...]) -> None:
    settings = EngineSettings(version=version)
    facts = as_loaded(model("Qwen/Qwen3-8B"), "mxfp4", settings)
    assert facts.quantization.label == "mxfp4 (at load)"
    found = rank_weights(facts, settings).amount
    assert found.value == pytest.approx(MXFP4_GIB, rel=0.02)
    assert found.high - found.low == pytest.approx(2 * 0.12 * found.value, rel=0.1)
    assert load_peak(facts, settings) is None


@pytest.mark.parametrize(
    "settings",
    [
        EngineSettings(version=(0, 28, 1)),
        EngineSettings(),
        EngineSettings(engine=Engine.SGLANG, version=(0, 33)),
    ],
)
def test_what_others_make_of_mxfp4_nobody_knows(settings: EngineSettings) -> None:
    facts = model("Qwen/Qwen3-8B")
    assert as_loaded(facts, "mxfp4", settings) is facts


def test_mxfp4_files_and_what_is_made_at_load_are_not_judged_by_one_row() -> None:
    """vLLM's row of 8.0 speaks of files that hold it; a T4 has 7.5."""
    gpu = find_gpu("tesla-t4")
    assert gpu is not None
    settings = EngineSettings(version=(0, 30))
    plain, stored = model("Qwen/Qwen3-0.6B"), model("openai/gpt-oss-20b")
    rules = [
        {refusal.rule for refusal in refusals(facts, settings, card_of(gpu))}
        for facts in (as_loaded(plain, "mxfp4", settings), stored)
    ]
    assert ["compute-capability" in found for found in rules] == [False, True]


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


def test_a_service_that_asks_for_mxfp4_is_sized_so() -> None:
    ranks = "    tensor_parallel_size: 2\n"
    found = sized((ranks, f"{ranks}    quantization: mxfp4\n"))
    assert found.memory.weights.value < 0.35 * sized().memory.weights.value


@pytest.mark.parametrize(("context", "depth"), [("2048", 2048), ("32768", 4096)])
def test_speeds_are_quoted_where_the_context_reaches(context: str, depth: int) -> None:
    found = sized(
        ("    context_length: 32768\n", f"    context_length: {context}\n"),
        ("    tensor_parallel_size: 2\n", "    tensor_parallel_size: 2\n    quantization: fp8\n"),
    )
    assert speeds_of(found).depth == depth
    assert any(f"decode at {depth:,} tokens" in line for line in service_lines(found, None))


LOADED = "    tensor_parallel_size: 2\n    quantization: fp8\n"


def test_an_older_engine_ends_while_it_loads() -> None:
    # 30 GiB of 16 bits lie on each 3090 of 24 before the 16 of 8 bits are made
    ranks = ("    tensor_parallel_size: 2\n", LOADED)
    older = (("v0.30.0@", "v0.12.0@"), ("engine_version: 0.30.0", "engine_version: 0.12.0"))
    found = sized(ranks, *older)
    assert found.memory.boots == "no"
    assert any("until the last of them is quantized" in line for line in service_lines(found, None))
    assert sized(ranks).memory.boots != "no"


def test_a_model_without_float16_takes_32_bits_where_there_is_no_bfloat16() -> None:
    facts, files = model("google/gemma-2-9b-it"), ExactSizes(18_483_411_968, "its index")
    known = replace(facts, sizes=files)
    turing, ampere = (card_of(gpu) for gpu in map(find_gpu, ("tesla-t4", "rtx-3090")) if gpu)
    for each in (facts, known):
        wide = as_computed(each, turing, EngineSettings())
        one, two = (rank_weights(it, EngineSettings()).amount.value for it in (each, wide))
        assert two == pytest.approx(2 * one, rel=0.01)
        assert cache_type(wide, EngineSettings()).name == "32 bits"
    sglang = EngineSettings(engine=Engine.SGLANG)
    packed = replace(facts, quantization=Quantization(Scheme.INT4))
    assert as_computed(facts, ampere, EngineSettings()) is facts
    assert as_computed(facts, turing, sglang) is facts
    assert as_computed(packed, turing, EngineSettings()) is packed
    wide = replace(facts, dtype_bytes=4)  # as it is stored, so nothing grows
    assert as_computed(wide, turing, EngineSettings()) is wide
    unknown = replace(turing, compute=None)  # of an owner's row, and more likely new than old
    assert as_computed(facts, unknown, EngineSettings()) is facts
    assert as_computed(model("Qwen/Qwen3-8B"), turing, EngineSettings()).dtype_bytes == 2
