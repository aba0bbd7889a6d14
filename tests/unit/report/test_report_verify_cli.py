"""`rigspec verify`: judges a saved look, or runs the plain deploy and judges what it saved."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from verdicts_bench import SPEC, UUIDS, the_look, the_plan

from rigspec.cli import main
from rigspec.look import command
from rigspec.plan.rig import digest
from rigspec.reach import cause
from rigspec.verify.observation_file import OUT_VARIABLE, SavedObservation, observation_to_json


def saved(rig: str = "home", plan: str | None = None, **changes: Any) -> str:
    seen = the_look(**changes)
    head = (rig, plan or digest(the_plan()), "2026-11-24T21:00:00+00:00")
    return observation_to_json(SavedObservation(*head, seen))


def verify(*words: str, spec: Path = SPEC, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["verify", str(spec), *words], input=stdin)


def test_a_saved_look_is_judged_without_a_host() -> None:
    result = verify("--observed", "-", stdin=saved())
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL: main.2: link width")
    assert "architecture" not in result.stdout
    assert "architecture" in verify("--observed", "-", "--all", stdin=saved()).stdout


def test_every_report_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    formats = ("save", "json", "junit", "prometheus", "markdown", "html")
    words = [word for name in formats for word in (f"--{name}", str(tmp_path / name))]
    assert verify("--observed", "-", *words, stdin=saved()).exit_code == 1
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in formats}
    assert texts["save"] == saved()
    assert json.loads(texts["json"])["exit_code"] == 1
    assert texts["junit"].startswith("<?xml")
    assert "rigspec_verify_exit_code" in texts["prometheus"]
    assert UUIDS[0] not in texts["markdown"]
    assert UUIDS[0] in texts["html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(formats)


def test_redact_reaches_the_page_and_no_redact_the_markdown(tmp_path: Path) -> None:
    page, text = tmp_path / "page", tmp_path / "text"
    verify("--observed", "-", "--redact", "--html", str(page), stdin=saved())
    verify("--observed", "-", "--no-redact", "--markdown", str(text), stdin=saved())
    boot = "6f1c0b5e-98f2-4f0e-a4e4-3d5ad0a3c0de"
    assert boot not in page.read_text(encoding="utf-8")
    assert boot in text.read_text(encoding="utf-8")


def test_data_on_stdout_sends_the_talk_to_stderr() -> None:
    result = verify("--observed", "-", "--json", "-", stdin=saved())
    assert json.loads(result.stdout)["rig"] == "home"
    assert "FAIL: main.2" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "no JSON"),
        (saved(rig="other"), "a look at the rig `other`"),
    ],
)
def test_a_look_that_does_not_fit_ends_with_2(text: str, said: str) -> None:
    result = verify("--observed", "-", stdin=text)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_look_for_another_plan_says_so_in_the_data() -> None:
    result = verify("--observed", "-", "--json", "-", stdin=saved(plan="0" * 64))
    assert "plan changed" in json.loads(result.stdout)["header"]
    assert "the plan was another when this look was taken" in result.stderr
    assert "plan was another" not in verify("--observed", "-", stdin=saved()).stderr


def test_without_an_address_there_is_no_host_to_ask() -> None:
    result = verify()
    assert result.exit_code == 2
    assert "has no address" in result.stderr


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    text = SPEC.read_text(encoding="utf-8")
    spec = tmp_path / "home.yaml"
    spec.write_text(text.replace("  # address: 192.0.2.10", "  address: 192.0.2.10"), "utf-8")
    return spec


class Pyinfra:
    """Stands for the subprocess: keeps its command, ends as told, saves what it is given."""

    def __init__(self, status: int, look: str = "") -> None:
        self.status, self.look = status, look
        self.argv: list[str] = []
        self.env: dict[str, str] = {}

    def __call__(self, argv: list[str], *, env: dict[str, str], **_: Any) -> Any:
        self.argv, self.env = list(argv), env
        if self.look:
            Path(env[OUT_VARIABLE]).write_text(self.look, encoding="utf-8")
        return subprocess.CompletedProcess(argv, self.status, "out\n", "no route to host\n")


def test_the_plain_deploy_is_run_for_this_rig_only(
    reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyinfra = Pyinfra(1, saved())
    monkeypatch.setattr(subprocess, "run", pyinfra)
    result = verify(spec=reachable)
    assert result.exit_code == 1
    assert "FAIL: main.2" in result.stdout
    assert result.stderr.splitlines()[-1].endswith(f"rigspec doctor {reachable}")
    # `home` alone would mean the group of all hosts in inventory/home.py
    assert pyinfra.argv[-2:] == ["--limit", "[h]ome"]
    assert [Path(word).name for word in pyinfra.argv[-4:-2]] == ["home.py", "verify.py"]
    assert pyinfra.env["RIGSPEC_SPEC"] == str(reachable)


def test_a_rig_that_is_named_like_no_group_is_named_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "home.py").touch()
    monkeypatch.chdir(tmp_path)
    words = command("attic")
    assert words[2] == "inventory/home.py"  # the owner's own goes first
    assert words[-1] == "attic"


@pytest.mark.parametrize(("status", "code"), [(1, 3), (2, 2), (0, 3)])
def test_a_host_that_could_not_be_read_is_no_pass(
    status: int, code: int, reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", Pyinfra(status))
    result = verify(spec=reachable)
    assert result.exit_code == code
    assert result.stderr.splitlines()[-2].startswith("error: the host could not be read: ")
    assert result.stderr.splitlines()[-2].endswith("no route to host")
    assert result.stderr.splitlines()[-1].startswith("hint: run it by hand: RIGSPEC_SPEC=")


def test_notes_are_for_check_and_plan_and_no_look_repeats_them() -> None:
    ends = [CliRunner().invoke(main, [verb, str(SPEC)]) for verb in ("check", "plan")]
    assert all(": note: " in end.output for end in ends)
    assert ": note: " not in verify("--observed", "-", stdin=saved()).stderr


LAST = "    [home] nothing takes SSH connections\n    look at its console\n--> No hosts remaining!"


def test_load_shows_what_pyinfra_says_once_and_ends_with_the_cause(
    reachable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{LAST}\nEND\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("rigspec.look.sys.executable", str(fake))
    result = verify("--load", spec=reachable)
    assert result.exit_code == 3
    assert result.stderr.count("No hosts remaining") == 1
    assert result.stderr.splitlines()[-2:] == [
        "error: deploys/load.py did not end well: nothing takes SSH connections",
        "hint: look at its console",
    ]


def test_a_load_that_a_server_is_in_the_way_of_ends_with_that_cause() -> None:
    said = (
        "    [home] measuring the links between cards (goes on on the rig if this run is "
        "interrupted)\n"
        "    [home] measuring the links between cards ended with status 1:\n"
        "        rigspec-glm.service runs: say --stop-services\n"
        "    [home] look at: load-fabric.log on the rig\n--> No hosts remaining!"
    )
    problem = cause("home", said, "pyinfra …")
    assert problem.message == "measuring the links between cards ended with status 1:"
    assert "rigspec-glm.service runs: say --stop-services" in (problem.hint or "")


@pytest.mark.parametrize(
    ("place", "said"),
    [("", "is a folder: name a file in it"), ("gone/x.json", "gone does not exist")],
)
def test_a_report_that_cannot_be_written_is_said_before_anything_is_asked(
    place: str, said: str, tmp_path: Path
) -> None:
    result = verify("--observed", "-", "--html", str(tmp_path / place), stdin=saved())
    assert result.exit_code == 2
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_saved_look_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "look.json"
    verify("--observed", "-", "--save", str(file), stdin=saved())
    assert file.stat().st_mode & 0o077 == 0
