"""What loading adds is what the engine's own kernels and tables take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import model

from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.load_extra import load_extra
from rigspec.sizing.matrices import matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.weights import rank_weights


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_packed_experts_are_not_put_in_order_twice(engine: Engine) -> None:
    # what was printed is of dense weights; experts have kernels of their own (`moe_wna16.py`)
    facts = replace(model("Qwen/Qwen3-30B-A3B"), quantization=Quantization(Scheme.INT4))
    asked = EngineSettings(engine=engine)
    every = matrices(facts)
    experts = tuple(matrix for matrix in every if matrix.expert)
    dense = tuple(matrix for matrix in every if not matrix.expert)
    nothing, of_experts, of_dense = (
        load_extra(facts, asked, kept, 0.0) for kept in ((), experts, dense)
    )
    assert of_experts == nothing
    assert of_dense.high > nothing.high


def test_tables_that_newer_releases_of_vllm_print_are_vllm_s_alone() -> None:
    # 0.1 GiB from 0.22 on, an unstated version among them; SGLang and llama.cpp have no 0.22
    facts = model("Qwen/Qwen3-8B")
    for engine, version in ((Engine.SGLANG, (0, 5, 23)), (Engine.LLAMA_CPP, (0, 21))):
        asked = EngineSettings(engine=engine)
        known = replace(asked, version=version)
        assert load_extra(facts, asked, (), 0.0) == load_extra(facts, known, (), 0.0)
    older, unstated = (
        load_extra(facts, EngineSettings(version=version), (), 0.0) for version in ((0, 21), None)
    )
    assert unstated.high - older.high == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "version", "gib"),
    [
        ("zai-org/GLM-4.7-Flash", (0, 29), 55.87),
        ("deepseek-ai/DeepSeek-V2-Lite", (0, 29), 29.32),
        ("deepseek-ai/DeepSeek-V2-Lite", (0, 19), 29.43),
    ],
)
def test_latent_projections_in_16_bits_are_turned_without_a_copy_since_0_27(
    name: str, version: tuple[int, ...], gib: float
) -> None:
    found = rank_weights(model(name), EngineSettings(version=version)).amount
    assert found.value == pytest.approx(gib, abs=0.08)
    assert found.low <= gib <= found.high
    unsaid = rank_weights(model(name), EngineSettings()).amount
    assert unsaid.low <= gib <= unsaid.high


def test_kimi_s_delta_nets_go_by_the_name_of_attention_in_its_record() -> None:
    # Kimi-K3 on H200: 129.75 GiB over sixteen cards, 135.7 over eight of two copies
    facts = model("moonshotai/Kimi-K3")
    for settings, gib in (
        (EngineSettings(version=(0, 26), tensor_parallel=16), 129.75),
        (EngineSettings(version=(0, 26), tensor_parallel=8, data_parallel=2), 135.7),
    ):
        assert rank_weights(facts, settings).amount.value == pytest.approx(gib, rel=0.002)
    plain = {m.scheme for m in matrices(facts) if ".self_attn." in m.name or "latent" in m.name}
    assert plain == {Scheme.PLAIN}
    assert not any("linear_attn" in m.name for m in matrices(facts))
    assert any("linear_attn" in m.name for m in matrices(model("Qwen/Qwen3.5-27B")))


def test_quantized_latent_projections_are_kept_twice_in_every_release() -> None:
    # GLM-5.3 in 8 bits on eight H200, 0.30: 88.91 GiB
    facts = model("zai-org/GLM-5.1-FP8")
    older, newer = (
        rank_weights(facts, EngineSettings(version=version, tensor_parallel=8)).amount
        for version in ((0, 25), (0, 30))
    )
    assert newer == older
    assert newer.low <= 88.91 <= newer.high + 0.3
