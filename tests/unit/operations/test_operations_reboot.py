"""One reboot, for reasons read off the host, judged by boot ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakehost import FakeHost, run
from pyinfra.connectors.util import CommandOutput, OutputLine

from rigspec.facts.boot import Boot, BootState
from rigspec.operations import reboot
from rigspec.operations.reboot import booted_as_planned, reasons
from rigspec.plan.sections import KernelPlan

PLAN = KernelPlan(
    iommu="pt",
    arguments=("iommu=pt", "pcie_aspm.policy=performance"),
    should_not_exist=("iommu=off",),
    module_options=(("nvidia_uvm", "uvm_disable_hmm", "1"),),
    blacklist=("nouveau",),
    files=(),
    reboot_timeout_s=60,
    reboot_by_hand=False,
)
LINE = ("ro", "iommu=pt", "pcie_aspm.policy=performance")
SEEN = BootState(
    boot_id="a",
    kernel="6.12",
    cmdline=LINE,
    grub=LINE,
    grub_stale=False,
    initrd_stale=False,
    driver_loaded="595.71.05",
    driver_installed="595.71.05",
    smi="",
    nouveau=False,
    parameters={"nvidia_uvm.uvm_disable_hmm": "Y"},
    owed=(),
)
ACS = "pci=disable_acs_redir=0000:00:10.0/00.0/00.0"

DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "argument missing": ({"cmdline": ("ro", "iommu=pt")}, "pcie_aspm.policy=performance"),
    "old argument left": ({"cmdline": (*LINE, "iommu=off")}, "`iommu=off` is still"),
    "acs argument differs": ({"grub": (*LINE, ACS)}, "other ACS bridges"),
    "nouveau": ({"nouveau": True}, "nouveau is loaded"),
    "driver upgraded": ({"driver_installed": "595.84"}, "595.71.05 runs, 595.84 is installed"),
    "driver not loaded": ({"driver_loaded": None}, "no driver runs"),
    "driver does not answer": (
        {"driver_loaded": None, "driver_installed": None, "smi": "NVML: mismatch"},
        "NVML: mismatch",
    ),
    "module option": ({"parameters": {"nvidia_uvm.uvm_disable_hmm": "N"}}, "uvm_disable_hmm=N"),
    "owed by an earlier step": ({"owed": ("module options have changed",)}, "module options"),
}


def test_no_reboot_when_everything_runs_as_planned() -> None:
    host = FakeHost({Boot: SEEN})
    assert run(booted_as_planned, host, plan=PLAN) == []
    assert "as planned" in host.said


@pytest.mark.parametrize("case", DIFFERENCES)
def test_each_difference_is_a_reason(case: str) -> None:
    changes, words = DIFFERENCES[case]
    (reason,) = reasons(PLAN, replace(SEEN, **changes))
    assert words in reason


def test_an_owners_unrelated_grub_change_is_no_reason() -> None:
    assert reasons(PLAN, replace(SEEN, grub=(*LINE, "quiet"))) == ()


def test_an_argument_the_owner_keeps_in_grub_is_no_reason_for_a_reboot_that_cannot_help() -> None:
    line = (*LINE, "iommu=off")
    assert reasons(PLAN, replace(SEEN, cmdline=line, grub=line)) == ()


def test_a_difference_is_one_reboot_and_a_look_afterwards() -> None:
    host = FakeHost({Boot: [replace(SEEN, nouveau=True), SEEN]})
    commands = run(booted_as_planned, host, plan=PLAN)
    assert commands[0] == "CALL _remember"
    assert "reboot" in commands[1]
    assert commands[2:] == ["CALL _wait_for_new_boot"]


def test_what_the_reboot_did_not_change_is_said() -> None:
    host = FakeHost({Boot: [replace(SEEN, nouveau=True), replace(SEEN, nouveau=True)]})
    assert run(booted_as_planned, host, plan=PLAN)[-1].startswith(
        "REFUSED: the rig has rebooted, and still\n    nouveau is loaded"
    )


def test_a_board_that_loses_cards_on_warm_reboots_is_left_to_its_owner() -> None:
    host = FakeHost({Boot: replace(SEEN, nouveau=True)})
    (command,) = run(booted_as_planned, host, plan=replace(PLAN, reboot_by_hand=True))
    assert command.startswith("REFUSED: a power cycle by hand is needed")
    assert "run the same command again" in command


class Rebooting(FakeHost):
    """A host whose link hangs once, stays away for a while, and comes back with another boot id."""

    def __init__(self, answers: list[str | None]) -> None:
        super().__init__({})
        self.answers = answers
        self.connected = True
        self.connector = object()
        self.data: dict[str, bool] = {"_sudo": True}

    def connect(self, show_errors: bool) -> None:
        assert not show_errors
        self.connected = self.answers[0] is not None

    def disconnect(self) -> None:
        self.connected = False

    def run_shell_command(self, command: Any, **kwargs: Any) -> tuple[bool, CommandOutput]:
        assert kwargs["_sudo"] is True
        if "is-system-running" in str(command):
            return True, CommandOutput([OutputLine("stdout", "running")])
        answer = self.answers.pop(0)
        if answer == "hangs":
            raise TimeoutError
        return True, CommandOutput([OutputLine("stdout", answer or "")])


def test_waiting_ends_with_a_new_boot_id_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(seconds: float) -> None:
        if host.answers[0] is None:
            host.answers.pop(0)

    host = Rebooting(["old", "hangs", None, None, "old", "new"])
    monkeypatch.setattr(reboot.time, "sleep", skip)
    assert reboot._wait_for_new_boot(None, host, ["old"], 60.0)  # type: ignore[arg-type]
    assert host.answers == []


def test_waiting_gives_up_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(reboot.time, "sleep", lambda _: None)
    monkeypatch.setattr(reboot.time, "monotonic", lambda: next(clock))
    host = Rebooting(["old"] * 20)
    assert not reboot._wait_for_new_boot(None, host, ["old"], 60.0)  # type: ignore[arg-type]
    assert "look at its console" in " ".join(host.log)
