"""N-gram tables, which lie on the cards or in host memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from published import model

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import UnusableModel
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.stored import formula_bytes, size_doubt, table_bytes
from rigspec.sizing.weights import rank_weights

ENGRAM, PLE = "deepseek-ai/DeepSeek-V4.1-Flash", "Qwen/Qwen3.8-Flash-Next"


@pytest.mark.parametrize(
    ("name", "size"),
    # headers: two of 98,305,579,008 and 98,308,270,592 bytes of 8 bits, with 3.07 GB of scales
    # each; one of 102,400,491,520 bytes of 16 bits
    [(ENGRAM, 98_305_579_008 + 98_308_270_592 + 2 * 3.07e9), (PLE, 102_400_491_520)],
)
def test_tables_are_as_large_as_the_headers_say(name: str, size: float) -> None:
    assert table_bytes(model(name)) == pytest.approx(size, rel=1e-3)


def test_a_model_without_tables_has_none() -> None:
    assert table_bytes(model("Qwen/Qwen3-8B")) == 0


def test_the_band_reaches_from_tables_on_the_host_to_tables_on_the_cards() -> None:
    # vLLM left them on the host: 36.3 GiB of each of eight H100; SGLang loaded them: 119.8 of each
    # of four H200
    facts = model(ENGRAM)
    eight, four = (
        rank_weights(facts, EngineSettings(tensor_parallel=ranks, expert_parallel=True)).amount
        for ranks in (8, 4)
    )
    assert eight.value == pytest.approx(36.32, rel=0.03)
    assert four.low < 72 < 119.83 < four.high


def test_ranks_share_the_tables() -> None:
    one, two = (
        rank_weights(model(PLE), EngineSettings(tensor_parallel=ranks)).amount for ranks in (1, 2)
    )
    assert two.high - two.value == pytest.approx((one.high - one.value) / 2, rel=0.05)


def with_files(facts: ModelFacts, tables_bits: float) -> ModelFacts:
    total = formula_bytes(facts) + facts.ngram_elements * tables_bits / 8
    return replace(facts, sizes=ExactSizes(int(total), "its index", None, 0.0))


@pytest.mark.parametrize("bits", [0, 16, 8.25, 4.25])
def test_files_tell_how_wide_the_tables_are_and_the_rest_keeps_its_size(bits: float) -> None:
    facts = with_files(model(PLE), bits)
    plain = rank_weights(model(PLE), EngineSettings()).amount
    found = rank_weights(facts, EngineSettings()).amount
    assert found.value == pytest.approx(plain.value, rel=1e-3)
    wanted = facts.ngram_elements * max(bits, 4.25) / 8
    assert table_bytes(facts) == pytest.approx(wanted)


def test_tables_of_sixteen_bits_are_no_sign_of_another_checkpoint() -> None:
    # 102 GB of tables beside 256 of layers, more than a third that nothing else explains
    assert size_doubt(with_files(model(PLE), 16)) == ""


def config(**changed: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 2, "vocab_size": 1000,
        "num_attention_heads": 8, "intermediate_size": 2048, "torch_dtype": "bfloat16", **changed,
    }  # fmt: skip


def test_rows_that_are_no_counts_are_passed_over() -> None:
    rows = {"engram_num_embeddings": [10, -3, "x", None, True], "engram_head_dim": 4}
    found = facts_of_config("x", config(**rows))
    assert found is not None
    assert found.ngram_elements == 40


def test_tables_of_no_model_are_refused() -> None:
    with pytest.raises(UnusableModel, match="ngram_vocab_size_base"):
        facts_of_config("x", config(ngram_vocab_size_base=1 << 40, ple_embed_dim=4))


@pytest.mark.parametrize("nested", [True, False])
def test_experts_of_four_bits_are_said_in_the_record_or_beside_it(nested: bool) -> None:
    record = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    said = {"expert_dtype": "fp4"}
    whole = (
        config(quantization_config=record | said)
        if nested
        else config(quantization_config=record, **said)
    )
    found = facts_of_config("x", whole)
    assert found is not None
    assert found.quantization.scheme is Scheme.MXFP4
