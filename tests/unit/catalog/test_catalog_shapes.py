"""A config held against the tensor headers of the same checkpoint."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from gguf import GGUFWriter

from rigspec.catalog.model_parts import Layer
from rigspec.catalog.model_shapes import Shapes, as_record, contradicted, from_record, shapes_of
from rigspec.catalog.models import UnusableModel, load_model_facts
from rigspec.cli import main

LAYERS = 4
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 256, "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip
HEAD = {"model.embed_tokens.weight": (256, 64), "lm_head.weight": (256, 64)}
OF_A_LAYER = {
    "self_attn.q_proj": (64, 64), "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64),
    "self_attn.o_proj": (64, 64), "mlp.gate_proj": (128, 64), "mlp.up_proj": (128, 64),
    "mlp.down_proj": (64, 128),
}  # fmt: skip
BESIDE = {
    "vision_tower.layers.9.self_attn.q_proj.weight": (8, 8),
    "mtp.layers.7.self_attn.k_proj.weight": (8, 8),
}


def folder(path: Path, **changed: object) -> Path:
    tensors = HEAD | BESIDE
    for layer in range(LAYERS):
        tensors |= {f"model.layers.{layer}.{k}.weight": v for k, v in OF_A_LAYER.items()}
    header: dict[str, Any] = {}
    at = 0
    for name, (rows, columns) in tensors.items():
        end = at + 2 * rows * columns
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    (path / "config.json").write_text(json.dumps(CONFIG | changed))
    return path


def gguf(
    path: Path, blocks: int, kv_heads: int = 2, *, held: range = range(LAYERS), width: int = 64
) -> Path:
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(blocks)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(kv_heads)
    writer.add_vocab_size(256)
    if 0 in held:
        writer.add_tensor("token_embd.weight", np.zeros((256, 64), dtype=np.float16))
    for layer in held:
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.zeros((64, 64), dtype=np.float16))
        writer.add_tensor(f"blk.{layer}.attn_k.weight", np.zeros((32, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def said_everywhere(source: Path, said: str, tmp_path: Path) -> bool:
    """By `model add`, by `fit` of the source, and by what a check reads of the saved file."""
    saved = tmp_path / "saved"
    added = CliRunner().invoke(
        main, ["model", "add", str(source), "--as", "it", "--to", str(saved)]
    )
    fitted = CliRunner().invoke(main, ["fit", str(source), "--gpu", "rtx-3090"])
    facts = load_model_facts("it", [saved])
    assert facts is not None
    found = [said in added.output, said in fitted.output, said in facts.doubts]
    assert len(set(found)) == 1, found
    return found[0]


@pytest.mark.parametrize(("stated", "doubted"), [(32000, True), (128000, False)])
def test_a_vocabulary_that_the_table_of_words_contradicts_is_a_doubt(
    stated: int, doubted: bool
) -> None:
    tables = [("model.embed_tokens.weight", (128256, 64)), ("model.layers.0.x.weight", (8, 8))]
    shapes = from_record(as_record(shapes_of(tables) or Shapes(0)))
    said = f"the table of words has 128,256 rows, `vocab_size` is {stated:,}"
    assert list(contradicted(shapes, (Layer(None),), 1, stated, 64)) == ([said] if doubted else [])


@pytest.mark.parametrize(("width", "doubted"), [(64, False), (32, False), (48, True), (128, True)])
def test_a_width_that_the_table_of_words_contradicts_is_a_doubt(width: int, doubted: bool) -> None:
    # 32 columns hold 64 values of 4 bits
    tables = [("token_embd.weight", (1000, width)), ("blk.0.x.weight", (8, 8))]
    shapes = from_record(as_record(shapes_of(tables) or Shapes(0)))
    said = f"the table of words is {width:,} wide, `hidden_size` is 64"
    assert list(contradicted(shapes, (Layer(None),), 1, 1000, 64)) == ([said] if doubted else [])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden_size": 96}, "the table of words is 64 wide, `hidden_size` is 96"),
        ({"num_key_value_heads": 4},
         "the key projections have 32 rows, the config's heads make 64"),
        ({"num_attention_heads": 8},
         "the key projections have 32 rows, the config's heads make 16"),
        ({"num_attention_heads": 8, "head_dim": 16},
         "the query projections have 64 rows, the config's heads make 128"),
        ({"num_hidden_layers": 2}, "the files hold 4 layers, the config states 2"),
        ({"num_hidden_layers": 10}, "the files hold 4 layers, the config states 10"),
    ],
)  # fmt: skip
def test_a_config_that_its_headers_contradict_is_a_doubt(
    changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    assert said_everywhere(folder(tmp_path, **changed), said, tmp_path)
    folder(tmp_path)
    assert not said_everywhere(tmp_path, said, tmp_path)


def test_a_config_that_its_headers_bear_out_raises_no_doubt(tmp_path: Path) -> None:
    facts = load_model_facts(folder(tmp_path))
    assert facts is not None
    assert facts.doubts == ()


def test_a_gguf_that_lacks_layers_is_a_doubt(tmp_path: Path) -> None:
    said = "the files hold 4 layers, the config states 80"
    assert said_everywhere(gguf(tmp_path / "a.gguf", 80), said, tmp_path)
    assert not said_everywhere(gguf(tmp_path / "b.gguf", LAYERS), said, tmp_path)
    heads = "the key projections have 32 rows, the config's heads make 64"
    assert said_everywhere(gguf(tmp_path / "c.gguf", LAYERS, kv_heads=4), heads, tmp_path)
    width = "the table of words is 64 wide, `llama.embedding_length` is 96"
    assert said_everywhere(gguf(tmp_path / "d.gguf", LAYERS, width=96), width, tmp_path)


def test_the_parts_of_a_split_gguf_are_read_as_one(tmp_path: Path) -> None:
    """Each holds some of the layers: sized by one of them a model would fit anywhere."""
    first = gguf(tmp_path / "a-00001-of-00002.gguf", LAYERS, held=range(3))
    gguf(tmp_path / "a-00002-of-00002.gguf", LAYERS, held=range(3, LAYERS))
    whole = load_model_facts(gguf(tmp_path / "a.gguf", LAYERS))
    assert whole is not None
    assert whole.sizes is not None
    facts = load_model_facts(first)
    assert facts is not None
    assert facts.sizes is not None
    assert facts.doubts == ()
    assert facts.sizes.total_bytes == whole.sizes.total_bytes


def test_a_split_gguf_that_lacks_a_part_is_refused(tmp_path: Path) -> None:
    first = gguf(tmp_path / "a-00001-of-00002.gguf", LAYERS)
    with pytest.raises(UnusableModel, match=r"^a-00002-of-00002\.gguf is not there"):
        load_model_facts(first)


@pytest.mark.parametrize("shape", [(128256 * 32,), (), (1, 128256, 64)])
def test_a_table_of_words_that_is_no_table_counts_no_words(shape: tuple[int, ...]) -> None:
    # packed into one row, as quantized files may hold it: its length is no vocabulary
    shapes = shapes_of([("embed_tokens.weight", shape), ("model.layers.0.x.weight", (8, 8))])
    assert list(contradicted(shapes, (Layer(None),), 1, 128256, 64)) == []


def test_tables_of_two_widths_contradict_nothing() -> None:
    # a second table may be of another part, and nobody says which is the model's
    tables = [("embed_tokens.weight", (1000, 64)), ("x.embed_tokens.weight", (1000, 48)),
              ("model.layers.0.x.weight", (8, 8))]  # fmt: skip
    assert list(contradicted(shapes_of(tables), (Layer(None),), 1, 1000, 64)) == []


def test_one_column_of_words_tells_no_width() -> None:
    # rows packed into one value each, as vectors of 64 are never one wide: nothing to compare
    shapes = shapes_of([("embed_tokens.weight", (128256, 1)), ("model.layers.0.x.weight", (8, 8))])
    assert list(contradicted(shapes, (Layer(None),), 1, 128256, 64)) == []
