"""Values of a wrong kind in a config or in a record of a quantization: refused or doubted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import UnusableModel, load_model_facts

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
QWEN: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
MOE: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-30B-A3B.json").read_text())


def facts(base: dict[str, Any] = QWEN, **changed: object) -> ModelFacts:
    found = facts_of_config("m", base | changed)
    assert found is not None
    return found


def grouped(**weights: object) -> dict[str, Any]:
    held = {"group_0": {"weights": {"type": "int", **weights}}}
    return {"quant_method": "compressed-tensors", "config_groups": held}


def refused(said: str, base: dict[str, Any] = QWEN, **changed: object) -> None:
    with pytest.raises(UnusableModel) as refusal:
        facts_of_config("m", base | changed)
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("fp8", '` is `"fp8"`, an engine reads an object there'),
        ([1], "` is `[1]`, an engine reads an object there"),
        ({"quant_method": 5}, ".quant_method` is `5`, an engine reads a name there"),
        ({"quant_algo": ["FP8"]}, '.quant_algo` is `["FP8"]`, an engine reads a name there'),
        ({"quant_method": "gptq", "bits": "4"}, '.bits` is `"4"`, an engine reads a number there'),
        (
            {"quant_method": "awq", "bits": 4, "group_size": "128"},
            '.group_size` is `"128"`, an engine reads a number there',
        ),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 0},
            ".group_size` is `0`, an engine reads at least 1 there, or -1 for a whole row",
        ),
        (
            {"quant_method": "auto-round", "bits": 4, "group_size": -2},
            ".group_size` is `-2`, an engine reads at least 1 there, or -1 for a whole row",
        ),
        (
            grouped(num_bits="four"),
            '.config_groups.group_0.weights.num_bits` is `"four"`, an engine reads a number there',
        ),
    ],
)
def test_a_record_that_no_engine_reads_is_refused_at_its_key(record: object, said: str) -> None:
    refused(f"`quantization_config{said}", quantization_config=record)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"quantization": 5}, "`hf_quant_config.quantization` is `5`, an engine reads an object"),
        (
            {"quantization": {"quant_algo": 5}},
            "`hf_quant_config.quantization.quant_algo` is `5`, an engine reads a name there",
        ),
        ({"quant_algo": 5}, "`hf_quant_config.quant_algo` is `5`, an engine reads a name there"),
    ],
)
def test_so_is_the_record_beside_a_config(record: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(record))
    with pytest.raises(UnusableModel) as refusal:
        load_model_facts(tmp_path)
    assert str(refusal.value).startswith(said)


def test_an_empty_record_within_the_one_beside_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    beside = {"quantization": {}, "quant_method": "fp8"}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    found = load_model_facts(tmp_path)
    assert found is not None
    assert found.quantization.scheme is Scheme.FP8


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (grouped(num_bits=3), "its quantization record states 3 bits per weight"),
        (grouped(num_bits=0), "its quantization record states 0 bits per weight"),
        ({"bits": 4, "group_size": 128}, "its quantization record names no method"),
    ],
)
def test_a_record_that_can_be_bounded_is_a_doubt(record: object, said: str) -> None:
    found = facts(quantization_config=record)
    assert said in found.doubts
    assert found.weights_doubt


@pytest.mark.parametrize(
    ("record", "scheme"),
    [
        (None, Scheme.PLAIN),
        ({}, Scheme.PLAIN),
        ({"quant_algo": None, "kv_cache_quant_algo": "FP8"}, Scheme.PLAIN),
        (grouped(num_bits="4"), Scheme.INT4),  # its library takes a number as text
        (grouped(num_bits=8), Scheme.INT8),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, Scheme.INT4),
    ],
)
def test_a_record_that_engines_read_is_taken(record: object, scheme: Scheme) -> None:
    found = facts(quantization_config=record)
    assert found.quantization.scheme is scheme
    assert not found.doubts


@pytest.mark.parametrize(
    "method",
    ["awq", "AWQ", "awq_marlin", "gptq", "gptq_marlin", "auto-round", "intel/auto-round"],
)
def test_a_method_that_packs_integers_is_known(method: str) -> None:
    found = facts(quantization_config={"quant_method": method, "bits": 4, "group_size": 128})
    assert found.quantization.scheme.is_four_bit
    assert not found.doubts


@pytest.mark.parametrize(
    "record",
    [
        {"quant_method": "awqq", "bits": 4, "group_size": 128},
        {"quant_method": "gptq_model", "bits": 4, "group_size": 128},
        {"quant_method": "fp8x", "weight_block_size": [128, 128]},
        {"quant_method": "modelopts", "quant_algo": "NVFP4"},
        grouped(num_bits=4) | {"quant_method": "compressed-tensor"},
    ],
)
def test_a_method_that_is_merely_like_a_known_one_is_not(record: dict[str, object]) -> None:
    found = facts(quantization_config=record)
    said = f"the quantization method `{record['quant_method']}` is not known to rigspec"
    assert said in found.doubts
    assert found.weights_doubt


@pytest.mark.parametrize("key", ["torch_dtype", "dtype", "model_type"])
@pytest.mark.parametrize("value", [{}, [], 5, True, ["bfloat16"]])
def test_what_is_no_name_where_one_belongs_is_refused(key: str, value: object) -> None:
    refused(f"`{key}` is `{json.dumps(value)}`, an engine reads a name there", **{key: value})


@pytest.mark.parametrize("section", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_a_stretch_of_no_name_is_refused(section: str, key: str) -> None:
    said = f"`{section}.{key}` is `[]`, an engine reads a name there"
    refused(said, **{section: {key: [], "factor": 4.0}})
    nested = {"full_attention": {"rope_type": "proportional"}, "sliding_attention": {}}
    assert facts(**{section: {key: None, "factor": 4.0}}).layers
    assert facts(**{section: nested}).layers


@pytest.mark.parametrize("key", ["text_config", "vision_config", "rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("value", ["yarn", [], 5, True])
def test_a_text_where_keys_belong_is_refused(key: str, value: object) -> None:
    refused(f"`{key}` is `{json.dumps(value)}`, an engine reads an object there", **{key: value})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("8", "is the text `8`, which is no number to an engine"),
        (-1, "is -1, a size is never negative"),
        (0, "is 0, an engine divides by it"),
        ([1, 2], "is `[1, 2]`, an engine reads one number there"),
        (10**12, "is 1,000,000,000,000, no model is beyond 4,096"),
    ],
)
def test_a_step_that_cannot_be_is_refused(value: object, said: str) -> None:
    refused(f"`decoder_sparse_step` {said}", MOE, decoder_sparse_step=value)


def test_zero_is_refused_where_something_is_divided_by_it() -> None:
    refused("`head_dim` is 0, an engine divides by it", head_dim=0)
    refused("`moe_layer_freq` is 0, an engine divides by it", MOE, moe_layer_freq=0)
    assert facts(decoder_sparse_step=0).known  # dense: nothing is
    linear = {"full_attention_interval": 0, "linear_num_value_heads": 8}
    refused("`full_attention_interval` is 0, an engine divides by it", **linear)
    latent = json.loads((CONFIGS / "deepseek-ai__DeepSeek-R1.json").read_text())
    assert facts(latent, head_dim=0).known
