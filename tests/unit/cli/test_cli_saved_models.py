"""Models saved beside a rig: found, listed, suggested, and what is said of one that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked import ROOT, SAVED, fit, of_gguf, rigspec

ERRORS = ROOT / "tests/errors"


def test_model_that_is_not_known_ends_with_2_and_how_to_add_it() -> None:
    done = fit("Qwen/Qwen3-32", "--gpu", "rtx-3090")
    assert done.exit_code == 2
    assert "nothing is saved of `Qwen/Qwen3-32`" in done.output
    assert "did you mean `Qwen/Qwen3-32B` or" in done.output
    assert f"`rigspec model add Qwen/Qwen3-32 --to {SAVED}`" in done.output  # `--models` was given
    done = rigspec("fit", "Qwen/Qwen3-32", "--gpu", "rtx-3090")
    assert "`rigspec model add Qwen/Qwen3-32`" in done.output


def test_a_family_s_name_is_answered_with_saved_models_of_it() -> None:
    done = fit("qwen3.6", "--gpu", "rtx-3090")
    assert done.exit_code == 2
    assert "did you mean `nvidia/Qwen3.6-27B-NVFP4` or `nvidia/Qwen3.6-35B-A3B" in done.output
    assert "`rigspec model add ORG/NAME " in done.output
    listed = rigspec("catalog", "models", "Llama-3.1-8B")
    assert listed.exit_code == 2
    assert "`rigspec model add ORG/NAME` reads" in listed.output  # no name to ask a hub for


def test_saved_file_that_is_broken_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "org__x.json").write_text("{")
    done = rigspec("fit", "org/x", "--gpu", "rtx-3090", "--models", str(tmp_path))
    assert done.exit_code == 2
    assert f"cannot be used: {tmp_path}/org__x.json is not JSON" in done.output


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size"])
def test_saved_file_that_lacks_a_size_is_named_with_it(
    gguf: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    config = json.loads(saved.read_text())
    del config[key]
    saved.write_text(json.dumps(config))
    said = f"Tiny-Q4_K_M.gguf.json states no `{key}`"
    assert f"{gguf}/{said}" in of_gguf(gguf).output
    (gguf / "models").mkdir()
    monkeypatch.chdir(gguf)
    saved.rename("models/Tiny-Q4_K_M.gguf.json")
    listed = " ".join(rigspec("catalog", "models").output.split())
    assert f"cannot be used: {said}" in listed
    assert said in rigspec("catalog", "models", "Tiny-Q4_K_M.gguf").output


def test_a_size_under_an_older_name_is_not_called_missing(gguf: Path) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    text = saved.read_text().replace('"hidden_size"', '"n_embd"')
    saved.write_text(text.replace('"num_hidden_layers"', '"layers"'))
    assert "gguf.json states no `num_hidden_layers`\n" in of_gguf(gguf).output


def test_plan_ends_with_2_for_a_saved_file_that_lacks_a_size(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    saved = json.loads((ROOT / "rigs/models/Qwen__Qwen3.6-27B-FP8.json").read_text())
    del saved["text_config"]["num_hidden_layers"]
    del saved["text_config"]["layer_types"]
    (tmp_path / "models/Qwen__Qwen3.6-27B-FP8.json").write_text(json.dumps(saved))
    (tmp_path / "mine.yaml").write_text((ROOT / "rigs/starter.yaml").read_text())
    done = rigspec("plan", str(tmp_path / "mine.yaml"), "--sizing")
    assert done.exit_code == 2
    assert "models/Qwen__Qwen3.6-27B-FP8.json states no `num_hidden_layers`" in done.output
    assert "no engine could load" not in done.output


def test_half_a_character_in_a_saved_file_stops_no_list_and_ends_every_verb_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    saved = json.loads((ROOT / "rigs/models/Qwen__Qwen3.6-27B-FP8.json").read_text())
    (tmp_path / "models/org__whole.json").write_text(json.dumps(saved))
    saved["text_config"]["model_type"] = "qw\ud800en"
    broken = tmp_path / "models/Qwen__Qwen3.6-27B-FP8.json"
    broken.write_text(json.dumps(saved))
    (tmp_path / "config.json").write_text(json.dumps(saved))
    (tmp_path / "mine.yaml").write_text((ROOT / "rigs/starter.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    said = r"holds `\ud800` in `text_config.model_type`"
    listed = rigspec("catalog", "models")
    assert listed.exit_code == 0
    assert said in " ".join(listed.output.split())
    assert "org/whole" in listed.output
    for verb in (
        ("fit", "Qwen/Qwen3.6-27B-FP8", "--gpu", "rtx-3090"),
        ("model", "add", str(tmp_path)),
        ("check", "mine.yaml"),
        ("plan", "mine.yaml", "--sizing"),
        ("catalog", "models", "Qwen/Qwen3.6-27B-FP8"),
    ):
        done = rigspec(*verb)
        assert done.exit_code == 2
        assert said in " ".join(done.output.split())


def test_a_model_saved_from_a_disk_is_listed_found_and_suggested(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gguf / "models").mkdir()
    monkeypatch.chdir(gguf)
    Path("Tiny-Q4_K_M.gguf.json").rename("models/Tiny-Q4_K_M.gguf.json")
    assert "Tiny-Q4_K_M.gguf" in rigspec("catalog", "models").output
    assert rigspec("catalog", "models", "Tiny-Q4_K_M.gguf").exit_code == 0
    meant = "did you mean `Tiny-Q4_K_M.gguf`?"
    assert meant in rigspec("catalog", "models", "Tiny-Q4_K_M").output
    assert meant in rigspec("fit", "Tiny-Q4_K_M", "--gpu", "rtx-3090").output


def test_catalog_lists_saved_models_and_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = rigspec("catalog", "models")
    assert nothing.exit_code == 2
    assert "no model is saved in rigs/models/" in nothing.output
    mine = tmp_path / "catalog" / "models"
    mine.mkdir(parents=True)
    (mine / "me__mine.json").write_text((SAVED / "Qwen__Qwen3-8B.json").read_text())
    (mine / "me__cut.json").write_text("{")
    listed = rigspec("catalog", "models").output
    assert "me/mine" in listed
    assert "cannot be used: me__cut.json is not JSON" in listed
    rows = json.loads(rigspec("catalog", "models", "me/mine", "--json").output)
    assert {"field": "layers", "value": "36 Attention"}.items() <= rows[3].items()
    assert all(row["source"] for row in rows if row["value"] is not None)
    assert rigspec("catalog", "models", "me/other").exit_code == 2
    assert rigspec("catalog", "models", "me/cut").exit_code == 2
    assert rigspec("fit", "me/mine", "--gpu", "rtx-3090", "--context", "4096").exit_code == 0


def test_check_finds_models_of_the_owner_s_catalog(tmp_path: Path) -> None:
    rigs, mine = tmp_path / "rigs", tmp_path / "catalog" / "models"
    rigs.mkdir()
    mine.mkdir(parents=True)
    spec = (ERRORS / "memory-too-large.yaml").read_text()
    (rigs / "desk.yaml").write_text(spec)
    assert "memory.fits" not in rigspec("check", str(rigs / "desk.yaml")).output
    for saved in (ERRORS / "models").glob("*.json"):
        (mine / saved.name).write_text(saved.read_text())
    assert "memory.fits" in rigspec("check", str(rigs / "desk.yaml")).output


def test_an_architecture_nobody_knows_is_said_in_every_answer(gguf: Path) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    saved.write_text(saved.read_text().replace('"qwen3"', '"newarch"'))
    for more in ((), ("--context", "8192")):
        assert "not understood: " in of_gguf(gguf, *more).output
        told = json.loads(of_gguf(gguf, "--json", *more).output)
        assert (told[0] if isinstance(told, list) else told)["doubts"]


HELD = "e89b16ebf1988b3d6befa7de50abc2d76f26eb09"


@pytest.mark.parametrize("form", [("--context", "4096"), ("--table",)])
@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("", False),
        ("@main", False),
        (f"@{HELD}", False),
        (f"@{HELD[:10]}", False),
        (f"@{HELD.upper()}", False),
        ("@0000000", True),
        ("@" + "0" * 40, True),
        (f"@{HELD[:10]}0000000000", True),
    ],
)
def test_facts_of_another_revision_than_the_asked_are_said(
    asked: str, other: bool, form: tuple[str, ...]
) -> None:
    name = f"Qwen/Qwen3.6-27B-FP8{asked}"
    words = ("fit", name, "--gpu", "rtx-3090", "--count", "2", *form)
    said = (
        f"what is saved of `Qwen/Qwen3.6-27B-FP8` is of revision {HELD}, not {asked[1:]}; "
        f"`rigspec model add {name} --to {ROOT}/rigs/models` saves that one"
    )
    words = (*words, "--models", str(ROOT / "rigs/models"))
    assert (f"warning: {said}" in rigspec(*words).output) is other
    data = json.loads(rigspec(*words, "--json").output)
    records = data if isinstance(data, list) else [data]
    assert {said in record["warnings"] for record in records} == {other}


def test_a_saved_file_that_states_no_revision_is_of_any(tmp_path: Path) -> None:
    saved = json.loads((ROOT / "rigs/models/Qwen__Qwen3.6-27B-FP8.json").read_text())
    saved["_rigspec"]["revision"] = None
    (tmp_path / "Org__Any.json").write_text(json.dumps(saved))
    words = ("--gpu", "rtx-3090", "--count", "2", "--models", str(tmp_path))
    assert "revision" not in rigspec("fit", "Org/Any@0000000", *words).output
