"""KVM is used where a machine really boots with it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.errors import LabError
from rigspec.lab import accelerator, machine
from rigspec.lab.machine import Machine, MachineConfig
from rigspec.lab.topology import MachineTree


class FakeMachine(Machine):
    """Keeps what it was started with; under KVM the kernel speaks and answers, or does not."""

    def __init__(self, *, speaks: bool, answers: bool) -> None:
        super().__init__("fake")
        self.speaks, self.answers = speaks, answers
        self.started: list[str] = []

    @property
    def is_running(self) -> bool:
        return False

    def _start(self, config: MachineConfig, accel: str, *, fresh: bool) -> None:
        self.started.append(accel)
        spoken = "Linux version" if accel == "tcg" or self.speaks else ""
        (self.folder / "serial.log").write_text(spoken)

    def wait(self, limit_s: float = 1) -> float:
        if self.started[-1] == "kvm" and not self.answers:
            raise LabError("no ssh answer")
        return 1.0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MachineConfig:
    monkeypatch.setenv("RIGSPEC_LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setattr(machine, "need", lambda *names: None)
    for name in ("DEVICE", "BOOT_ID"):
        file = tmp_path / name
        file.write_text("first boot\n")
        monkeypatch.setattr(accelerator, name, file)
    return MachineConfig(MachineTree(), tmp_path / "base.qcow2")


def test_a_machine_that_boots_under_kvm_proves_it_for_the_next(config: MachineConfig) -> None:
    rig = FakeMachine(speaks=True, answers=True)
    rig.boot(config, fresh=True)
    rig.boot(config, fresh=False)
    assert rig.started == ["kvm", "kvm"]


@pytest.mark.parametrize(("speaks", "answers"), [(False, False), (True, False)])
def test_a_kvm_that_runs_no_stock_kernel_is_tried_once(
    config: MachineConfig, speaks: bool, answers: bool
) -> None:
    rig = FakeMachine(speaks=speaks, answers=answers)
    rig.boot(config, fresh=True)
    rig.boot(config, fresh=True)
    assert rig.started == ["kvm", "tcg", "tcg"]


def test_a_restarted_computer_is_asked_again(config: MachineConfig) -> None:
    FakeMachine(speaks=False, answers=False).boot(config, fresh=True)
    accelerator.BOOT_ID.write_text("second boot\n")
    rig = FakeMachine(speaks=True, answers=True)
    rig.boot(config, fresh=True)
    assert rig.started == ["kvm"]


def test_without_the_device_nothing_is_tried(config: MachineConfig) -> None:
    accelerator.DEVICE.unlink()
    rig = FakeMachine(speaks=True, answers=True)
    rig.boot(config, fresh=True)
    assert rig.started == ["tcg"]


def test_a_damaged_note_counts_as_none(config: MachineConfig) -> None:
    accelerator.remember("amd", works=True)
    accelerator._file().write_text("{")
    assert accelerator.proven("amd") is None
