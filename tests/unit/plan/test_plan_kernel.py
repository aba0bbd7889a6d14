from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
from plan_bench import tool

from rigspec.plan.kernel import (
    CONTRADICTIONS,
    IOMMU_ARGUMENTS,
    acs_argument,
    acs_grub_file,
    acs_path,
    plan_kernel,
)
from rigspec.plan.sections import RenderedFile
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]


@pytest.mark.parametrize(
    ("iommu", "cpu", "words"),
    [
        # kernel-parameters.txt: `iommu=pt` is identity mapping; AMD's unit is on by itself
        ("pt", "amd", {"iommu=pt"}),
        ("pt", "intel", {"iommu=pt", "intel_iommu=on"}),
        ("off", "amd", {"iommu=off", "amd_iommu=off"}),
        ("off", "intel", {"iommu=off", "intel_iommu=off"}),
        ("on", "amd", {"iommu.passthrough=0"}),
        ("on", "intel", {"intel_iommu=on", "iommu.passthrough=0"}),
    ],
)
def test_iommu_mode_says_the_words_this_cpu_knows(
    make_rig: MakeRig, iommu: str, cpu: str, words: set[str]
) -> None:
    plan = plan_kernel(make_rig(kernel={"iommu": iommu}, host={"cpu": cpu}))
    assert set(plan.arguments) == words
    assert "amd_iommu=on" not in plan.arguments  # no such word: the kernel ignores it


@pytest.mark.parametrize(("mode", "cpu"), list(IOMMU_ARGUMENTS))
def test_no_mode_forbids_its_own_words(mode: str, cpu: str) -> None:
    assert not set(CONTRADICTIONS[mode]) & set(IOMMU_ARGUMENTS[mode, cpu])


def test_passthrough_forbids_the_word_that_would_win_over_it(make_rig: MakeRig) -> None:
    assert "iommu=off" in plan_kernel(make_rig(kernel={"iommu": "pt"})).should_not_exist


def test_aspm_off_is_the_policy_and_never_the_word_that_leaves_firmware_alone(
    make_rig: MakeRig,
) -> None:
    plan = plan_kernel(make_rig(pcie={"aspm": "off"}))
    assert "pcie_aspm.policy=performance" in plan.arguments
    assert "pcie_aspm=off" in plan.should_not_exist
    untouched = plan_kernel(make_rig())
    assert not [word for word in untouched.arguments if "aspm" in word]


def test_owners_arguments_follow_ours_each_once(make_rig: MakeRig) -> None:
    plan = plan_kernel(make_rig(kernel={"arguments": ["nomodeset", "iommu=pt"]}))
    assert plan.arguments == ("iommu=pt", "nomodeset")


def test_an_argument_the_owner_wants_is_not_forbidden(make_rig: MakeRig) -> None:
    plan = plan_kernel(make_rig(kernel={"arguments": ["iommu=force"]}))
    assert "iommu=force" in plan.arguments
    assert "iommu=force" not in plan.should_not_exist


def test_cold_boot_only_board_is_rebooted_by_hand(make_rig: MakeRig) -> None:
    assert not plan_kernel(make_rig()).reboot_by_hand
    rig = make_rig(board={"model": "x", "cold_boot_only": "true"})
    assert plan_kernel(rig).reboot_by_hand


def kernel_line(tmp_path: Path, *files: RenderedFile) -> list[str]:
    """Words the kernel gets: drop-ins sourced by sh as grub-mkconfig does, the line judged and its
    quotes taken off as GRUB does."""
    text = "set -e\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n"
    for file in files:
        path = tmp_path / Path(file.dest).name
        path.write_text(file.content)
        text += f". {path}\n"
    text += 'printf "%s" "$GRUB_CMDLINE_LINUX_DEFAULT"'
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    entry = tmp_path / "grub.cfg"
    entry.write_text(f"menuentry x {{\n  linux /vmlinuz root=/dev/vda1 ro {done.stdout}\n}}\n")
    subprocess.run([tool("grub-script-check", "grub-common"), str(entry)], check=True)
    return grub_words(done.stdout)


def grub_words(line: str) -> list[str]:
    """The words of one GRUB command: it ends at a bare `;`, quotes keep one (GRUB manual, 6.1)."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>{}")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(takewhile(lambda word: word != ";", lexer))


def test_a_bare_semicolon_would_cut_the_line() -> None:
    assert grub_words("quiet pci=a;b iommu=pt") == ["quiet", "pci=a"]


def test_grub_drop_in_gives_the_kernel_exactly_the_planned_words(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    rig = make_rig(
        kernel={"arguments": ["pci=config_acs=10x@pci:0:0;x0@pci:1:2", "x=a*b", "nomodeset"]}
    )
    plan = plan_kernel(rig)
    assert kernel_line(tmp_path, plan.files[0]) == ["quiet", *plan.arguments]


def test_acs_path_holds_no_bus_number_below_the_root_port() -> None:
    # Documentation/admin-guide/kernel-parameters.txt, pci=: <bus>:<dev>.<func>[/<dev>.<func>]*
    assert acs_path(("0000:00:10.0",)) == "0000:00:10.0"
    assert acs_path(("0000:00:10.0", "0000:02:00.0", "0000:03:01.0")) == "0000:00:10.0/00.0/01.0"


def test_acs_argument_is_one_list_in_stable_order() -> None:
    paths = ["0000:40:01.0/00.0/02.0", "0000:40:01.0/00.0/01.0"]
    expected = "pci=disable_acs_redir=0000:40:01.0/00.0/01.0;0000:40:01.0/00.0/02.0"
    assert acs_argument(paths) == acs_argument(paths[::-1]) == expected


def test_acs_drop_in_reaches_the_kernel_uncut_at_the_semicolon(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    paths = ("0000:40:01.0/00.0/01.0", "0000:40:01.0/00.0/02.0")
    kernel = plan_kernel(make_rig())
    words = kernel_line(tmp_path, kernel.files[0], acs_grub_file("bench", paths))
    assert words == ["quiet", "iommu=pt", acs_argument(paths)]


def test_acs_drop_in_adds_nothing_where_no_bridge_lies_between(tmp_path: Path) -> None:
    assert kernel_line(tmp_path, acs_grub_file("bench", ())) == ["quiet"]


def modprobe_configuration(tmp_path: Path, file: RenderedFile) -> list[str]:
    folder = tmp_path / "modprobe.d"
    folder.mkdir()
    (folder / "rigspec.conf").write_text(file.content)
    done = subprocess.run(
        [tool("modprobe", "kmod"), "-C", str(folder), "--showconfig"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_module_options_are_what_modprobe_reads(make_rig: MakeRig, tmp_path: Path) -> None:
    options = {"nvidia_uvm": {"uvm_disable_hmm": "1"}, "nvidia": {"a": "1", "b": "x=1;y=2"}}
    plan = plan_kernel(make_rig(kernel={"module_options": options}))
    assert ("nvidia_uvm", "uvm_disable_hmm", "1") in plan.module_options
    shown = modprobe_configuration(tmp_path, plan.files[1])
    assert "blacklist nouveau" in shown
    assert "options nvidia_uvm uvm_disable_hmm=1" in shown
    assert "options nvidia a=1 b=x=1;y=2" in shown  # one line: the last of several would win
    assert "options nouveau modeset=0" in shown
