"""An answer that finds no place is said in one line; a full disk is no fault of the spec."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from asked import CONFIGS, ROOT

SPEC = str(ROOT / "rigs" / "home.yaml")
FIT = ("fit", "Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--models", CONFIGS)
VERBS = [("check", SPEC), ("plan", "--sizing", SPEC), FIT, ("catalog", "gpus"), ("--help",)]


RUN = "from rigspec.cli import main; main()"


def by_shell(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`rigspec` below a shell that redirects its output."""
    line = f'"$0" -c "{RUN}" "$@" {redirection}'
    command = ["/bin/sh", "-c", line, sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def by_encoding(encoding: str, *words: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """`rigspec` where standard output takes no other letters."""
    told = {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, *words]
    return subprocess.run(command, capture_output=True, check=False, env=told)


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_full_disk_is_one_line(words: tuple[str, ...]) -> None:
    done = by_shell("> /dev/full", *words)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "the answer cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_closed_output_is_one_line(words: tuple[str, ...]) -> None:
    done = by_shell(">&-", *words)
    assert (done.returncode, done.stderr) == (3, "standard output is closed\n")


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-"])
def test_an_error_that_finds_no_place_is_no_success(redirection: str) -> None:
    done = by_shell(redirection, *FIT[:1], "no/such", *FIT[2:])
    assert done.returncode in (2, 3)
    assert done.stdout == ""


def test_notes_that_find_no_place_do_not_stop_a_plan() -> None:
    done = by_shell("2>&-", "plan", "--sizing", SPEC)
    assert done.returncode == 0
    assert "circuit" in done.stdout


def test_a_reader_that_has_seen_enough_ends_it_without_a_word() -> None:
    done = by_shell("| head -1", "schema")
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    done = by_encoding("utf-8:strict", "check", "--json", bytes(tmp_path) + b"/\xff.yaml")
    assert json.loads(done.stdout)[0]["file"].endswith("\udcff.yaml")
    assert done.returncode == 2


def test_a_terminal_that_lacks_a_letter_gets_its_number() -> None:
    done = by_encoding("latin-1:strict", *FIT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u2013" in done.stdout


@pytest.mark.parametrize(
    "problem", ["FileNotFoundError(2, 'is gone')", "BrokenPipeError(32, 'is gone')"]
)
def test_a_file_that_fails_a_verb_is_not_taken_for_its_answer(problem: str) -> None:
    # a fault of ours, or a connection that broke: not to be laid at standard output's door
    lines = ("from rigspec.outlet import guarded", f"def verb(): raise {problem}", "guarded(verb)")
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].endswith("is gone")
