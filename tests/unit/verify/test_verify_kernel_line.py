"""Words on the kernel line explain what they do: the firmware is not blamed for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from home_in_order import GOOD, LINE, PLAN, UPKEEP, host, tree

from rigspec.observed.kernel import Iommu
from rigspec.observed.record import Unknown
from rigspec.verify.drift import Drift, find_drift
from rigspec.verify.kernel_line import ASPM, LineFault
from rigspec.verify.proof import prove
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Outcome, Verdict

ACCEPTED = replace(GOOD, upkeep=replace(UPKEEP, kernels=(), cap_writers=()))
PROOF = prove(PLAN, ACCEPTED, verify_rig(PLAN, ACCEPTED), observed_at="2026-11-24", version="1")
SLEEPING = tree(**{slot: {"aspm_enabled": ("L1",)} for slot in ("0000:03:00.0", "0000:04:00.0")})
OFF = {"iommu": Iommu((), (), ()), "tree": SLEEPING}
WORDS = ("iommu=off", "pcie_aspm=off")


def drift(**changes: Any) -> Drift:
    return find_drift(PLAN, replace(ACCEPTED, **changes), PROOF)


def row(check: str, **changes: Any) -> Verdict:
    found = verify_rig(PLAN, replace(GOOD, **changes))
    return next(verdict for verdict in found if verdict.id == check)


@pytest.mark.parametrize("line", [(*LINE, *WORDS), ("ro", *WORDS)], ids=["added", "instead"])
def test_the_kernel_line_is_named_and_the_firmware_is_not(line: tuple[str, ...]) -> None:
    found = drift(host=host(cmdline=line), next_boot=line, **OFF).changes
    assert [change.kind for change in found] == ["kernel-arguments"]
    assert {f"set: {word}" for word in WORDS} <= set(found[0].evidence)
    assert "grep -rn -e iommu=off -e pcie_aspm=off /etc/default/grub " in found[0].next_action


def test_a_word_about_one_setting_leaves_the_other_to_the_firmware() -> None:
    found = drift(host=host(cmdline=(*LINE, "iommu=off")), **OFF).changes
    assert [change.kind for change in found] == ["kernel-arguments", "firmware-setting"]
    assert "ASPM" in found[1].what


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ((*LINE, "iommu=off"), "missing|set: iommu=off|take it out"),
        (("ro", *LINE[2:]), "missing: |deploys/kernel.py"),
        (("ro", *LINE[2:], "iommu=off"), "set: iommu=off|take it out|deploys/kernel.py"),
    ],
    ids=["against", "lacking", "both"],
)
def test_a_next_boot_that_is_not_as_planned_is_drift(line: tuple[str, ...], words: str) -> None:
    (change,) = drift(next_boot=line).changes
    assert change.kind == "next-boot"
    said = f"missing {change.evidence} {change.next_action}"
    assert all(word in said for word in words.split("|"))
    assert row("kernel.next-boot", next_boot=line).next_action == change.next_action


def test_a_stage_that_cannot_help_is_not_advised() -> None:
    (change,) = drift(next_boot=(*LINE, "iommu=off")).changes
    assert "stage" not in change.next_action


def test_a_next_boot_that_could_not_be_read_is_not_no_drift() -> None:
    found = drift(next_boot=Unknown("cut"))
    assert (found.exit_code, found.changes) == (3, ())
    assert "next boot" in found.unmeasured[0]


@pytest.mark.parametrize("check", ["kernel.iommu", "pcie.aspm"])
def test_a_row_does_not_send_the_owner_to_the_bios_for_the_kernel_line(check: str) -> None:
    blamed = row(check, host=host(cmdline=(*LINE, *WORDS)), **OFF)
    assert blamed.outcome is Outcome.FAIL
    assert "the kernel line explains it" in blamed.reason
    assert "BIOS" not in blamed.next_action
    assert "BIOS" in row(check, **OFF).next_action


def test_a_lost_word_that_starts_no_iommu_leaves_the_blame_with_the_firmware() -> None:
    assert "BIOS" in row("kernel.iommu", host=host(cmdline=("ro",)), **OFF).next_action


def test_groups_of_another_kind_are_explained_by_a_lost_word() -> None:
    assert isinstance(GOOD.iommu, Iommu)
    groups = tuple(replace(group, type="DMA-FQ") for group in GOOD.iommu.groups)
    other = {"iommu": replace(GOOD.iommu, groups=groups)}
    said = row("kernel.iommu", host=host(cmdline=("ro",)), **other).reason
    assert "the kernel line explains it" in said
    assert "the kernel line" not in row("kernel.iommu", **other).reason


@pytest.mark.parametrize(
    ("fault", "explains"),
    [
        (LineFault(("intel_iommu=on",), ()), True),
        (LineFault(("iommu=pt",), ()), False),
        (LineFault((), ("amd_iommu=off",)), True),
        (LineFault((), ("iommu=nopt",)), False),
    ],
)
def test_what_leaves_a_machine_without_any_iommu(fault: LineFault, *, explains: bool) -> None:
    assert bool(fault.without_iommu()) is explains


def test_a_parameter_with_a_dot_is_about_its_module() -> None:
    assert LineFault(("pcie_aspm.policy=performance",), ()).about(ASPM)
