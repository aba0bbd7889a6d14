"""GGUF files that say two things at once, or say them under keys of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from rigspec.catalog.gguf_config import config_of_gguf
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import UnusableModel, load_model_facts
from rigspec.errors import RigspecError
from rigspec.hub import read_local, save
from rigspec.sizing.amount import exact
from rigspec.sizing.cards import Card
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict

LAYERS = 4


def written(
    path: Path,
    architecture: str = "qwen3",
    *,
    blocks: int = LAYERS,
    width: int = 512,
    context: int = 4096,
    kv_heads: int | list[int] = 2,
    window: int = 0,
    parts: int = 0,
    number: int | None = None,
    heads: int | None = 8,
    experts: int = 0,
    more: tuple[str, ...] = (),
) -> Path:
    """Four layers of 512 columns, whatever the key-values say."""
    writer = GGUFWriter(str(path), architecture)
    writer.add_block_count(blocks)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(1024)
    if heads is not None:
        writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(64)
    writer.add_vocab_size(256)
    if window:
        writer.add_sliding_window(window)
    if parts:
        writer.add_uint16("split.count", parts)
    if number is not None:
        writer.add_uint16("split.no", number)
    writer.add_tensor("token_embd.weight", np.zeros((256, 512), dtype=np.float16))
    for layer in range(LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.zeros((512, 512), dtype=np.float16))
        writer.add_tensor(f"blk.{layer}.attn_k.weight", np.zeros((128, 512), dtype=np.float16))
        for name in ("up", "gate", "down") if experts else ():
            held = np.zeros((experts, 64, 512), dtype=np.float32)
            writer.add_tensor(f"blk.{layer}.ffn_{name}_exps.weight", held)
        if experts:  # a shared one, which `--cpu-moe` leaves on the card
            shared = np.zeros((64, 512), dtype=np.float16)
            writer.add_tensor(f"blk.{layer}.ffn_up_shexp.weight", shared)
    for name in more:
        writer.add_tensor(name, np.zeros((256, 512), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path: Path) -> ModelFacts:
    found = load_model_facts(path)
    assert found is not None
    return found


def test_a_file_that_says_one_thing_is_understood(tmp_path: Path) -> None:
    assert read(written(tmp_path / "m.gguf")).known
    assert read(written(tmp_path / "l.gguf", kv_heads=[2] * LAYERS)).kv_heads == 2


@pytest.mark.parametrize("window", [0, 512], ids=["full", "windows"])
@pytest.mark.parametrize("width", [1024, 256])
def test_a_width_that_the_tensors_do_not_have_is_a_doubt(
    tmp_path: Path, width: int, window: int
) -> None:
    # 512 values are no packed half of 1,024: a GGUF header counts values
    found = read(written(tmp_path / "m.gguf", width=width, window=window))
    said = f"the table of words is 512 wide, `qwen3.embedding_length` is {width:,}"
    assert said in found.doubts
    assert found.contradicted


@pytest.mark.parametrize("count", [2, 5])
def test_a_list_of_another_length_than_the_layers_is_refused(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "m.gguf", kv_heads=[2] * count)
    said = f"`qwen3.attention.head_count_kv` names {count} layers, `qwen3.block_count` says 4"
    with pytest.raises(UnusableModel, match=said):
        read(path)


def test_a_part_whose_others_cannot_be_found_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", parts=3)
    with pytest.raises(UnusableModel, match=r"m\.gguf is a part of 3 \(`split\.count`\)"):
        read(path)
    assert read(written(tmp_path / "whole.gguf", parts=1)).known
    for part in (1, 2):
        written(tmp_path / f"m-{part:05}-of-00002.gguf", parts=2)
    assert read(tmp_path / "m-00001-of-00002.gguf").sizes is not None


def test_a_later_part_is_not_the_model(tmp_path: Path) -> None:
    # llama.cpp: "model must be loaded with the first split"
    for part in (1, 2):
        written(tmp_path / f"m-{part:05}-of-00002.gguf", parts=2)
    said = r"m-00002-of-00002\.gguf is part 2 of 2: name the first, m-00001-of-00002\.gguf"
    second = tmp_path / "m-00002-of-00002.gguf"
    for refused in (
        lambda: read(second),
        lambda: read_local(second),
        lambda: read_local(tmp_path, second.name),
    ):
        with pytest.raises(UnusableModel, match=said):
            refused()


def test_a_part_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    # llama.cpp: "invalid split file idx: 0 (file: …), expected 1"
    first, second = (tmp_path / f"m-{part:05}-of-00002.gguf" for part in (1, 2))
    written(first, parts=2, number=0)
    written(second, parts=2, number=1)
    assert read(first).known
    second.write_bytes(first.read_bytes())
    said = r"m-00002-of-00002\.gguf is part 1 by its own header \(`split\.no`\), part 2 by its name"
    with pytest.raises(UnusableModel, match=said):
        read(first)


def test_a_cache_of_heads_that_are_not_stated_is_no_cache_of_nothing(tmp_path: Path) -> None:
    found = read(written(tmp_path / "m.gguf", heads=None))
    card = Card("a card", exact(24.0), 936.0, (8, 6))
    sized = estimate(found, card, EngineSettings(engine=Engine.LLAMA_CPP, context=4096))
    assert (sized.needed, sized.largest_context) == (None, None)
    assert sized.boots is Verdict.CLOSE


@pytest.mark.parametrize(("architecture", "known"), [
    ("qwen3", True), ("qwen9", False), ("qwen3moe", True), ("llama", True), ("llamas", False),
])  # fmt: skip
def test_an_architecture_goes_by_its_whole_name(
    tmp_path: Path, architecture: str, known: bool
) -> None:
    found = read(written(tmp_path / "m.gguf", architecture))
    said = f"the architecture `{architecture}` is not known to rigspec"
    assert (said in found.doubts) is not known


def test_what_is_refused_or_doubted_goes_by_the_keys_of_the_file(tmp_path: Path) -> None:
    found = read(written(tmp_path / "m.gguf", "qwen3next", context=0))
    assert "`qwen3next.context_length` is 0: the longest context is not known" in found.doubts
    path = written(tmp_path / "m.gguf", blocks=9999)
    with pytest.raises(UnusableModel, match=r"^`qwen3\.block_count` is 9,999, no model is beyond"):
        read(path)


def test_so_does_what_is_refused_of_a_file_that_is_saved(tmp_path: Path) -> None:
    written(tmp_path / "m.gguf", blocks=9999)
    with pytest.raises(RigspecError, match=r"`qwen3\.block_count` is 9,999"):
        save(read_local(tmp_path / "m.gguf"), "it", tmp_path / "saved")


def test_the_bytes_of_experts_are_read_out_of_the_header_and_saved(tmp_path: Path) -> None:
    assert read(written(tmp_path / "dense.gguf")).sizes is not None
    dense, moe = (
        read(written(tmp_path / f"{count}.gguf", "qwen3moe", experts=count)).sizes
        for count in (0, 8)
    )
    assert dense is not None
    assert moe is not None
    assert dense.expert_bytes is None
    assert moe.expert_bytes == LAYERS * 3 * 8 * 64 * 512 * 4
    save(read_local(tmp_path / "8.gguf", None), "a/b", tmp_path / "saved")
    saved = load_model_facts("a/b", [tmp_path / "saved"])
    assert saved is not None
    assert saved.sizes is not None
    assert saved.sizes.expert_bytes == moe.expert_bytes
    assert saved.sizes.words_bytes == 256 * 512 * 2


def test_blocks_of_a_gguf_count_layers_that_draft_in() -> None:
    # GLM-4.5-Air: 47 blocks of which the last drafts
    values = {
        "general.architecture": "glm4moe", "glm4moe.block_count": 47,
        "glm4moe.nextn_predict_layers": 1,
    }  # fmt: skip
    assert config_of_gguf(values)["num_hidden_layers"] == 46
    assert config_of_gguf(values | {"glm4moe.nextn_predict_layers": 0})["num_hidden_layers"] == 47
    assert config_of_gguf(values | {"glm4moe.nextn_predict_layers": 47})["num_hidden_layers"] == 47


def test_an_output_matrix_in_a_later_part_is_no_copy_of_the_table(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-{part:05}-of-00002.gguf" for part in (1, 2))
    for told, tied in (((), True), (("output.weight",), False)):
        written(first, parts=2)
        written(second, parts=2, more=told)
        assert read(first).tied is tied


def test_tables_by_layer_are_on_no_card(tmp_path: Path) -> None:
    plain = read(written(tmp_path / "m.gguf")).sizes
    more = ("per_layer_token_embd.weight",)
    assert plain is not None
    tables = read(written(tmp_path / "t.gguf", more=more)).sizes
    assert tables is not None
    assert tables.total_bytes == plain.total_bytes
