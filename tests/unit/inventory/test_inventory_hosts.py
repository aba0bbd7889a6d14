"""Specs become hosts; anything wrong ends with status 2 before a connection is made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyinfra.connectors.util import SUDO_PASSWORD_REQUIRED_LINES

from rigspec import inventory
from rigspec.connector import SUDO_CHECK, RigSSHConnector, advice, no_sudo
from rigspec.inventory import hosts
from rigspec.operations.plans import expected_memory, recall


@pytest.fixture(autouse=True)
def quiet_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "end_with_130_on_interrupt", lambda: None)
    monkeypatch.setattr(sys, "argv", ["pyinfra", "inventory/home.py", "deploys/rig.py"])


def spec(folder: Path, *, address: str = "192.0.2.10", name: str = "starter") -> Path:
    text = Path("rigs/starter.yaml").read_text()
    text = text.replace("host:\n", f"host:\n  address: {address}\n  port: 2222\n", 1)
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("name: starter", f"name: {name}"))
    return file


def test_a_rig_with_an_address_becomes_a_host_of_plain_data(tmp_path: Path) -> None:
    file = spec(tmp_path)
    ((name, data),) = hosts(tmp_path)
    assert name == "@rig/starter"
    assert data["ssh_hostname"] == "192.0.2.10"
    assert data["ssh_port"] == 2222
    assert data["ssh_strict_host_key_checking"] == "yes"
    assert data["_sudo"] is False
    assert data["spec"] == str(file)
    assert json.loads(json.dumps(data)) == data
    plan = recall(data["plan_key"])
    assert plan is not None
    assert plan.rig == "starter"


def test_what_servers_should_take_is_kept_beside_the_plan(tmp_path: Path) -> None:
    file = spec(tmp_path)
    shutil.copytree("rigs/models", tmp_path / "models")
    hosts(tmp_path)
    plan = recall(str(file))
    assert plan is not None
    assert [(card.service, card.member) for card in expected_memory(plan)] == [
        ("qwen", "pair.0"),
        ("qwen", "pair.1"),
    ]
    shutil.rmtree(tmp_path / "models")
    hosts(tmp_path)
    assert expected_memory(plan) == ()  # nothing is saved of the model


def test_a_rig_without_address_is_left_out(tmp_path: Path) -> None:
    shutil.copy("rigs/home.yaml", tmp_path)
    spec(tmp_path)
    assert [name for name, _ in hosts(tmp_path)] == ["@rig/starter"]


def stopped(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        hosts(folder)
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_any_error_in_any_spec_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec(tmp_path)
    broken = tmp_path / "broken.yaml"
    broken.write_text("rigspec: 1\nname: x\n")
    assert f"{broken}:" in stopped(tmp_path, capsys)


def test_no_spec_and_no_address_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no spec" in stopped(tmp_path, capsys)
    shutil.copy("rigs/home.yaml", tmp_path)
    assert "no spec has an address" in stopped(tmp_path, capsys)


def test_two_specs_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = spec(tmp_path)
    shutil.copy(file, tmp_path / "copy.yaml")
    assert "two specs are named `starter`" in stopped(tmp_path, capsys)


@pytest.mark.parametrize("words", [["--limit", "hone"], ["--limit=hone"]])
def test_a_misspelt_limit_is_refused_because_pyinfra_would_end_with_0(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    spec(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pyinfra", "inventory/home.py", *words, "deploys/rig.py"])
    assert "--limit hone matches no rig" in stopped(tmp_path, capsys)


@pytest.mark.parametrize("limit", ["starter", "start*", "home", "rigs"])
def test_a_limit_that_matches_a_name_or_group_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    spec(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pyinfra", "inventory/home.py", "--limit", limit])
    assert len(hosts(tmp_path)) == 1


def test_a_limit_reaches_only_the_rig_it_names_even_where_the_file_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec(tmp_path, name="home")
    spec(tmp_path, name="other", address="192.0.2.11")
    # `home` is also the group pyinfra makes of inventory/home.py, which holds both
    monkeypatch.setattr(sys, "argv", ["pyinfra", "inventory/home.py", "--limit", "home"])
    assert [name for name, _ in hosts(tmp_path)] == ["@rig/home"]
    monkeypatch.setattr(sys, "argv", ["pyinfra", "inventory/home.py", "--limit", "rigs"])
    assert len(hosts(tmp_path)) == 2


def test_hosts_keep_their_plain_name() -> None:
    assert list(RigSSHConnector.make_names_data("home")) == [("home", {}, [])]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("SSH error (StrictPolicy: No host key for 192.0.2.1 found in known_hosts)", "not known"),
        ("SSH host key error (Host key for 192.0.2.1 does not match.)", "ssh-keygen -R"),
        ("Authentication error (username=rig)", "authorized_keys"),
        ("Could not connect ([Errno 111] Connection refused)", "is sshd running"),
        ("Could not connect ([Errno None] Unable to connect to port 9)", "is sshd running"),
        ("Could not connect (timed out)", "switched on"),
        ("Could not resolve hostname ([Errno -2] Name or service not known)", "host.address"),
        ("private key (No such private key file: /x)", "host.ssh_key"),
        ("EOF error ()", "try `ssh"),
    ],
    ids=[
        "unknown key",
        "changed key",
        "auth",
        "refused",
        "no listener",
        "timeout",
        "dns",
        "key file",
        "other",
    ],
)
def test_each_way_not_to_connect_says_what_to_do(said: str, words: str) -> None:
    text = advice(said, address="192.0.2.1", port=2222, user="rig", key="/x")
    assert words in text
    assert "Traceback" not in text


def test_advice_on_host_keys_is_about_the_file_that_the_spec_names() -> None:
    changed = "SSH host key error (Host key for 192.0.2.1 does not match.)"
    text = advice(changed, address="192.0.2.1", port=22, user="", key=None, known_hosts="/k/h")
    assert "`ssh-keygen -R '192.0.2.1' -f /k/h`" in text
    assert "`ssh -o UserKnownHostsFile=/k/h 192.0.2.1`" in text
    plain = advice(changed, address="192.0.2.1", port=22, user="", key=None)
    assert "`ssh-keygen -R '192.0.2.1'`" in plain
    assert "UserKnownHostsFile" not in plain


def test_no_sudo_shows_the_line_that_grants_it() -> None:
    said = no_sudo("rig", "sudo says: sudo: a password is required")  # as SUDO_CHECK prints it
    assert "(sudo says: sudo: a password is required)" in said
    assert "rig ALL=(ALL) NOPASSWD: ALL" in said


def test_a_sudo_that_wants_a_password_never_makes_pyinfra_prompt(tmp_path: Path) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\necho lecture\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", SUDO_CHECK], env={"PATH": path}, capture_output=True, text=True
    )
    lines = {line.strip() for line in (done.stdout + done.stderr).splitlines()}
    assert done.returncode == 1
    assert any("a password is required" in line for line in lines)  # the owner still reads why
    assert not lines & set(SUDO_PASSWORD_REQUIRED_LINES)


def test_the_one_spec_that_is_named_is_read_and_no_broken_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = spec(tmp_path)
    (tmp_path / "bad.yaml").write_text("x: [")
    assert "bad.yaml" in stopped(tmp_path, capsys)
    monkeypatch.setenv("RIGSPEC_SPEC", str(file))
    assert [data["spec"] for _, data in hosts(tmp_path)] == [str(file)]
    assert capsys.readouterr().err == ""  # the verb that names the spec has said its notes


def test_the_one_spec_that_is_named_still_stops_when_it_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec(tmp_path)
    (tmp_path / "bad.yaml").write_text("x: [")
    monkeypatch.setenv("RIGSPEC_SPEC", str(tmp_path / "bad.yaml"))
    assert "no rig was reached" in stopped(tmp_path, capsys)
