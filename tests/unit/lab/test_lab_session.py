"""What a virtual rig remembers between two commands."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.lab.cli import lab
from rigspec.lab.machine import Machine
from rigspec.lab.rig import VirtualRig
from rigspec.lab.session import open_rehearsal

SPEC = Path(__file__).resolve().parents[3] / "rigs" / "starter.yaml"


@pytest.fixture(autouse=True)
def lab_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RIGSPEC_LAB_HOME", str(tmp_path))
    return tmp_path


def test_a_rig_installed_for_uefi_stays_one() -> None:
    assert open_rehearsal(SPEC).machine.options.installation.firmware == "bios"
    open_rehearsal(SPEC, firmware="uefi").remember()
    assert open_rehearsal(SPEC).machine.options.installation.firmware == "uefi"


def test_a_bios_disk_is_not_started_as_uefi(lab_folder: Path) -> None:
    open_rehearsal(SPEC).remember()
    (lab_folder / "run" / "starter" / "disk.qcow2").touch()
    done = CliRunner().invoke(lab, ["up", str(SPEC), "--uefi"])
    assert done.exit_code == 1
    assert "was installed for BIOS" in done.output
    assert "lab down --delete" in done.output


def test_a_rig_whose_start_was_not_waited_for_is_waited_for_by_the_next_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Machine, "is_running", property(lambda self: True))
    monkeypatch.setattr(Machine, "wait", lambda self: said.append("wait"))
    monkeypatch.setattr(Machine, "ssh_argv", lambda self: ("ssh",))
    monkeypatch.setattr(VirtualRig, "_remember_host_keys", lambda self: said.append("host keys"))
    assert CliRunner().invoke(lab, ["up", str(SPEC)]).exit_code == 0
    assert said == ["wait", "host keys"]


def test_a_killed_machine_is_gone_only_when_its_keeper_has_put_its_files_away() -> None:
    machine = Machine("late")
    last_act = "sleep 0.6; rm pids.json; exec sleep 0.2"
    keeper = subprocess.Popen(["sh", "-c", last_act], cwd=machine.folder)
    (machine.folder / "pids.json").write_text(json.dumps({"qemu": 2**22 + 1, "keeper": keeper.pid}))
    assert not machine.is_running
    machine.kill()
    assert not (machine.folder / "pids.json").exists()
    keeper.wait()
