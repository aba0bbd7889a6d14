"""GGUF types by name: the output is wider than the rest, so an average hangs on its share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.model_words import GGUF_BITS
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.matrices import Part, matrices

CONFIGS = Path(__file__).parents[3] / "benchmarks/data/model-configs"


def stored(name: str, file_type: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    mix = Quantization(Scheme.GGUF, bits_per_weight=GGUF_BITS[file_type])
    return replace(facts, quantization=mix, sizes=None)


def gib_of(facts: ModelFacts) -> float:
    return sum(m.stored_bytes for m in matrices(facts) if m.part is not Part.DRAFT) / 2**30


@pytest.mark.parametrize(
    ("name", "file_type", "printed_gib", "closer_than"),
    [
        # as llama.cpp prints or `ls` shows them; the last column is what the average alone misses
        ("google/gemma-2-2b-it", "Q4_K_M", 1.59, 0.06),
        ("Qwen/Qwen3-235B-A22B", "Q2_K", 79.80, 0.08),
        ("deepseek-ai/DeepSeek-R1", "IQ1_S", 130.2, 0.19),
        ("meta-llama/Llama-3.1-70B-Instruct", "Q4_K_M", 39.59, 0.014),
    ],
)
def test_a_type_s_average_is_taken_apart_by_the_share_of_the_output(
    name: str, file_type: str, printed_gib: float, closer_than: float
) -> None:
    assert abs(gib_of(stored(name, file_type)) / printed_gib - 1) < 0.5 * closer_than


def test_the_model_that_the_averages_are_of_keeps_its_average() -> None:
    facts = stored("meta-llama/Llama-3.1-8B-Instruct", "Q3_K_M")
    elements = sum(matrix.elements for matrix in matrices(facts))
    assert gib_of(facts) * 2**30 * 8 / elements == pytest.approx(GGUF_BITS["Q3_K_M"], rel=0.001)


@pytest.mark.parametrize("file_type", ["Q6_K", "Q8_0", "BF16"])
def test_types_as_wide_as_the_output_are_as_wide_everywhere(file_type: str) -> None:
    facts = stored("meta-llama/Llama-3.1-8B-Instruct", file_type)
    widths = {round(8 * m.stored_bytes / m.elements, 2) for m in matrices(facts)}
    assert widths == {GGUF_BITS[file_type]}


def test_a_tied_table_is_the_output() -> None:
    facts = stored("google/gemma-2-2b-it", "Q2_K")
    (table,) = (m for m in matrices(facts) if m.part is Part.EMBEDDING)
    assert table.stored_bytes == pytest.approx(table.elements * 6.5625 / 8)
