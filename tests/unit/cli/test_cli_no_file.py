"""What stands where a file belongs and is none is named at its path, and nothing waits for it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from asked import ROOT, fit, rigspec
from click.testing import Result
from gguf import GGUFWriter

SAVED = ROOT / "rigs" / "models" / "Qwen__Qwen3.6-27B-FP8.json"
STARTER = (ROOT / "rigs" / "starter.yaml").read_text(encoding="utf-8")
KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "loop": (lambda path: path.symlink_to(path.name), "is a link that leads back to itself"),
    "stale link": (lambda path: path.symlink_to("gone"), "is a link to nothing"),
    "pipe": (lambda path: os.mkfifo(path), "is no regular file"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[Callable[[Path], None], str]:
    made: tuple[Callable[[Path], None], str] = KINDS[request.param]
    return made


def ask(*words: str) -> Result:
    return fit(*words, "--gpu", "rtx-3090", "--context", "1024")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "hf_quant_config.json"])
def test_checkpoint_with_no_file_at_a_name(
    kind: tuple[Callable[[Path], None], str], name: str, tmp_path: Path
) -> None:
    make, words = kind
    config = json.loads(SAVED.read_text(encoding="utf-8"))
    if name != "config.json":
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    make(tmp_path / name)
    for done in (ask(str(tmp_path)), rigspec("model", "add", str(tmp_path))):
        assert done.exit_code == 2
        assert f"{name} {words}" in done.output


@pytest.mark.parametrize("name", ["models/Qwen__Qwen3.6-27B-FP8.json", "starter.fabric.json"])
def test_no_file_beside_a_spec_is_found_at_its_path(
    kind: tuple[Callable[[Path], None], str], name: str, tmp_path: Path
) -> None:
    make, words = kind
    (tmp_path / "models").mkdir()
    (tmp_path / "starter.yaml").write_text(STARTER, encoding="utf-8")
    make(tmp_path / name)
    done = rigspec("check", str(tmp_path / "starter.yaml"))
    assert done.exit_code == 2
    assert f"{tmp_path / name} {words}" in done.output


def test_owner_s_table_that_is_no_file(
    kind: tuple[Callable[[Path], None], str], tmp_path: Path
) -> None:
    make, words = kind
    (tmp_path / "rigs").mkdir()
    (tmp_path / "catalog").mkdir()
    (tmp_path / "rigs" / "starter.yaml").write_text(STARTER, encoding="utf-8")
    make(tmp_path / "catalog" / "gpus.yaml")
    done = rigspec("check", str(tmp_path / "rigs" / "starter.yaml"))
    assert done.exit_code == 2
    assert f"catalog/gpus.yaml {words}" in done.output


def test_spec_that_is_no_file_is_not_asked_for_once_more(
    kind: tuple[Callable[[Path], None], str], tmp_path: Path
) -> None:
    make, words = kind
    make(tmp_path / "mine.yaml")
    done = rigspec("check", str(tmp_path / "mine.yaml"))
    assert done.exit_code == 2
    assert f"the file {words}" in done.output
    assert "did you mean" not in done.output


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "the folder holds neither config.json nor a GGUF file"),
        ({}, "config.json states no `hidden_size`, `vocab_size`, `num_hidden_layers`"),
        ({"hidden_size": 8, "vocab_size": 64, "num_hidden_layers": 32.5},
         "config.json states no whole number in `num_hidden_layers: 32.5`"),
    ],
)  # fmt: skip
def test_folder_that_is_no_model_says_what_it_lacks(
    config: dict[str, float] | None, said: str, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = ask(str(tmp_path))
    assert done.exit_code == 2
    assert said in done.output


def test_a_gguf_file_asked_for_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    done = rigspec("model", "add", str(tmp_path), "--file", "x.gguf")
    assert done.exit_code == 2
    assert "has no file `x.gguf`" in done.output
    assert "neither config.json" not in done.output


def test_a_split_gguf_without_its_second_part(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "x-00001-of-00002.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = rigspec("model", "add", str(tmp_path))
    assert done.exit_code == 2
    assert "x-00002-of-00002.gguf is not there" in done.output


def test_gguf_of_a_version_to_come(tmp_path: Path) -> None:
    file = tmp_path / "new.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 99, 1, 1) + bytes(100))
    done = ask(str(file))
    assert done.exit_code == 2
    assert "GGUF version 99" in done.output
