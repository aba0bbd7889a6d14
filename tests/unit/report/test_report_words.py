"""Words in messages: a name that nobody reads to its end is cut, what may be copied stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rigspec.cli import main
from rigspec.report.words import shortened

LONG = "r" * 100_000
IMAGE = f"ghcr.io/example/engine:v0.33.0@sha256:{'8a69ffad' * 8}"
FINE = Path(__file__).parents[2] / "errors" / "base-is-fine.yaml"


def test_a_long_name_loses_its_middle() -> None:
    said = shortened(f"`{'a' * 50}{'z' * 50}` is not known")
    assert said == f"`{'a' * 40}…{'z' * 20}` is not known"


def test_many_words_in_one_name_lose_their_middle() -> None:
    assert len(shortened(f"`{'a b ' * 1000}` is not known")) < 100


@pytest.mark.parametrize(
    "text",
    [
        f"`{'a' * 80}` is not known",
        f"`docker buildx imagetools inspect {IMAGE}` prints it",
        "the file /" + "folder/" * 40 + " is gone",
        "many words " * 100,
    ],
)
def test_a_name_of_a_line_a_path_and_a_sentence_stay_whole(text: str) -> None:
    assert shortened(text) == text


def asked(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    "words",
    [
        ("fit", LONG, "--gpu", "rtx-3090"),
        ("fit", f"Org/{LONG}", "--gpu", "rtx-3090"),
        ("fit", "X/Y", "--gpu", "rtx-3090", "--models", LONG),
        ("fit", "X/Y", "--gpu", LONG),
        ("catalog", "gpus", LONG),
        ("model", "add", LONG),
        ("check", LONG),
    ],
)
def test_no_verb_repeats_a_name_of_100_kb(words: tuple[str, ...]) -> None:
    done = asked(*words)
    assert done.exit_code == 2
    assert "…" in done.output
    assert len(done.output) < 1000


def test_no_finding_repeats_a_name_of_100_kb(tmp_path: Path) -> None:
    spec = tmp_path / "x.yaml"
    spec.write_text(FINE.read_text().replace("sku: rtx-a6000", f"sku: {LONG}"))
    text, data = asked("check", str(spec)).output, asked("check", "--json", str(spec)).output
    assert "…rrrr" in text
    assert len(text) < 3000
    assert all(len(found["message"]) < 500 for found in json.loads(data))


def test_errors_are_broken_to_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asked("model", "add", "onlyname").output
    monkeypatch.setattr("rigspec.asked.terminal_columns", lambda _: 80)
    broken = asked("model", "add", "onlyname").output
    assert max(map(len, whole.splitlines())) > 80
    assert max(map(len, broken.splitlines())) <= 80
    assert broken.split() == whole.split()
