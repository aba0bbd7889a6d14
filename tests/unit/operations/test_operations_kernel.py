"""The next boot: drop-ins, grub.cfg, initramfs; marks for the reboot before what causes it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakehost import FakeHost, run

from rigspec.facts.boot import Boot, BootState, KernelStage, KernelState
from rigspec.facts.managed import FileState
from rigspec.observed.pci import Acs, AcsBits, Kind, PciFunction, PciTree
from rigspec.observed.record import Unknown
from rigspec.operations.files import digest
from rigspec.operations.kernel import acting_lines, bridge_paths, next_boot
from rigspec.plan.kernel import ACS_FILE, GRUB_FILE, MODPROBE_FILE, acs_grub_file
from rigspec.plan.sections import KernelPlan, PciePlan, RenderedFile

GRUB = RenderedFile(GRUB_FILE, '# x\nGRUB_CMDLINE_LINUX_DEFAULT="$G iommu=pt"\n', "kernel")
MODPROBE = RenderedFile(MODPROBE_FILE, "blacklist nouveau\n", "kernel")
PLAN = KernelPlan(
    "pt", ("iommu=pt",), ("iommu=off",), (), ("nouveau",), (GRUB, MODPROBE), 900, False
)
KEEP = PciePlan(False, False, False, (), ())
OFF = replace(KEEP, acs_off=True)
BOOT = BootState(
    "a", "6.12", ("iommu=pt",), ("iommu=pt",), False, False, None, None, "", False, {}, ()
)


def bridge(address: str, parent: str | None, *, acs: int | None = 0x1D) -> PciFunction:
    bits = AcsBits.from_word(acs or 0)
    return PciFunction(
        address,
        class_code=0x0604,
        kind=Kind.DOWNSTREAM,
        parent=parent,
        acs=None if acs is None else Acs(bits, bits),
    )


def gpu(address: str, parent: str) -> PciFunction:
    return PciFunction(address, vendor_id=0x10DE, class_code=0x0300, parent=parent, acs=None)


TREE = PciTree(
    (
        bridge("0000:00:10.0", None),
        bridge("0000:01:00.0", "0000:00:10.0", acs=None),
        bridge("0000:02:00.0", "0000:01:00.0"),
        bridge("0000:02:01.0", "0000:01:00.0"),
        gpu("0000:03:00.0", "0000:02:00.0"),
        gpu("0000:04:00.0", "0000:02:01.0"),
    )
)


def acted_on(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line and line[0] != "#")


def state(*present: RenderedFile, **changes: Any) -> KernelState:
    files = {f.dest: FileState("644", "root:root", 1, digest(f.content)) for f in present}
    lines = {f.dest: acted_on(f.content) for f in present}
    tree = changes.pop("tree", TREE)
    return KernelState(files, replace(BOOT, **changes), tree, lines)


def commands(seen: KernelState | None, pcie: PciePlan = KEEP, after: BootState = BOOT) -> list[str]:
    host = FakeHost({KernelStage: seen, Boot: after})
    return run(next_boot, host, rig="home", plan=PLAN, pcie=pcie)


def test_a_converged_host_needs_nothing() -> None:
    assert commands(state(GRUB, MODPROBE)) == []


def test_a_bare_host_gets_files_grub_and_initramfs_and_owes_a_reboot() -> None:
    files, grub, initramfs = commands(state(grub=("quiet",)))
    assert "kernel arguments have changed' >>/run/rigspec/reboot-required" in files
    assert "module options have changed' >>/run/rigspec/reboot-required" in files
    assert files.index("reboot-required") < files.index(f"cat >{GRUB_FILE}.new")
    assert "update-grub" in grub
    assert "update-initramfs -u -k all" in initramfs


@pytest.mark.parametrize("file", [GRUB, MODPROBE], ids=["grub", "modprobe"])
def test_a_changed_comment_is_written_and_owes_no_reboot(file: RenderedFile) -> None:
    older = replace(file, content=f"# older\n\n{acted_on(file.content)}\n")
    other = MODPROBE if file is GRUB else GRUB
    files, _ = commands(state(older, other))
    assert f"cat >{file.dest}.new" in files
    assert "reboot-required" not in files


@pytest.mark.parametrize("file", [GRUB, MODPROBE], ids=["grub", "modprobe"])
def test_a_changed_setting_owes_a_reboot(file: RenderedFile) -> None:
    older = replace(file, content=f"{file.content}\noptions nvidia another=1\n")
    other = MODPROBE if file is GRUB else GRUB
    files, _ = commands(state(older, other))
    assert "reboot-required" in files


def test_a_run_killed_before_update_grub_does_it_the_next_time() -> None:
    (grub,) = commands(state(GRUB, MODPROBE, grub_stale=True))
    assert "update-grub" in grub


def test_a_run_killed_before_update_initramfs_does_it_the_next_time() -> None:
    (initramfs,) = commands(state(GRUB, MODPROBE, initrd_stale=True))
    assert "update-initramfs" in initramfs


def test_an_argument_the_owner_set_against_the_spec_is_refused_with_its_place() -> None:
    (refusal,) = commands(state(GRUB, MODPROBE, grub=("iommu=pt", "iommu=off")))
    assert refusal.startswith("REFUSED: `iommu=off` is set on this host")
    assert "grep -rn iommu=off /etc/default/grub /etc/default/grub.d" in refusal
    assert "update-grub" in refusal


def test_grub_that_did_not_take_the_argument_is_said() -> None:
    host_after = replace(BOOT, grub=("quiet",))
    assert "missing in /boot/grub/grub.cfg" in commands(state(), after=host_after)[-1]


def test_another_boot_loader_is_refused_before_anything_is_written() -> None:
    (refusal,) = commands(state(grub=None))
    assert refusal.startswith("REFUSED: /boot/grub/grub.cfg is not there")


def test_an_unreadable_host_is_refused() -> None:
    (refusal,) = commands(None)
    assert refusal.startswith("REFUSED")


def test_bridges_with_the_capability_are_named_by_their_way_down() -> None:
    assert bridge_paths(TREE) == ("0000:00:10.0/00.0/00.0", "0000:00:10.0/00.0/01.0")


def test_the_acs_argument_of_this_host_is_its_own_drop_in() -> None:
    files, *_ = commands(state(GRUB, MODPROBE), OFF)
    assert "pci=disable_acs_redir=0000:00:10.0/00.0/00.0;0000:00:10.0/00.0/01.0" in files
    assert GRUB_FILE + ".new" not in files


def test_a_converged_host_with_acs_off_needs_nothing() -> None:
    acs = acs_grub_file("home", bridge_paths(TREE))  # type: ignore[arg-type]
    assert commands(state(GRUB, MODPROBE, acs), OFF) == []


def test_the_acs_drop_in_goes_when_the_spec_keeps_acs() -> None:
    acs = acs_grub_file("home", bridge_paths(TREE))  # type: ignore[arg-type]
    gone, grub = commands(state(GRUB, MODPROBE, acs))
    assert f"set -- {ACS_FILE}" in gone
    assert "reboot-required" in gone
    assert "update-grub" in grub


def test_an_unreadable_tree_is_refused_where_acs_is_to_be_cleared() -> None:
    (refusal,) = commands(state(GRUB, MODPROBE, tree=Unknown("cut off")), OFF)
    assert "cut off" in refusal


def test_lines_that_nothing_acts_on_are_left_out_on_the_host_as_here(tmp_path: Path) -> None:
    text = "# x\n\n  # y\noptions nvidia a=1\nblacklist nouveau\n"
    (tmp_path / "rigspec.conf").write_text(text)
    (tmp_path / "empty.conf").write_text("# only this\n")
    paths = tuple(str(tmp_path / name) for name in ("rigspec.conf", "empty.conf", "none.conf"))
    line = next(
        x for x in str(KernelStage().command(paths)).splitlines() if x.startswith("grep -H")
    )
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert [x.partition(":")[2] for x in said.splitlines()] == acting_lines(text).splitlines()
