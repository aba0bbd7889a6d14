"""A model's broken or lying files: one sentence that names the file or the key, never a guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import UnusableModel
from rigspec.sizing.cards import card_of
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.shards import cut_block
from rigspec.sizing.weights import rank_weights

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
QWEN: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())


def facts(**changed: object) -> ModelFacts:
    found = facts_of_config("m", QWEN | changed)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"torch_dtype": "float8_lol"}, "its `torch_dtype` of `float8_lol` is not known"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}}, "two whole"),
        (
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 0]}},
            "two whole",
        ),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": [128]}},
            "`group_size` is no whole number",
        ),
    ],
)
def test_a_format_that_no_engine_reads_so_is_a_doubt(changed: dict[str, Any], said: str) -> None:
    (doubt,) = facts(**changed).doubts
    assert said in doubt


@pytest.mark.parametrize(
    "changed",
    [
        {"torch_dtype": "torch.bfloat16"},
        {"torch_dtype": None},
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": None}},
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 32]}},
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": -1}},
    ],
)
def test_forms_that_engines_read_are_no_doubt(changed: dict[str, Any]) -> None:
    assert not facts(**changed).doubts


def test_smaller_blocks_take_more_scales_and_more_ranks() -> None:
    # width 12,288: TP 32 leaves 384 = 3 blocks of 128; TP 64 leaves 192, 6 of 32 and 1.5 of 128
    settings = EngineSettings(tensor_parallel=64)
    gpu = find_gpu("h100-80gb-hbm3")
    assert gpu is not None
    for side, cut in ((128, True), (32, False)):
        record = {"quant_method": "fp8", "weight_block_size": [side, side]}
        found = facts(quantization_config=record)
        seen = found.quantization.bytes_per_element(found.quantization.scheme, 2)
        assert seen == pytest.approx(1 + 4 / side**2)  # a float of 4 bytes per block
        assert bool(list(cut_block(found, settings, card_of(gpu)))) is cut


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("hidden_size", -4096, "`hidden_size` is -4096, a size is at least 1"),
        ("num_hidden_layers", 0, "`num_hidden_layers` is 0, a size is at least 1"),
        ("num_hidden_layers", 10**9, "`num_hidden_layers` is 1,000,000,000, no model is beyond"),
        ("vocab_size", 10**15, "`vocab_size` is 1,000,000,000,000,000, no model is beyond"),
        ("vocab_size", float("inf"), "`vocab_size` is inf, which is no size"),
        ("hidden_size", float("nan"), "`hidden_size` is nan, which is no size"),
        ("num_attention_heads", -8, "`num_attention_heads` is -8, a size is never negative"),
        ("num_key_value_heads", -8, "`num_key_value_heads` is -8, a size is never negative"),
        ("num_experts", -1, "`num_experts` is -1, a size is never negative"),
        ("max_position_embeddings", 10**15, "`max_position_embeddings` is 1,000,000,000,000,000"),
        ("max_position_embeddings", float("nan"), "`max_position_embeddings` is nan, which is no"),
        ("num_nextn_predict_layers", 10**9, "`num_nextn_predict_layers` is 1,000,000,000, no mod"),
        ("linear_num_value_heads", 10**12, "`linear_num_value_heads` is 1,000,000,000,000, no m"),
        ("hidden_size", "4096", "`hidden_size` is the text `4096`, which is no number to an eng"),
        ("num_key_value_heads", "", "`num_key_value_heads` is the text ``, which is no number"),
        ("num_attention_heads", [32], "`num_attention_heads` is `[32]`, an engine reads one num"),
        ("head_dim", {"all": 128}, '`head_dim` is `{"all": 128}`, an engine reads one number'),
        ("num_key_value_heads", True, "`num_key_value_heads` is `true`, an engine reads one"),
        ("rope_scaling", {"rope_type": "linear", "factor": 1e9}, "`rope_scaling.factor` is 1,00"),
        ("vision_config", {"depth": 10**9, "hidden_size": 8}, "`vision_config.depth` is 1,000,0"),
        ("sliding_window", True, "`sliding_window` is `true`, an engine reads one number"),
        ("moe_layer_freq", "x", "`moe_layer_freq` is the text `x`"),
        ("rope_scaling", {"original_max_position_embeddings": "x"}, "`rope_scaling.original_max_p"),
        ("rope_scaling", {"original_max_position_embeddings": -1}, "`rope_scaling.original_max_po"),
        ("tie_word_embeddings", 1, "`tie_word_embeddings` is `1`, an engine reads true or false"),
        (
            "quantization_config",
            {"quant_method": "mxfp4", "modules_to_not_convert": "x"},
            '`modules_to_not_convert` is `"x"`, an engine reads a list there',
        ),
        (
            "quantization_config",
            {"quant_method": "compressed-tensors", "ignore": True},
            "`ignore` is `true`, an engine reads a list there",
        ),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_its_key(key: str, value: object, said: str) -> None:
    with pytest.raises(UnusableModel) as refused:
        facts_of_config("m", QWEN | {key: value})
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_key_value_heads": 7}, "32 attention heads cannot share 7 key/value heads evenly"),
        ({"num_key_value_heads": 0}, "it states no key/value heads for 32 attention heads"),
        (
            {"num_attention_heads": 33, "num_key_value_heads": 33, "head_dim": None},
            "33 attention heads do not divide the width of 4096",
        ),
        (
            {"num_experts": 8, "num_experts_per_tok": 9, "moe_intermediate_size": 768},
            "it states 9 experts per token of 8",
        ),
        (
            {"layer_types": ["full_attention"] * 5},
            "`layer_types` names 5 layers, `num_hidden_layers` says 36",
        ),
        (
            {"max_position_embeddings": -1},
            "`max_position_embeddings` is -1: the longest context is not known",
        ),
        ({"layer_types": ["zork_attention"] * 36}, "a layer type in `layer_types` is not known"),
        (
            {"quantization_config": {"quant_method": "zork", "bits": 3}},
            "the quantization method `zork` is not known",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 7, "group_size": 128}},
            "its quantization record states 7 bits per weight",
        ),
    ],
)
def test_a_contradiction_is_said_and_makes_a_bound(changed: dict[str, Any], said: str) -> None:
    doubted = facts(**changed)
    assert any(doubt.startswith(said) for doubt in doubted.doubts)
    assert not doubted.known
    sure, bound = (rank_weights(f, EngineSettings()).amount for f in (facts(), doubted))
    assert bound.high - bound.low > 10 * (sure.high - sure.low)


def test_an_unknown_format_may_be_anything_from_one_bit_to_fifteen() -> None:
    """The engine decides how such weights are stored; only the number of weights is known."""
    plain = rank_weights(facts(), EngineSettings()).amount.value  # 16 bits
    bound = rank_weights(
        facts(quantization_config={"quant_method": "zork"}), EngineSettings()
    ).amount
    assert bound.low < plain / 8
    assert bound.high > 0.9 * plain


def test_a_scale_per_row_is_no_group_of_one() -> None:
    """`group_size: -1` of AutoGPTQ: one fp16 scale per row of 4096 adds 0.1 %, not 500 %."""
    record = {"quant_method": "gptq", "bits": 4, "group_size": -1}
    quantization = facts(quantization_config=record).quantization
    assert quantization.bytes_per_element(Scheme.INT4, 2) == pytest.approx(0.5, rel=0.01)


def test_three_bit_gptq_takes_three_bits() -> None:
    record = {"quant_method": "gptq", "bits": 3, "group_size": 128}
    quantization = facts(quantization_config=record).quantization
    stored = quantization.bytes_per_element(quantization.scheme, 2)
    assert stored == pytest.approx(3 / 8 + 2 / 128, rel=0.02)


def test_bitsandbytes_is_read_by_its_own_words() -> None:
    four = facts(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    eight = facts(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert (four.quantization.scheme, eight.quantization.scheme) == (Scheme.INT4, Scheme.INT8)
    assert four.known


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_attention_heads", "hidden_size"])
def test_a_count_written_as_a_float_is_refused(key: str) -> None:
    value = float(QWEN[key])
    with pytest.raises(UnusableModel) as refused:
        facts(**{key: value})
    assert str(refused.value) == (
        f"`{key}` is {value}, engines count with it: it must be written as {QWEN[key]}"
    )


def test_a_length_written_as_a_float_is_taken() -> None:
    assert facts(max_position_embeddings=40960.0).max_positions == 40960


@pytest.mark.parametrize("listed", ["Qwen3ForCausalLM", {}, 5])
def test_a_class_that_stands_in_no_list_is_refused(listed: object) -> None:
    with pytest.raises(UnusableModel, match=r"^`architectures` is `.*`, an engine reads a list"):
        facts(architectures=listed)
