"""The products of a decode step: nothing beside one stream, all of it beside hundreds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.sizing.arithmetic import peak_tflops, rows_ms, tensor_share
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Bottleneck, decode

VLLM = EngineSettings(version=(0, 30))


def test_rows_cost_two_operations_per_weight_at_the_share_of_a_prompt() -> None:
    facts, on = model("Qwen/Qwen3-14B"), card("a100-80gb-pcie")
    peak = peak_tflops(on)
    assert peak is not None
    weights = 14.0e9  # without the embedding, which is looked up
    expected = 2 * 100 * weights / (peak * 1e9 * tensor_share(facts, on, VLLM))
    assert rows_ms(facts, on, VLLM, 100) == pytest.approx(expected, rel=0.02)
    halves = replace(VLLM, tensor_parallel=2)
    assert rows_ms(facts, on, halves, 100) == pytest.approx(expected / 2, rel=0.02)


@pytest.mark.parametrize("change", [{"engine": Engine.LLAMA_CPP}, {}])
def test_one_row_and_llama_cpp_s_own_kernels_have_none(change: dict[str, Engine]) -> None:
    rows = 100 if change else 1
    asked = replace(VLLM, **change)  # type: ignore[arg-type]
    assert rows_ms(model("Qwen/Qwen3-14B"), card("rtx-3090"), asked, rows) == 0.0


def test_many_streams_are_bound_by_arithmetic() -> None:
    # Qwen2.5-7B on a 3090, 96 streams of 50 tokens, vLLM 0.19.1: 2,458 tok/s
    facts, on = model("Qwen/Qwen2.5-7B-Instruct"), card("rtx-3090")
    few, many = (decode(facts, on, VLLM, streams=n, context=200) for n in (1, 96))
    assert few is not None
    assert many is not None
    assert few.bottleneck is Bottleneck.MEMORY
    assert many.bottleneck is Bottleneck.COMPUTE
    assert many.tok_s.value == pytest.approx(2458, rel=0.25)
    reading = replace(many.step, arithmetic_ms=0.0)
    assert reading.weights_ms == pytest.approx(many.step.weights_ms)


def test_more_streams_never_make_less() -> None:
    facts, on = model("Qwen/Qwen3-14B"), card("rtx-3090")
    rates = [decode(facts, on, VLLM, streams=n) for n in (2, 4, 16, 64, 256, 1024)]
    sums = [rate.tok_s.value for rate in rates if rate is not None]
    assert sums == sorted(sums)
    steps = [rate.step.total_ms for rate in rates if rate is not None]
    assert steps == sorted(steps)
