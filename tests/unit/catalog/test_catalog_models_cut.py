"""Files of a checkpoint that are cut short, lie elsewhere, or belong to another one."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from rigspec.catalog.model_gguf import read_gguf
from rigspec.catalog.models import UnusableModel, load_model_facts
from rigspec.sizing.stored import size_doubt

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
QWEN: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())


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
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 663\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


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
        ({INDEX: index(16.38)}, f"{INDEX} states a `total_size` of 16.38, it holds a number of"),
        ({INDEX: POINTER}, f"{INDEX} is a Git LFS pointer, not the file: `git lfs pull` in its"),
        ({"a.safetensors": POINTER}, "a.safetensors is a Git LFS pointer, not the file: `git lfs"),
        ({"a.safetensors": PAGE}, "a.safetensors is a web page (HTML), not the file"),
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
        (POINTER, "config.json is a Git LFS pointer, not the file: `git lfs pull` in its folder"),
        (PAGE, "config.json is a web page (HTML), not the file: download it again"),
        (b"<html lang='en'>", "config.json is a web page (HTML), not the file: download it again"),
    ],
    ids=[
        "cut short",
        "no text",
        "a list",
        "digits",
        "deep",
        "utf-16",
        "utf-16 unmarked",
        "marked",
        "pointer",
        "page",
        "page in another form",
    ],
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


def test_a_tensor_type_of_another_build_is_named(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "whole.gguf")
    kind = whole.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8
    (tmp_path / "ik.gguf").write_bytes(whole[:kind] + struct.pack("<I", 137) + whole[kind + 4 :])
    with pytest.raises(UnusableModel, match=r"ik\.gguf has a tensor of type 137, which llama\.cpp"):
        read_gguf(tmp_path / "ik.gguf")


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
        ({"total_bytes": 9, "expert_bytes": 10}, "`_rigspec.expert_bytes` is 10, `total_bytes`"),
        ({"total_bytes": 9, "expert_bytes": -1}, "`_rigspec.expert_bytes` is -1, a size is never"),
        ({"expert_bytes": "9"}, "`_rigspec.expert_bytes` is `9`, which is no whole number of"),
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
    with pytest.raises(UnusableModel, match=r"bare\.gguf states no `qwen3\.embedding_length`, "):
        load_model_facts(tmp_path / "bare.gguf")


@pytest.mark.parametrize(("start", "said"), [(POINTER, "Git LFS pointer"), (PAGE, "web page")])
def test_what_stands_in_for_a_gguf_file_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(start)
    with pytest.raises(UnusableModel, match=rf"m\.gguf is a {said}"):
        load_model_facts(tmp_path / "m.gguf")


def test_a_whole_total_written_as_a_float_is_taken(tmp_path: Path) -> None:
    folder(tmp_path, {INDEX: index(16381470720.0)})
    found = load_model_facts(tmp_path)
    assert found is not None
    assert found.sizes is not None
    assert found.sizes.total_bytes == 16381470720
