"""The verbs: exit codes, streams, JSON, what they do not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main

ROOT = Path(__file__).resolve().parents[3]
ERRORS = ROOT / "tests" / "errors"
FINE, WARNED, BAD = (
    str(ERRORS / f"{name}.yaml") for name in ("base-is-fine", "power-factors", "gpus-unknown")
)


@pytest.mark.parametrize(
    ("files", "code"),
    [([FINE], 0), ([WARNED], 0), ([BAD], 2), ([FINE, BAD], 2), (["none.yaml"], 2), ([], 2)],
)
def test_check_ends_with_0_or_2(files: list[str], code: int) -> None:
    assert CliRunner().invoke(main, ["check", *files]).exit_code == code


def test_check_says_every_file_in_order() -> None:
    said = CliRunner().invoke(main, ["check", FINE, BAD]).output
    assert said.index(f"{FINE}: ok") < said.index(f"1 error in {BAD}")


def test_json_is_one_list_for_all_files() -> None:
    records = json.loads(CliRunner().invoke(main, ["check", "--json", WARNED, BAD]).output)
    assert [r["file"] for r in records] == [WARNED, WARNED, BAD]
    assert list(records[0]) == [
        "rule", "severity", "file", "line", "column", "path", "message", "why", "hint",
    ]  # fmt: skip
    assert json.loads(CliRunner().invoke(main, ["check", "--json", FINE]).output) == []


def test_schema_is_a_json_schema_with_descriptions() -> None:
    schema = json.loads(CliRunner().invoke(main, ["schema"]).output)
    assert schema["$defs"]["Switch"]["properties"]["generation"]["description"]
    assert schema["additionalProperties"] is False
    assert 1 in schema["properties"]["rigspec"]["enum"]  # as an editor reads `rigspec: 1`


def test_catalog_lists_and_shows_sources() -> None:
    assert "rtx-3090" in CliRunner().invoke(main, ["catalog", "gpus"]).output
    rows = json.loads(CliRunner().invoke(main, ["catalog", "--json", "gpus", "rtx-3090"]).output)
    assert all(row["source"] for row in rows if row["field"] == "memory_mib")
    unknown = CliRunner().invoke(main, ["catalog", "gpus", "rtx-9999"])
    assert unknown.exit_code == 2
    assert "is not in the catalog" in unknown.output


def test_check_imports_neither_pyinfra_nor_numpy() -> None:
    code = (
        "import sys; from rigspec.cli import main\n"
        f"try: main(['check', {str(ROOT / 'rigs' / 'home.yaml')!r}])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyinfra', 'paramiko', 'numpy', 'jinja2', 'gevent', 'rich.console'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("table", "name", "meant"),
    [
        ("gpus", "rtx3090", "rtx-3090"),
        ("boards", "romed8", "romed8-2t"),
        ("circuits", "120v", "us-120v-15a"),
        ("switches", "payne", "c-payne-pm40100"),
    ],
)
def test_catalog_names_what_is_near_a_name_it_does_not_know(
    table: str, name: str, meant: str
) -> None:
    said = CliRunner().invoke(main, ["catalog", table, name]).output
    assert f"did you mean `{meant}" in said


def test_catalog_takes_a_name_of_several_words_and_prints_a_capability_as_a_version() -> None:
    one, other = (
        json.loads(CliRunner().invoke(main, ["catalog", "gpus", *words, "--json"]).output)
        for words in (["rtx-3090"], ["RTX", "3090"])
    )
    assert one == other
    assert {row["field"]: row["value"] for row in one}["compute_capability"] == "8.6"


def test_a_bare_name_of_a_spec_that_exists_is_hinted_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "did you mean" not in CliRunner().invoke(main, ["check", "mine"]).output
    (tmp_path / "rigs").mkdir()
    (tmp_path / "rigs" / "mine.yaml").touch()
    for name in ("mine", "mine.yaml", "rigs/mine"):
        said = CliRunner().invoke(main, ["check", name]).output
        assert "hint: did you mean rigs/mine.yaml?" in said, name
    assert "did you mean" not in CliRunner().invoke(main, ["check", "rigs/other.yaml"]).output


def test_a_sizing_has_no_files_to_write(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["plan", FINE, "--sizing", "--out", str(tmp_path / "x")])
    assert (done.exit_code, "leave out --out" in done.output) == (2, True)
    assert not (tmp_path / "x").exists()
