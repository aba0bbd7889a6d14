"""Drift of what rigspec does not write: weights, mounted files, secrets, as verify reads them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from home_in_order import GOOD, KEY_FILE, PLAN, UPKEEP

from rigspec.facts.storage import models_probe, parse_models
from rigspec.facts.upkeep import mounted_probe
from rigspec.observed.record import Unknown
from rigspec.observed.upkeep import parse_mounted
from rigspec.verify.drift import find_drift
from rigspec.verify.drift_data import data
from rigspec.verify.mounts import mounted
from rigspec.verify.storage import weights
from rigspec.verify.verdict import Outcome

GLM = PLAN.services[0]
MOUNTING = replace(PLAN, services=(replace(GLM, mounts=("/srv/templates", "/srv/c.jinja")),))
THERE = {"/srv/templates": "there", "/srv/c.jinja": "there"}
KEPT = {"mounted": THERE}
GONE = {"glm": False, "transcribe": True}


def kept(**changes: Any) -> dict[str, Any]:
    return {"upkeep": replace(UPKEEP, **(KEPT | changes))}


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({**kept(), "models": GONE}, "weights", "/srv/models/GLM-5.2"),
        (
            kept(mounted=THERE | {"/srv/templates": "absent"}),
            "mounted-file",
            "absent: /srv/templates",
        ),
        (
            kept(mounted=THERE | {"/srv/c.jinja": "empty"}),
            "mounted-file",
            "an empty folder: /srv/c.jinja",
        ),
        (kept(secrets=(replace(KEY_FILE, mode="644"),)), "secret-file", "mode 644"),
        (kept(secrets=(replace(KEY_FILE, owner="rig:rig"),)), "secret-file", "rig:rig"),
        (kept(secrets=(replace(KEY_FILE, mode=None, owner=None),)), "secret-file", "absent"),
    ],
    ids=[
        "weights",
        "mounted file",
        "folder for a file",
        "secret's mode",
        "secret's owner",
        "secret gone",
    ],
)
def test_what_verify_calls_red_is_drift(changes: dict[str, Any], kind: str, words: str) -> None:
    (change,) = data(MOUNTING, replace(GOOD, **changes))
    assert (change.kind, bool(change.next_action)) == (kind, True)
    assert words in " ".join(change.evidence)
    assert change in find_drift(MOUNTING, replace(GOOD, **changes), None).changes


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"models": Unknown("cut")}, "weights"),
        (kept(mounted=Unknown("cut")), "mounted files"),
        (kept(secrets=Unknown("cut")), "secrets"),
    ],
    ids=["weights", "mounted files", "secrets"],
)
def test_what_could_not_be_read_is_said(changes: dict[str, Any], name: str) -> None:
    keyed = replace(MOUNTING.services[0], secret_path=KEY_FILE.path)
    plan = replace(MOUNTING, services=(keyed,))
    said = find_drift(plan, replace(GOOD, **(kept() | changes)), None).unmeasured
    assert f"{name} could not be read: cut" in said


def test_what_a_plan_does_not_have_needs_no_reading() -> None:
    bare = replace(PLAN, models=(), services=(replace(GLM, secret_path=None),))
    unread = kept(mounted=Unknown("cut"), secrets=Unknown("cut"))
    said = find_drift(bare, replace(GOOD, models=Unknown("cut"), **unread), None).unmeasured
    assert not [sentence for sentence in said if "could not be read: cut" in sentence]


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    script = tmp_path / "fetch"
    script.write_text(
        "#!/bin/sh\n[ $2 = --check ] || exit 9\n[ $1 = whole ] && exit 0\n"
        "for n in 1 2 3 4 5 6 7 8; do echo fetch-model: $n.gguf is missing; done\nexit 3\n"
    )
    script.chmod(0o755)
    asked = tuple((n, "/none", (str(script), n)) for n in ("whole", "broken"))
    done = subprocess.run(
        ["sh", "-c", models_probe(asked).text], capture_output=True, text=True, check=True
    )
    states = parse_models({"models": done.stdout.splitlines()})
    assert states["whole"].complete
    assert not states["broken"].complete
    assert states["broken"].lacks == tuple(f"{n}.gguf is missing" for n in range(1, 7))
    model = replace(PLAN.models[0], hub="x/y", revision="a" * 40)
    lacking = replace(GOOD, models=GONE, weights_lack={"glm": states["broken"].lacks})
    assert "1.gguf is missing" in weights(model, lacking).found


SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
INDEX = f'{{"weight_map": {{"a.weight": "{SHARDS[0]}", "b.bin.x": "{SHARDS[1]}"}}}}'
NO_FILES = ("no weight files in",)


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        ({}, NO_FILES),
        ({"config.json": "{}", "model.safetensors": ""}, NO_FILES),
        ({"model.safetensors": "x"}, ()),
        ({"q.gguf": "x"}, ()),
        ({"model.safetensors.index.json": '{"weight_map": {}}', SHARDS[0]: "x"}, ()),
        ({"model.safetensors.index.json": INDEX, SHARDS[0]: "x", SHARDS[1]: "x"}, ()),
        (
            {"model.safetensors.index.json": INDEX, SHARDS[0]: "x"},
            (f"{SHARDS[1]} is missing",),
        ),
        ({"model.safetensors": "x", "pytorch_model.bin.index.json": '{"a": "p-1.bin"}'}, ()),
    ],
    ids=["empty", "empty file", "one", "gguf", "names none", "all", "one gone", "other format"],
)
def test_weights_by_path_are_judged_by_their_own_index(
    files: dict[str, str], lacks: tuple[str, ...], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    text = models_probe((("glm", str(tmp_path), ()),)).text
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    (state,) = parse_models({"models": done.stdout.splitlines()}).values()
    assert state.exists
    assert [said.startswith(word) for said, word in zip(state.lacks, lacks, strict=True)] == [
        True for _ in lacks
    ]
    seen = replace(GOOD, models={"glm": state.is_whole}, weights_lack={"glm": state.lacks})
    row = weights(replace(PLAN.models[0], hub=None), seen)
    assert row.outcome is (Outcome.FAIL if lacks else Outcome.PASS)
    assert all(word in row.found for word in lacks)
    own = replace(PLAN, models=(replace(PLAN.models[0], hub=None),), services=())
    assert [c.kind for c in data(own, seen) if c.kind == "weights"] == ["weights"] * bool(lacks)


@pytest.mark.parametrize(
    ("path", "is_file"),
    [
        ("/etc/chat.jinja", True),
        ("/srv/loras", False),
        ("/srv/loras/v1.5", False),
        ("/srv/.cache", False),
    ],
)
def test_an_empty_folder_is_a_fault_where_the_name_is_a_files(path: str, is_file: bool) -> None:
    service = replace(GLM, mounts=(path,))
    seen = replace(GOOD, **kept(mounted={path: "empty"}))
    row = mounted(service, seen)
    assert row.outcome is (Outcome.FAIL if is_file else Outcome.WARN)
    changes = list(data(replace(PLAN, services=(service,)), seen))
    assert [change.kind for change in changes] == (["mounted-file"] if is_file else [])


def test_a_folder_is_there_once_it_has_anything_in_it(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").touch()
    (tmp_path / "a.jinja").touch()
    names = ("bare", "full", "a.jinja", "none")
    text = mounted_probe(str(tmp_path / name) for name in names).text
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    states = parse_mounted({"mounted": done.stdout.splitlines()})
    assert states == dict(
        zip(
            (str(tmp_path / name) for name in names),
            ("empty", "there", "there", "absent"),
            strict=True,
        )
    )


def test_weights_that_no_hub_lists_are_the_owners_to_bring() -> None:
    own = weights(replace(PLAN.models[0], hub=None), replace(GOOD, models=GONE))
    assert (own.found, "deploys/model.py" in own.next_action) == ("absent", False)
