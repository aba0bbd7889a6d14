"""`rigspec check` says below `ok` what no rule could judge."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.rules.context import saved_context
from rigspec.rules.run import unchecked
from rigspec.rules.sizable import why_unsized
from rigspec.spec.load import load_text

ROOT = Path(__file__).resolve().parents[3]
CONFIG = (ROOT / "rigs" / "models" / "Qwen__Qwen3.6-27B-FP8.json").read_text()
STARTER = (ROOT / "rigs" / "starter.yaml").read_text()


def said(spec: Path) -> str:
    result = CliRunner().invoke(main, ["check", str(spec)])
    assert result.exit_code == 0
    return result.output.rpartition(f"{spec}: ok")[2]


def test_a_model_that_nobody_has_read_is_named_with_what_reads_it(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(STARTER.replace("Qwen/Qwen3.6-27B-FP8", "Qwen/Qwen3.6-27B-FP9"))
    end = said(spec)
    assert "whether `qwen` fits was not checked" in end
    assert "`rigspec model add Qwen/Qwen3.6-27B-FP9@e89b16ebf198" in end


def test_a_saved_model_of_other_capitals_is_named(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(STARTER.replace("Qwen/Qwen3.6-27B-FP8", "qwen/qwen3.6-27b-fp8"))
    (tmp_path / "models").mkdir()
    assert "capitals" not in said(spec)
    saved = tmp_path / "models" / "Qwen__Qwen3.6-27B-FP8.json"
    saved.write_text(CONFIG)
    assert "Qwen__Qwen3.6-27B-FP8.json differs in capitals only" in " ".join(said(spec).split())


def test_a_spec_cut_off_before_its_services_serves_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(STARTER.partition("\nservices:")[0] + "\n")
    assert "nothing is served" in said(spec)


def test_a_spec_with_its_facts_leaves_nothing_unchecked() -> None:
    assert "\n  " not in said(ROOT / "rigs" / "starter.yaml")


def test_weights_that_lie_on_the_host_are_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    end = said(Path("rigs/home.yaml"))
    assert "whether `transcribe` fits was not checked" in end
    assert "`rigspec model add /srv/models/cohere-transcribe-03-2026` where that lies" in end
    assert "`rigspec model add ORG/NAME --as cohere-transcribe-03-2026`" in end
    assert "`glm`" not in end


@pytest.mark.parametrize("inside", [".", "rigs", "elsewhere"])
@pytest.mark.parametrize("spec", ["rigs/mine.yaml", "specs of mine/mine.yaml"])
def test_the_command_that_is_advised_saves_where_the_spec_looks(
    inside: str, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("rigs", "elsewhere", "specs of mine"):
        (tmp_path / folder).mkdir()
    weights = tmp_path / "srv" / "chat"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text(CONFIG)
    source = f"    path: {weights}"
    (tmp_path / spec).write_text(re.sub(r"(?m)^    hub:(.*\n){3}", f"{source}\n", STARTER))
    monkeypatch.chdir(tmp_path / inside)
    shown = Path(os.path.relpath(tmp_path / spec))
    advised = re.search(r"`rigspec (model add [^`]*)` where that lies", said(shown))
    assert advised is not None
    assert CliRunner().invoke(main, shlex.split(advised[1])).exit_code == 0
    assert "was not checked" not in said(shown)
    assert not (tmp_path / "rigs" / "rigs").exists()


def test_a_spec_of_the_wrong_shape_says_that_more_may_come(tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(STARTER.replace("count: 2", "count: two"))
    result = CliRunner().invoke(main, ["check", str(spec)])
    assert result.exit_code == 2
    assert "judged once the above is repaired" in result.output.rpartition("1 error")[2]


def test_a_folder_is_refused_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STARTER)
    result = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert result.exit_code == 2
    assert f"`{tmp_path}/*.yaml`" in result.output
    assert "once the above is repaired" not in result.output


def test_a_part_of_a_model_in_host_memory_was_not_checked() -> None:
    text = STARTER.replace("engine: vllm", "engine: llama_cpp").replace(
        "    tensor_parallel_size: 2\n", "    gpu_layers: 40\n"
    )
    loaded = load_text("mine.yaml", text)
    assert loaded.rig is not None
    (end,) = unchecked(loaded.rig, saved_context(loaded.rig, ROOT / "rigs/mine.yaml"))
    assert "`qwen` fits was not checked: `gpu_layers: 40` of 65 (the output is one) leaves" in end


GGUF = (ROOT / "tests/errors/models/Example__MoE-30B-GGUF.json").read_text()


@pytest.mark.parametrize("by_path", [False, True])
def test_a_gguf_file_is_not_sized_by_the_config_of_its_checkpoint(
    tmp_path: Path, by_path: bool
) -> None:
    spec, saved = tmp_path / "mine.yaml", tmp_path / "models"
    saved.mkdir()
    hub = re.search(r"(?m)^    hub:(.*\n){3}", STARTER)
    assert hub is not None
    source = "    path: /srv/m/q.gguf\n" if by_path else f"{hub[0]}    file: q.gguf\n"
    spec.write_text(STARTER.replace(hub[0], source).replace("engine: vllm", "engine: llama_cpp"))
    name = "q.gguf" if by_path else "Qwen__Qwen3.6-27B-FP8"
    rig = load_text("mine.yaml", spec.read_text()).rig
    assert rig is not None
    (saved / f"{name}.json").write_text(CONFIG)
    assert not saved_context(rig, spec).models
    wanted = "nothing is saved of it" if by_path else "nothing is saved of its `q.gguf`"
    context = saved_context(rig, spec)
    told = "".join(unchecked(rig, context))
    assert wanted in told
    assert "capitals" not in told
    where = "`/srv/m/q.gguf`" if by_path else "`Qwen/Qwen3.6-27B-FP8`, file `q.gguf`"
    assert why_unsized(rig, "qwen", context) == f"nothing is saved of {where}"
    (saved / f"{name}.json").write_text(GGUF)  # of another file
    assert bool(saved_context(rig, spec).models) is by_path
    (saved / f"{name}.json").write_text(GGUF.replace("MoE-30B-Q4_K_M.gguf", "q.gguf"))
    assert saved_context(rig, spec).models["qwen"].is_gguf
