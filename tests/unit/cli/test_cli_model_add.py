"""`rigspec model add`: from a hub on loopback, from a folder, from GGUF; no weights are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from gguf import GGUFWriter
from loopback_hub import COMMIT, CONFIG, safetensors, serving

from rigspec import hub
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.cli import main
from rigspec.errors import RigspecError

RIGSPEC = Path(sys.executable).with_name("rigspec")
PART = {"model.layers.0.mlp.up_proj.weight": 16384}
DRAFT = {"model.mtp.fc.weight": 2048}
FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model-1.safetensors": safetensors(PART),
    "model-2.safetensors": safetensors(DRAFT | {"lm_head.weight": 8 << 20}),
    "model.safetensors.index.json": json.dumps(
        {
            "metadata": {"total_size": 1},
            "weight_map": {
                **dict.fromkeys(PART, "model-1.safetensors"),
                **dict.fromkeys([*DRAFT, "lm_head.weight"], "model-2.safetensors"),
            },
        }
    ).encode(),
}


def gguf_file(path: Path) -> Path:
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_vocab_size(256)
    writer.add_tensor("token_embd.weight", np.zeros((256, 64), dtype=np.float16))
    writer.add_tensor("output.weight", np.zeros((256, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_hub_model_is_pinned_and_sized_by_its_headers(tmp_path: Path) -> None:
    with serving({"org/tiny": FILES}) as served:
        environment = {**os.environ, "HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            [RIGSPEC, "model", "add", "org/tiny", "--to", str(tmp_path)],
            env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = load_model_facts("org/tiny", [tmp_path])
    assert facts is not None and facts.sizes is not None
    assert facts.sizes.total_bytes == 16384 + 2048 + (8 << 20)  # the headers, not the index's 1
    assert facts.sizes.draft_bytes == 2048
    assert facts.revision == COMMIT
    assert COMMIT in done.stdout
    assert served.bytes_sent["model-2.safetensors"] < 1 << 20  # the header, not the 8 MiB


def test_named_revision_is_looked_up(tmp_path: Path) -> None:
    with serving({"org/tiny": FILES}) as served:
        found = hub.read_hub("org/tiny", COMMIT, endpoint=served.url)
    assert found.revision == COMMIT
    hub.save(found, None, tmp_path)
    assert (tmp_path / "org__tiny.json").is_file()


def test_quantization_record_beside_the_config_is_kept(tmp_path: Path) -> None:
    record = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    files = {**FILES, "hf_quant_config.json": json.dumps(record).encode()}
    with serving({"org/tiny": files}) as served:
        hub.save(hub.read_hub("org/tiny", None, endpoint=served.url), None, tmp_path)
    facts = load_model_facts("org/tiny", [tmp_path])
    assert facts is not None
    assert facts.quantization.scheme is Scheme.NVFP4
    assert facts.quantization.kv_fp8


def test_hub_gguf_is_read_by_its_header_alone(tmp_path: Path) -> None:
    data = gguf_file(tmp_path / "tiny-Q8_0.gguf").read_bytes()
    with serving({"org/tiny-GGUF": {"tiny-Q8_0.gguf": data, "README.md": b"x"}}) as served:
        hub.save(hub.read_hub("org/tiny-GGUF", None, endpoint=served.url), None, tmp_path)
    facts = load_model_facts("org/tiny-GGUF", [tmp_path])
    assert facts is not None and facts.sizes is not None
    assert facts.quantization.scheme is Scheme.GGUF
    assert facts.sizes.total_bytes == 2 * 256 * 64 * 2
    assert (facts.heads, facts.kv_heads, facts.max_positions) == (4, 2, 4096)


def test_what_a_gguf_lacks_is_named_as_it_has_it(tmp_path: Path) -> None:
    writer = GGUFWriter(str(tmp_path / "m.gguf"), "qwen3moe")
    writer.add_embedding_length(64)
    writer.add_vocab_size(256)
    writer.add_tensor("token_embd.weight", np.zeros((256, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    words = ["model", "add", str(tmp_path / "m.gguf"), "--to", str(tmp_path / "saved")]
    told = CliRunner().invoke(main, words).output
    assert "the config of m.gguf states no `qwen3moe.block_count`" in told


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [("org/none", None, "org/none"), ("org/tiny", "nope", "org/tiny@nope")],
    ids=["no such model", "no such revision"],
)
def test_what_the_hub_refuses_is_one_sentence(name: str, revision: str | None, words: str) -> None:
    with serving({"org/tiny": FILES}) as served, pytest.raises(RigspecError) as caught:
        hub.read_hub(name, revision, endpoint=served.url)
    assert caught.value.message.startswith(f"cannot read {words} from the hub: ")
    assert "\n" not in caught.value.message


def test_unreachable_hub_is_one_sentence() -> None:
    with serving({}) as gone:
        url = gone.url
    with pytest.raises(RigspecError, match="cannot read org/tiny from the hub"):
        hub.read_hub("org/tiny", None, endpoint=url)


def test_config_that_is_not_json_is_said() -> None:
    with (
        serving({"org/tiny": {"config.json": b"{"}}) as served,
        pytest.raises(RigspecError, match=r"config\.json is not JSON"),
    ):
        hub.read_hub("org/tiny", None, endpoint=served.url)


def test_several_gguf_files_must_be_chosen_from(tmp_path: Path) -> None:
    data = gguf_file(tmp_path / "a.gguf").read_bytes()
    (tmp_path / "b.gguf").write_bytes(data)
    with pytest.raises(RigspecError) as caught:
        hub.read_local(tmp_path)
    assert caught.value.hint == "choose one with --file: a.gguf, b.gguf"
    assert hub.read_local(tmp_path, "b.gguf").gguf


@pytest.mark.parametrize("name", ["", "../x", "a/b/c", "/x", ".x", "x/", ".", "a\nb", "a/.."])
def test_a_name_that_no_spec_can_have_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    words = ["model", "add", str(folder), "--as", name, "--to", str(tmp_path / "models")]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert "is no name that a spec can look up" in told.output
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("beside", [(), ("a.gguf",), ("a.gguf", "b.gguf")])
def test_a_config_beside_gguf_files_alone_is_not_that_of_the_weights(
    tmp_path: Path, beside: tuple[str, ...]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    data = gguf_file(tmp_path / "tiny.gguf").read_bytes()
    for name in beside:
        (tmp_path / name).write_bytes(data)
    files = {"config.json": json.dumps(CONFIG).encode(), "tiny.gguf": data}
    with serving({"org/tiny": files | dict.fromkeys(beside, data)}) as served:
        for read in (
            lambda: hub.read_local(tmp_path),
            lambda: hub.read_hub("org/tiny", None, endpoint=served.url),
        ):
            if not beside:
                assert read().gguf
                continue
            with pytest.raises(RigspecError) as caught:
                read()
            assert caught.value.hint.startswith("choose one with --file: a.gguf, ")
    told = CliRunner().invoke(main, ["fit", str(tmp_path), "--gpu", "rtx-3090"]).output
    said = (
        f"the folder holds {len(beside) + 1} GGUF files, name one: a.gguf, "
        if beside
        else ", llama.cpp"
    )
    assert said in told
    # beside weights of its own it is
    (tmp_path / "model.safetensors").write_bytes(safetensors(PART))
    assert not hub.read_local(tmp_path).gguf


def test_split_gguf_counts_every_part(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        gguf_file(tmp_path / f"big-{part:05}-of-00003.gguf")
    found = hub.read_local(tmp_path)
    assert found.sizes is not None
    assert found.sizes.total_bytes == 3 * 2 * 256 * 64 * 2


def empty_gguf(path: Path) -> Path:
    """What `llama.cpp` ships as a vocabulary: all keys, no tensors."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_vocab_size(256)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("verb", [("model", "add"), ("fit", "--gpu", "rtx-3090")])
def test_a_file_without_weights_is_refused_and_not_saved(
    verb: tuple[str, ...], tmp_path: Path
) -> None:
    file = empty_gguf(tmp_path / "ggml-vocab-llama.gguf")
    to = ["--to", str(tmp_path / "models")] if verb == ("model", "add") else []
    done = CliRunner().invoke(main, [*verb, str(file), *to])
    assert done.exit_code == 2
    assert "ggml-vocab-llama.gguf holds no tensors: it is a vocabulary alone, or was" in done.output
    assert "hint: no engine could load it either: fetch the file again" in done.output
    assert not (tmp_path / "models").exists()


def test_the_first_part_of_a_split_gguf_may_hold_keys_alone(tmp_path: Path) -> None:
    """`llama-gguf-split --no-tensor-first-split`."""
    first = empty_gguf(tmp_path / "big-00001-of-00002.gguf")
    gguf_file(tmp_path / "big-00002-of-00002.gguf")
    for found in (hub.read_local(tmp_path).sizes, load_model_facts(first)):
        sizes = found.sizes if isinstance(found, ModelFacts) else found
        assert sizes is not None
        assert sizes.total_bytes == 2 * 256 * 64 * 2


def test_folder_is_saved_under_a_given_name(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    arguments = ["model", "add", str(folder), "--as", "GLM-tiny", "--to", str(tmp_path / "models")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    facts = load_model_facts("GLM-tiny", [tmp_path / "models"])
    assert facts is not None and facts.sizes is not None
    assert facts.sizes.total_bytes == 16384 + 2048 + (8 << 20)


@pytest.mark.parametrize("source", ["not a name", "onlyname"])
def test_source_that_is_nothing_ends_with_2_and_a_hint(source: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["model", "add", source, "--to", str(tmp_path)])
    assert done.exit_code == 2
    assert "neither a file or folder here nor a hub repository" in done.output
    assert "hint: " in done.output
    assert not list(tmp_path.iterdir())


def test_config_without_dimensions_saves_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    done = CliRunner().invoke(main, ["model", "add", str(tmp_path), "--to", str(tmp_path / "m")])
    assert done.exit_code == 2
    assert "states no `hidden_size`" in done.output
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("source", ["../nothere", "./nothere", "/not/here", "~/nothere"])
@pytest.mark.parametrize("verb", [("model", "add"), ("fit", "--gpu", "rtx-3090")])
def test_what_can_only_be_a_folder_is_not_looked_for_on_the_hub(
    verb: tuple[str, ...], source: str
) -> None:
    done = CliRunner().invoke(main, [*verb, source])
    assert done.exit_code == 2
    assert done.output.startswith(f"no such folder or file: `{source}`\nhint: a name that begins")


@pytest.mark.parametrize("source", ["gguf/none.gguf", "none.gguf", "a/b/c", "a/b.safetensors"])
@pytest.mark.parametrize("verb", [("model", "add"), ("fit", "--gpu", "rtx-3090")])
def test_what_ends_as_a_file_or_lies_deeper_is_not_looked_for_on_the_hub(
    verb: tuple[str, ...], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rigspec.hub.read_hub", lambda *_, **__: pytest.fail("the hub was asked"))
    done = CliRunner().invoke(main, [*verb, source])
    assert done.exit_code == 2
    assert done.output.startswith(f"no such folder or file: `{source}`\nhint: a name that begins")


@pytest.mark.parametrize("source", ["Org/Name-GGUF", "Org/Name-v1.5", "Org/Name@refs/pr/1"])
def test_names_of_the_hub_are_looked_for_there(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def hub(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise RigspecError("asked")

    monkeypatch.setattr("rigspec.hub.read_hub", hub)
    assert CliRunner().invoke(main, ["model", "add", source]).output.startswith("asked")
    assert asked == [source.partition("@")[0]]


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_is_no_folder(name: str) -> None:
    done = CliRunner().invoke(main, ["fit", name, "--gpu", "rtx-3090"])
    assert done.exit_code == 2
    assert done.output.startswith("no model is named\nhint: a saved model, or ORG/NAME")


def test_a_file_is_no_folder_of_saved_models(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.touch()
    fit = ["fit", "X/Y", "--gpu", "rtx-3090", "--models", str(file)]
    done = CliRunner().invoke(main, fit)
    assert done.exit_code == 2
    assert f"`{file}` is a file, not a folder of saved models" in done.output
    assert "--to" not in done.output
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    done = CliRunner().invoke(main, ["model", "add", str(tmp_path), "--to", str(file)])
    assert done.exit_code == 2
    assert f"{file} is a file, not a folder" in done.output


def test_a_size_in_words_is_called_no_number(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": "thirty-two"}))
    for verb in (("model", "add"), ("fit", "--gpu", "rtx-3090")):
        done = CliRunner().invoke(main, [*verb, str(tmp_path)])
        assert done.exit_code == 2
        assert "`num_hidden_layers` is the text `thirty-two`, which is no number" in done.output


def test_a_folder_that_is_cut_short_is_not_sent_to_model_add(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 40')
    done = CliRunner().invoke(main, ["fit", str(tmp_path), "--gpu", "rtx-3090"])
    assert done.exit_code == 2
    assert "config.json is not JSON" in done.output
    assert "model add" not in done.output


def test_every_option_of_model_add_is_explained() -> None:
    shown = CliRunner().invoke(main, ["model", "add", "--help"]).output
    assert "--to PATH    Folder of saved models" in shown


def test_a_config_alone_is_saved_and_what_it_leaves_open_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "config.json").write_bytes(FILES["config.json"])
    told = CliRunner().invoke(main, ["model", "add", str(folder), "--to", str(tmp_path / "models")])
    assert told.exit_code == 0
    assert "no file tells their sizes: weights are reckoned from the dimensions" in told.output
    assert "with a wider band" in told.output
    (folder / "model-1.safetensors").write_bytes(safetensors(PART))
    whole = CliRunner().invoke(
        main, ["model", "add", str(folder), "--to", str(tmp_path / "models")]
    )
    assert "wider band" not in whole.output
