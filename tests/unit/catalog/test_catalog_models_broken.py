"""A model's broken or lying files: one sentence that names the file or the key, never a guess."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_gguf import read_gguf
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import UnusableModel, load_model_facts
from rigspec.sizing.cards import card_of
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.shards import cut_block
from rigspec.sizing.stored import size_doubt
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


def test_bytes_of_another_checkpoint_are_noticed(tmp_path: Path) -> None:
    folder(tmp_path, {"model.safetensors.index.json": index(total_size=8 * 10**9)})
    found = load_model_facts(tmp_path)
    assert found is not None
    assert "give 15.3 GiB of weights, model.safetensors.index.json 7.5 GiB" in size_doubt(found)


def test_bytes_of_the_same_checkpoint_raise_no_doubt(tmp_path: Path) -> None:
    folder(tmp_path, {"model.safetensors.index.json": index(total_size=16381470720)})
    found = load_model_facts(tmp_path)
    assert found is not None
    assert size_doubt(found) == ""


def folder(path: Path, files: dict[str, bytes], config: bytes | None = None) -> None:
    """A checkpoint folder."""
    (path / "config.json").write_bytes(config or json.dumps(QWEN).encode())
    for name, data in files.items():
        (path / name).write_bytes(data)


def index(total_size: object, *shards: str) -> bytes:
    names = {f"w{n}": shard for n, shard in enumerate(shards)}
    return json.dumps({"metadata": {"total_size": total_size}, "weight_map": names}).encode()


def shard(start: object, end: object, data: int = 0) -> bytes:
    text = json.dumps({"w": {"dtype": "BF16", "data_offsets": [start, end]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {INDEX: index(9, "a.safetensors", "b.safetensors"), "a.safetensors": shard(0, 8, 8)},
            f"{INDEX} names `b.safetensors`, which the folder does not hold",
        ),
        (
            {INDEX: b'{"weight_map": {"a": "../../x.safetensors"}}'},
            f"{INDEX} maps `a` to `../../x.safetensors`, which lies outside the folder",
        ),
        (
            {INDEX: index(9, "x/../../y.safetensors")},
            f"{INDEX} maps `w0` to `x/../../y.safetensors`, which lies outside the folder",
        ),
        (
            {INDEX: index(9, "/etc/passwd")},
            f"{INDEX} maps `w0` to `/etc/passwd`, which lies outside the folder",
        ),
        ({INDEX: b'{"weight_map": {"a": 5}}'}, f"{INDEX} maps `a` to `5`, which is no name of a"),
        ({INDEX: b'{"weight_map": ["x"]}'}, f"{INDEX} holds a `weight_map` that maps no tensor"),
        (
            {INDEX: b'{"metadata": {"total_size": 9}, "weight_map": []}'},
            f"{INDEX} holds a `weight_map` that maps no tensor to a file",
        ),
        ({INDEX: b'{"metadata": {"total_s'}, f"{INDEX} is not JSON"),
        ({INDEX: b"[]"}, f"{INDEX} holds no JSON object"),
        ({INDEX: index(-5)}, f"{INDEX} states a `total_size` of -5"),
        ({INDEX: index("big")}, f"{INDEX} states a `total_size` of big"),
        ({"a.safetensors": b""}, "a.safetensors is cut short: it ends within its header"),
        ({"a.safetensors": shard(0, 8)[:30]}, "a.safetensors is cut short: it ends within"),
        ({"a.safetensors": struct.pack("<Q", 1 << 63) + b"{}"}, "a.safetensors is cut short"),
        ({"a.safetensors": shard(0, 1000, 400)}, "a.safetensors is cut short: 600 bytes of its"),
        ({"a.safetensors": shard(100, 0)}, "tensor `w` has the offsets [100, 0], which name no"),
        ({"a.safetensors": shard("x", None)}, "tensor `w` has the offsets ['x', None], which"),
        ({"a.safetensors": struct.pack("<Q", 2) + b"[]"}, "the header of a.safetensors holds no"),
    ],
)
def test_a_broken_checkpoint_folder_says_which_file(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    folder(tmp_path, files)
    with pytest.raises(UnusableModel) as refused:
        load_model_facts(tmp_path)
    assert str(refused.value).startswith(said)


def test_two_dots_within_a_name_lead_nowhere_else(tmp_path: Path) -> None:
    # only a part of a path that is `..` alone is the folder above
    folder(tmp_path, {INDEX: index(9, "a..b.safetensors"), "a..b.safetensors": shard(0, 8, 8)})
    found = load_model_facts(tmp_path)
    assert found is not None
    assert found.sizes is not None
    assert found.sizes.total_bytes == 8


def test_config_and_index_are_enough_where_the_weights_are_elsewhere(tmp_path: Path) -> None:
    folder(tmp_path, {INDEX: index(16381470720, "a.safetensors", "b.safetensors")})
    found = load_model_facts(tmp_path)
    assert found is not None
    assert found.sizes is not None
    assert found.sizes.total_bytes == 16381470720
    folder(tmp_path, {INDEX: b'{"weight_map": {"a": "a.safetensors"}}'})
    with pytest.raises(UnusableModel, match=r"names `a\.safetensors`, which the folder does not"):
        load_model_facts(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (json.dumps(QWEN).encode()[:100], "config.json is not JSON: "),
        (b"\x80\x81\xff", "config.json is not JSON: it holds bytes that are no text"),
        (b"[1, 2]", "config.json holds no JSON object"),
        (b'{"a":' + b"9" * 5000 + b"}", "config.json holds a number of thousands of digits"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "config.json is nested thousands of levels deep"),
        (json.dumps(QWEN).encode("utf-16"), "config.json is not UTF-8 without a byte order mark"),
        (json.dumps(QWEN).encode("utf-16-le"), "config.json is not UTF-8 without a byte order"),
        (json.dumps(QWEN).encode("utf-8-sig"), "config.json is not UTF-8 without a byte order"),
    ],
    ids=["cut short", "no text", "a list", "digits", "deep", "utf-16", "utf-16 unmarked", "marked"],
)
def test_a_broken_config_says_so(tmp_path: Path, config: bytes, said: str) -> None:
    folder(tmp_path, {}, config)
    with pytest.raises(UnusableModel) as refused:
        load_model_facts(tmp_path)
    assert str(refused.value).startswith(said)


def gguf(path: Path) -> bytes:
    """A small GGUF file."""
    writer = GGUFWriter(str(path), "qwen3")
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_token_list([f"t{n}" for n in range(100)])
    writer.add_tensor("token_embd.weight", np.zeros((100, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_a_gguf_file_cut_anywhere_says_so(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "whole.gguf")
    assert read_gguf(tmp_path / "whole.gguf")[1] == 100 * 64 * 2
    cut = tmp_path / "cut.gguf"
    for length in [0, 3, *range(4, len(whole) - 64, 331), len(whole) - 64]:
        cut.write_bytes(whole[:length])
        said = "is no GGUF file" if length < 4 else "is cut short or damaged"
        with pytest.raises(UnusableModel, match=said):
            read_gguf(cut)


def test_a_gguf_file_of_absurd_counts_is_refused_at_once(tmp_path: Path) -> None:
    """The library would count to 2^62."""
    whole = gguf(tmp_path / "whole.gguf")
    for at in (8, 16):  # tensors, key-values
        damaged = whole[:at] + struct.pack("<Q", 1 << 62) + whole[at + 8 :]
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        with pytest.raises(UnusableModel, match=r"damaged\.gguf is cut short or damaged"):
            read_gguf(tmp_path / "damaged.gguf")


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ({"total_bytes": -5}, "`_rigspec.total_bytes` is -5, a size is never negative"),
        ({"total_bytes": 0}, "`_rigspec.total_bytes` is 0, a size is at least 1"),
        ({"total_bytes": "abc"}, "`_rigspec.total_bytes` is `abc`, which is no whole number of"),
        ({"total_bytes": "16381470720"}, "`_rigspec.total_bytes` is `16381470720`, which is no"),
        ({"total_bytes": 1.5}, "`_rigspec.total_bytes` is `1.5`, which is no whole number of"),
        ({"total_bytes": True}, "`_rigspec.total_bytes` is `True`, which is no whole number of"),
        ({"total_bytes": 10**30}, "`_rigspec.total_bytes` is 1,000,000,000,000,000,000,000,000,0"),
        ({"total_bytes": 9, "draft_bytes": 10}, "`_rigspec.draft_bytes` is 10, `total_bytes` is"),
        ({"draft_bytes": 10}, "`_rigspec.draft_bytes` is 10, there are no `total_bytes`"),
        ([], "`_rigspec` is `[]`, it holds an object"),
    ],
)
def test_sizes_that_cannot_be_are_named_with_the_saved_file(
    tmp_path: Path, pin: object, said: str
) -> None:
    saved = tmp_path / "ORG__NAME.json"
    saved.write_text(json.dumps(QWEN | {"_rigspec": pin}))
    with pytest.raises(UnusableModel) as refused:
        load_model_facts("ORG/NAME", [tmp_path])
    assert str(refused.value).startswith(f"{saved}: {said}")


def test_a_saved_model_without_sizes_is_sized_by_its_dimensions(tmp_path: Path) -> None:
    (tmp_path / "ORG__NAME.json").write_text(json.dumps(QWEN | {"_rigspec": {"name": "a/b"}}))
    found = load_model_facts("ORG/NAME", [tmp_path])
    assert found is not None
    assert found.sizes is None


def test_a_gguf_file_of_nested_arrays_is_refused(tmp_path: Path) -> None:
    # an array's element type, its count of one, twenty thousand times over
    nested = struct.pack("<IQ", 9, 1) * 20_000
    key = b"general.name"
    field = struct.pack("<Q", len(key)) + key + struct.pack("<I", 9) + nested
    field += struct.pack("<IQB", 0, 1, 0)
    path = tmp_path / "nest.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + field + bytes(4096))
    with pytest.raises(UnusableModel, match=r"nest\.gguf nests arrays thousands of levels deep"):
        read_gguf(path)


def test_a_gguf_file_without_dimensions_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    writer = GGUFWriter(str(tmp_path / "bare.gguf"), "qwen3")
    writer.add_tensor("token_embd.weight", np.zeros((100, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnusableModel, match=r"bare\.gguf states no width, no vocabulary"):
        load_model_facts(tmp_path / "bare.gguf")
