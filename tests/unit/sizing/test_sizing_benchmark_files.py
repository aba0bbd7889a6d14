"""What the error benchmark is given: no file of cases, no models, no target, impossible cases."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sizing import ALL, DATA, main, run
from benchmarks.sizing_faults import faults_of
from benchmarks.sizing_predict import Declined, Row
from benchmarks.sizing_yaml import read_yaml

MODELS = DATA / "model-configs"
RUN: dict[str, Any] = {
    "id": "mine",
    "kind": "budget",
    "source": {"url": "https://example.org"},
    "engine": "vllm",
    "engine_family": "vllm",
    "engine_version": "0.30.0",
    "model": "Qwen/Qwen3-8B",
    "config": "Qwen__Qwen3-8B.json",
    "arch": "dense-gqa",
    "gpu": "rtx-3090",
    "gpu_count": 1,
    "tp": 1,
    "gpu_memory_utilization": 0.92,
    "max_model_len": 16384,
    "measured": {
        "weights_gib_per_gpu": 15.3,
        "available_kv_gib": 4.7,
        "kv_cache_tokens": 34000,
        "decode": [{"concurrency": 1, "tok_s": 48, "context": 1000}],
    },
}


def ran(folder: Path, *cases: object) -> tuple[list[Row], list[Declined]]:
    (folder / "cases.yaml").write_text(json.dumps(cases), encoding="utf-8")
    return run(folder / "cases.yaml", MODELS)


def stopped(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a run ends with."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err.strip()


def test_a_whole_run_has_no_fault(tmp_path: Path) -> None:
    rows, declined = ran(tmp_path, RUN)
    assert declined == []
    assert {row.quantity for row in rows} >= {"weights_gib_per_gpu", "decode_tok_s"}


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("gpu_count", -1, "`gpu_count: -1` is no number of cards or copies: 1 to 4,096"),
        ("gpu_count", "x", "`gpu_count: x` is no number"),
        ("gpu_count", math.nan, "is no finite number"),
        ("gpu_count", 1_000_000_000, "is no number of cards"),
        ("tp", 0, "`tp: 0` is no number of cards"),
        ("tp", 1.5, "`tp: 1.5` is no whole number"),
        ("tp", [1], "`tp: [1]` is no number"),
        ("tp", True, "`tp: True` is no number"),
        ("gpu_memory_utilization", 92, "is no share of a card's memory: 0.001 to 1"),
        ("gpu_memory_utilization", "92%", "`gpu_memory_utilization: 92%` is no number"),
        ("gpu_memory_utilization", math.inf, "is no finite number"),
        ("max_model_len", -2, "is no number of tokens"),
        ("max_model_len", "long", "`max_model_len: long` is no number"),
        ("max_num_seqs", 10**400, "is no finite number"),
        ("kv_cache_memory_bytes", 0, "is no size in bytes"),
        ("engine_version", [0, 3], "is no text"),
        ("engine_family", "exllamav3", "is none of vllm, sglang and llama.cpp"),
        (
            "engine_family",
            "trt-llm",
            "`engine_family: trt-llm` is none of vllm, sglang and llama.cpp",
        ),
        ("model", {"hub": 5}, "is no text"),
        ("gpu", ["a"], "is no text"),
        ("enforce_eager", [True], "is neither true nor false"),
        ("tensor_split", [3, -1], "is no share of a split"),
        ("tensor_split", "all", "is no list of shares"),
        ("measured", 5, "`measured: 5` is no mapping of figures"),
    ],
)
def test_a_setting_that_cannot_be_is_declined(
    tmp_path: Path, key: str, value: object, why: str
) -> None:
    rows, (declined,) = ran(tmp_path, {**RUN, key: value}, {**RUN, "id": "other"})
    assert (declined.id, declined.quantity) == ("mine", ALL)
    assert why in declined.reason
    assert {row.id for row in rows} == {"other"}  # one bad case never stops the run


def test_the_key_is_named_that_holds_the_engine(tmp_path: Path) -> None:
    _, (declined,) = ran(tmp_path, {**RUN, "engine_family": None, "engine": "trt-llm"})
    assert "`engine: trt-llm` is none of" in declined.reason


def models_beside(folder: Path) -> Path:
    """A folder with another model in it, below a config that belongs to something else."""
    here = folder / "outer" / "models"
    here.mkdir(parents=True)
    shutil.copy(MODELS / "Qwen__Qwen3-8B.json", folder / "outer" / "config.json")
    shutil.copy(MODELS / "openai__gpt-oss-120b.json", here)
    return here


@pytest.mark.parametrize("key", ["config", "model"])
@pytest.mark.parametrize("named", ["..", "../.json", "{outer}", "outer", "./outer"])
def test_a_config_outside_the_folder_of_models_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, named: str
) -> None:
    here = models_beside(tmp_path)
    monkeypatch.chdir(tmp_path)
    named = named.format(outer=tmp_path / "outer")
    case = RUN | {"model": "Example/None", "config": None} | {key: named}
    (tmp_path / "cases.yaml").write_text(json.dumps([case]), encoding="utf-8")
    rows, declined = run(tmp_path / "cases.yaml", here)
    assert rows == []
    assert all("that states its dimensions" in each.reason for each in declined)


def test_a_config_may_be_named_with_its_folder(tmp_path: Path) -> None:
    case = RUN | {"model": "Example/None", "config": "model-configs/Qwen__Qwen3-8B.json"}
    rows, declined = ran(tmp_path, case)
    assert (bool(rows), declined) == (True, [])


def test_figures_under_a_key_that_is_nearly_right_are_not_passed_over(tmp_path: Path) -> None:
    told = {key: value for key, value in RUN.items() if key != "measured"}
    rows, (declined,) = ran(tmp_path, told | {"measure": RUN["measured"]})
    assert rows == []
    assert declined.reason.endswith("there is no `measured`: is `measure` meant so?")
    assert ran(tmp_path, told) == ([], [])  # a case of which nothing was measured


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("weights_gib_per_gpu", 0, "`measured.weights_gib_per_gpu: 0` is no size of memory"),
        ("weights_gib_per_gpu", -5, "is no size of memory in GiB"),
        ("weights_gib_per_gpu", "x", "is no number"),
        ("available_kv_gib", [1], "is no number"),
        ("available_kv_gib", math.nan, "is no finite number"),
        ("kv_cache_tokens", 0, "is no number of tokens"),
        ("oom", "perhaps", "is neither true nor false"),
        ("decode", 48, "`measured.decode: 48` is no list of runs"),
        ("decode", [5], "`measured.decode[0]: 5` is no mapping of figures"),
        ("decode", [{"tok_s": 0}], "`measured.decode[0].tok_s: 0` is no speed"),
        ("decode", [{"tok_s": "fast"}], "is no number"),
        ("decode", [{"tok_s": 4, "concurrency": 0}], "`measured.decode[0].concurrency: 0`"),
        ("prefill", [{"tok_s": math.inf}], "is no finite number"),
    ],
)
def test_a_figure_that_cannot_be_is_declined(
    tmp_path: Path, key: str, value: object, why: str
) -> None:
    rows, (declined,) = ran(tmp_path, {**RUN, "measured": {**RUN["measured"], key: value}})
    assert rows == []
    assert why in declined.reason


@pytest.mark.parametrize(
    "stated",
    [
        {"surprise": 1, "notes": ["a", "b"], "source": 5},
        {"tp": None, "gpu_count": "unset"},
        {"max_model_len": "~188K (200K-alloc)"},
        {"max_model_len": "unset", "enable_prefix_caching": "unset"},
        {"max_model_len": -1, "engine_version": 0.3, "enforce_eager": "by default", "gpu": 5},
        {"speculative": False, "ep": True},
        {"tp": "1", "gpu_memory_utilization": "0.92"},
        {"max_cudagraph_capture_size": 0},
        {"tensor_split": "9,17"},
        {"measured": {**RUN["measured"], "peak_vram": "~22 GB", "compute_mib": [1.0, None]}},
        {"measured": {**RUN["measured"], "available_kv_gib": -1.44}},
    ],
)
def test_what_real_files_hold_is_no_fault(stated: dict[str, Any]) -> None:
    assert faults_of({**RUN, **stated}) == ()


def test_no_published_run_has_a_fault() -> None:
    loaded = read_yaml(DATA / "ground-truth.yaml")
    assert isinstance(loaded, dict)
    assert [case["id"] for case in loaded["cases"] if faults_of(case)] == []


def test_every_fault_of_a_case_is_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cases.yaml").write_text(json.dumps([RUN | {"tp": 0, "pp": -1}, RUN, "text"]))
    out = tmp_path / "out.json"
    arguments = ["--cases", tmp_path / "cases.yaml", "--short", "--json", out]
    assert main([str(argument) for argument in arguments]) == 0
    bad, entry = json.loads(out.read_text())["declined"]
    assert "`tp: 0`" in bad["reason"]
    assert "`pp: -1`" in bad["reason"]
    assert entry == {"id": "case-2", "quantity": "all", "reason": "it is no mapping of keys"}
    said = capsys.readouterr()
    assert "declined 2." in said.out
    assert "declined mine: `tp: 0`" in said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is no file of cases: it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"\xff\xfe", "it is empty"),
        (b"[]", "its list is empty"),
        (b"cases: []\n", "its list is empty"),
        (b"cases:\n", "`cases` is no list"),
        (b"cases: {a: 1}\n", "`cases` is no list"),
        (b"cases: [a]\n", "no entry is a mapping of keys"),
        (b"case: [{id: a}]\n", "it has no key `cases`; is `case` meant so?"),
        (b"hello\n", "it is no list"),
        (b"cases:\n- id: a\n  b: [\n", ":4:1: this is not YAML: "),
        (b"cases: \xe9\n", "this is not YAML: "),
        (b"[" * 20000, "this is not YAML: "),
    ],
)
def test_a_file_that_holds_no_cases_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, why: str
) -> None:
    file = tmp_path / "cases.yaml"
    file.write_bytes(text)
    said = stopped(capsys, "--cases", file)
    assert said.startswith(str(file))
    assert why in said


def test_a_folder_is_no_file_of_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{tmp_path} is a folder" in stopped(capsys, "--cases", tmp_path)


def test_no_folder_of_models_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    file.touch()
    assert f"models: {file} is a file" in stopped(capsys, "--models", file)
    assert "no such folder of models" in stopped(capsys, "--models", tmp_path / "gone")
    assert "holds no ORG__MODEL.json" in stopped(capsys, "--models", tmp_path)


def test_sizes_that_are_none_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a__b.json").write_text("{}")
    (tmp_path / "sizes.yaml").write_text("exact:\n- {model: a/b, total_bytes: .inf}\n")
    assert "sizes.yaml holds a size that is none" in stopped(capsys, "--models", tmp_path)


def test_a_target_is_checked_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.sizing.run", lambda *_: pytest.fail("the work was begun"))
    assert f"cannot write {tmp_path}: it is a folder" in stopped(capsys, "--json", tmp_path)
    gone = tmp_path / "gone"
    assert f"there is no folder {gone}" in stopped(capsys, "--json", gone / "x.json")
    page = tmp_path / "page.md"
    page.write_text("no marks")
    assert "lacks the marks" in stopped(capsys, "--docs", page)
    assert "cannot be read" in stopped(capsys, "--docs", tmp_path / "absent.md")


def by_shell(folder: Path, *options: str, into: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "cases.yaml").write_text(json.dumps([RUN]))
    run = [sys.executable, "-m", "benchmarks.sizing", "--cases", str(folder / "cases.yaml")]
    command = ["/bin/sh", "-c", f'"$@" {into}', "sh", *run, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    done = by_shell(tmp_path, "--json", "/dev/full")
    assert done.returncode == 2
    assert done.stderr == "cannot write /dev/full: No space left on device\n"
    done = by_shell(tmp_path, into="> /dev/full")
    assert done.returncode == 3
    assert done.stderr == "the answer cannot be written: No space left on device\n"


def test_a_reader_that_goes_early_still_leaves_the_file(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = by_shell(tmp_path, "--json", str(out), into="| true")
    assert done.stderr == ""
    assert json.loads(out.read_text())["rows"]


@pytest.mark.parametrize("version", ["0.30", "0.2", "4821", "'0.30'", "0.30.1"])
def test_a_version_is_read_as_it_is_written(tmp_path: Path, version: str) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(f"cases:\n- {{id: a, engine_version: {version}, tp: 4}}\n")
    loaded = read_yaml(file)
    assert loaded == {"cases": [{"id": "a", "engine_version": version.strip("'"), "tp": 4}]}
