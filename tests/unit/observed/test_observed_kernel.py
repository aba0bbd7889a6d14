"""The kernel's state: command line, IOMMU, modules, Secure Boot, refused options."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from rigspec.observed import probes
from rigspec.observed.kernel import (
    cmdline_values,
    find_refused_options,
    parse_aspm_policy,
    parse_driver_version,
    parse_host_probe,
    parse_iommu_probe,
    parse_modules_probe,
    parse_os_release,
    parse_secure_boot_probe,
    split_cmdline,
)
from rigspec.observed.record import Unknown
from rigspec.observed.sections import section, split_sections, trouble

ASUS = Path(__file__).parents[2] / "captures" / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"


def test_command_line_of_asus() -> None:
    words = split_cmdline((ASUS / "proc-cmdline.txt").read_text())
    assert words[-2:] == ("amd_iommu=off", "iommu=off")
    assert cmdline_values(words, "iommu") == ("off",)
    assert cmdline_values(words, "rd.md") == ("1",)
    assert cmdline_values(words, "pcie_aspm") == ()


def test_quoted_words_and_repeated_parameters() -> None:
    words = split_cmdline(
        'ro quiet "pci=config_acs=00xx@pci:1:2;10x@pci:3:4" iommu=off iommu=pt a="b c"'
    )
    assert words[2] == '"pci=config_acs=00xx@pci:1:2;10x@pci:3:4"'
    assert cmdline_values(words, "pci") == ("config_acs=00xx@pci:1:2;10x@pci:3:4",)
    assert cmdline_values(words, "iommu") == ("off", "pt")
    assert cmdline_values(words, "a") == ("b c",) and cmdline_values(words, "quiet") == ("",)
    assert cmdline_values(("pcie_aspm.policy=performance",), "pcie-aspm.policy") == ("performance",)
    assert split_cmdline('broken="no end') == ('broken="no end',)


def test_refused_options_are_proof_or_hint() -> None:
    refused = find_refused_options((ASUS / "dmesg-selected.txt").read_text())
    assert [(r.option, r.is_proof) for r in refused] == [
        ("spectre_v2=off", False),
        ("spec_store_bypass_disable=off", False),
    ]
    lines = (
        "[    0.02] AMD-Vi: Unknown option - 'on'\n"
        "[    0.03] PCI: Unknown option `noacs'\r\n"
        "[    0.04] PCI: Can't parse ACS command line parameter\n"
    )
    assert [(r.option, r.is_proof) for r in find_refused_options(lines)] == [
        ("on", True),
        ("noacs", True),
        ("", True),
    ]


def sections_of(*asked: probes.Probe, root: Path | None = None) -> dict[str, list[str]]:
    text = probes.script(asked)
    if root:
        text = text.replace("/sys/", f"{root}/sys/").replace("/proc/", f"{root}/proc/")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    return split_sections(done.stdout)


def test_host_probe_reads_this_machine() -> None:
    host = parse_host_probe(sections_of(probes.HOST))
    assert not isinstance(host, Unknown)
    assert host.release == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert host.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host.cmdline == split_cmdline(Path("/proc/cmdline").read_text())
    assert isinstance(host.memory_total_kib, int) and isinstance(host.os.id, str)
    json.dumps(host.to_json())


def test_iommu_probe_reads_groups_and_units(tmp_path: Path) -> None:
    group = tmp_path / "sys/kernel/iommu_groups/12"
    (group / "devices/0000:01:00.0").mkdir(parents=True)
    (group / "devices/0000:01:00.1").mkdir()
    (group / "type").write_text("identity\n")
    (tmp_path / "sys/class/iommu/ivhd0").mkdir(parents=True)
    iommu = parse_iommu_probe(sections_of(probes.IOMMU, root=tmp_path))
    assert not isinstance(iommu, Unknown)
    assert iommu.units == ("ivhd0",) and iommu.firmware_tables == ()
    found = iommu.group_of("0000:01:00.1")
    assert found is not None and (found.number, found.type) == (12, "identity")
    assert iommu.group_of("0000:02:00.0") is None


def test_iommu_off_is_known_and_unread_is_unknown(tmp_path: Path) -> None:
    off = parse_iommu_probe(sections_of(probes.IOMMU, root=tmp_path))
    assert not isinstance(off, Unknown) and off.units == () and off.groups == ()
    assert isinstance(parse_iommu_probe({}), Unknown)
    assert isinstance(parse_iommu_probe({"iommu": ["##RIG-CUT"]}), Unknown)


def test_modules_parameters_and_driver_flavour(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/modules").write_text("nvidia 1 2 - Live 0x0\nnvidia_uvm 3 0 - Live 0x0\n")
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.58.03  Release Build\n"
        "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04.1)\n"
    )
    (tmp_path / "proc/driver/nvidia/params").write_text(
        'ModifyDeviceFiles: 1\nRegistryDwords: "ForceP2P=0x11;RMForceP2PType=1"\n'
    )
    parameters = tmp_path / "sys/module/nvidia_uvm/parameters"
    parameters.mkdir(parents=True)
    (parameters / "uvm_disable_hmm").write_text("Y\n")
    sections = sections_of(probes.MODULES, probes.NVIDIA_PROC, root=tmp_path)
    sections["modules"] = [line.replace(str(tmp_path), "") for line in sections["modules"]]
    modules = parse_modules_probe(sections)
    assert not isinstance(modules, Unknown)
    assert modules.loaded == ("nvidia", "nvidia_uvm")
    assert modules.parameters == {"nvidia_uvm.uvm_disable_hmm": "Y"}
    assert (modules.nvidia_version, modules.nvidia_is_open) == ("595.58.03", True)
    assert modules.nvidia_params["RegistryDwords"] == '"ForceP2P=0x11;RMForceP2PType=1"'


def test_proprietary_and_absent_driver() -> None:
    line = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  510.108.03  Thu Oct 20 05:10:45 UTC 2022"
    )
    assert parse_driver_version(line) == ("510.108.03", False)
    assert parse_driver_version("##RIG-ABSENT /proc/driver/nvidia/version") == (None, None)


def test_secure_boot_states() -> None:
    def read(*lines: str) -> object:
        found = parse_secure_boot_probe({"secure-boot": list(lines)})
        assert not isinstance(found, Unknown)
        return found.enabled, found.lockdown if isinstance(found.lockdown, str) else None

    lockdown = "lockdown none [integrity] confidentiality"
    assert read("uefi yes", "efivar  06 00 00 00 01", lockdown) == (True, "integrity")
    assert read("uefi yes", "efivar  06 00 00 00 00") == (False, None)
    assert read("uefi no") == (False, None)
    found = parse_secure_boot_probe({"secure-boot": ["uefi yes"]})
    assert not isinstance(found, Unknown) and isinstance(found.enabled, Unknown)


def test_aspm_policy_is_the_bracketed_word() -> None:
    assert parse_aspm_policy("default [performance] powersave powersupersave") == "performance"
    assert isinstance(parse_aspm_policy("default performance"), Unknown)


def test_os_release_without_version() -> None:
    release = parse_os_release('ID=debian\nPRETTY_NAME="Debian GNU/Linux trixie/sid"\n')
    assert release.id == "debian" and isinstance(release.version_id, Unknown)


def test_sections_tell_absent_failed_cut_and_empty() -> None:
    sections = split_sections(
        "noise\n##RIG a\r\none\r\n\r\n##RIG-END\r\n##RIG b\n##RIG-ABSENT lspci\n\n##RIG-END\n"
        "##RIG c\nsome words\n\n##RIG-EXIT 3 tool\n\n##RIG-END\n##RIG d\n\n##RIG-END\n##RIG e\nhalf"
    )
    assert section(sections, "a") == ["one"] and trouble(sections["a"]) is None
    absent = section(sections, "b")
    assert isinstance(absent, Unknown) and absent.reason == "`lspci` is absent"
    assert "some words" in (section(sections, "c") or [])
    failed = trouble(sections["c"])
    assert failed is not None and "status 3" in failed.reason
    assert section(sections, "d") == [] and trouble(sections["d"]) is None
    cut = trouble(sections["e"])
    assert cut is not None and "cut" in cut.reason
    assert isinstance(section(sections, "f"), Unknown)


def test_a_failing_section_leaves_the_next_alone() -> None:
    asked = (
        probes.Probe("one", "rig_run false\nexit 9\n"),
        probes.Probe("two", "rig_try 1 sleep 5\n"),
        probes.Probe("three", "printf 'no newline'\n"),
    )
    sections = sections_of(*asked)
    assert "status 1" in str(trouble(sections["one"]))
    assert "did not answer in time" in str(trouble(sections["two"]))
    assert section(sections, "three") == ["no newline"]
