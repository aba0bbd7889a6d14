"""`kernel`: what the words on the command line really do."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig, all_members

X2APIC_FROM = 255
"""Logical CPUs from which APIC ids need x2APIC, and with it interrupt remapping by the IOMMU."""

OWN_ARGUMENTS = {
    "iommu": "kernel.iommu",
    "iommu.passthrough": "kernel.iommu",
    "amd_iommu": "kernel.iommu",
    "intel_iommu": "kernel.iommu",
    "pcie_aspm.policy": "pcie.aspm",
    "pci=disable_acs_redir": "pcie.acs",
    "pci=config_acs": "pcie.acs",
    "nouveau.modeset": "driver",
}
"""Arguments that rigspec writes itself, and the field that decides them."""

_DANGEROUS = {
    "mitigations": ("off", "every CPU vulnerability is open to any code on the host"),
    "nosmep": ("", "the kernel may run code of user space"),
    "nosmap": ("", "the kernel may read data of user space unasked"),
    "selinux": ("0", "mandatory access control is off"),
    "apparmor": ("0", "container confinement is off"),
    "lockdown": ("none", "the running kernel can be altered although Secure Boot is on"),
    "module.sig_enforce": ("0", "unsigned modules load"),
    "init": ("", "another program replaces systemd, and with it every unit of rigspec"),
    "systemd.unit": ("", "the host boots into another target than the services need"),
    "panic": ("0", "a panic leaves the machine standing until somebody comes"),
}
"""Word → value (empty: any) and what it costs (kernel-parameters.txt)."""


def _key(argument: str) -> str:
    """`pci=disable_acs_redir=…` and `iommu=pt` by the part that names the switch."""
    parts = argument.split("=")
    return "=".join(parts[:2]) if parts[0] == "pci" and len(parts) > 2 else parts[0]


def iommu_off_many_cpus(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Without IOMMU no interrupt remapping, without it no x2APIC, without that 255 CPUs at most."""
    cpus = rig.host.logical_cpus
    if rig.kernel.iommu == "off" and cpus is not None and cpus >= X2APIC_FROM:
        yield error(
            "kernel.iommu-off-many-cpus",
            ("kernel", "iommu"),
            f"`iommu: off` on {cpus} logical CPUs loses some of them",
            why=f"x2APIC needs the IOMMU's interrupt remapping; without it CPUs with an APIC id of "
            f"{X2APIC_FROM} or more are refused at boot (2 × EPYC 9575F came up with 255 of 256)",
            hint="set `iommu: pt`; peer copies work with it",
        )


def iommu_off_cost(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What `iommu: off` gives up."""
    cpus = rig.host.logical_cpus
    if rig.kernel.iommu != "off" or (cpus is not None and cpus >= X2APIC_FROM):
        return
    unknown = "" if cpus else f"; fine below {X2APIC_FROM} logical CPUs, and `host` names no count"
    yield note(
        "kernel.iommu-off-cost",
        ("kernel", "iommu"),
        "no DMA protection, no interrupt remapping, no device for virtual machines" + unknown,
        why="any PCIe or Thunderbolt device can then read and write all memory",
        hint="`iommu: pt` keeps these and still gives GPUs untranslated addresses",
    )


def argument_of_a_field(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An argument that a field of the spec decides."""
    for i, argument in enumerate(rig.kernel.arguments):
        field = OWN_ARGUMENTS.get(_key(argument))
        if field:
            yield error(
                "kernel.argument-of-a-field",
                ("kernel", "arguments", i),
                f"`{argument}` is decided by `{field}`",
                why="two places for one switch contradict each other sooner or later; the kernel "
                "takes the last word",
                hint=f"delete it and set `{field}`",
            )


def aspm_off_word(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`pcie_aspm=off` does not switch ASPM off."""
    for i, argument in enumerate(rig.kernel.arguments):
        if argument.startswith("pcie_aspm="):
            yield error(
                "kernel.aspm-off-word",
                ("kernel", "arguments", i),
                f"`{argument}` does not decide whether links sleep"
                if argument != "pcie_aspm=off"
                else "`pcie_aspm=off` does not switch ASPM off",
                why="it tells the kernel to leave ASPM as the firmware set it, which may be on "
                "(kernel-parameters.txt, 6.10)",
                hint="delete it and set `pcie.aspm: off`, which uses the performance policy",
            )


def argument_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One argument given twice: the last wins, or both count."""
    seen: dict[str, str] = {}
    for i, argument in enumerate(rig.kernel.arguments):
        key = _key(argument)
        if key in seen and key not in ("pci", "console", "earlycon"):
            same = seen[key] == argument
            yield warning(
                "kernel.argument-twice",
                ("kernel", "arguments", i),
                f"`{argument}` is given twice"
                if same
                else f"`{argument}` comes after `{seen[key]}`; the kernel takes the last",
                hint="keep one",
            )
        seen.setdefault(key, argument)


def argument_dangerous(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Arguments that trade safety for something."""
    for i, argument in enumerate(rig.kernel.arguments):
        key, _, value = argument.partition("=")
        found = _DANGEROUS.get(key)
        if found and found[0] in ("", value):
            yield warning(
                "kernel.argument-dangerous",
                ("kernel", "arguments", i),
                f"`{argument}`: {found[1]}",
                hint="delete it unless this is meant",
            )


def no_modeset(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`nomodeset` keeps the console at the firmware's framebuffer."""
    for i, argument in enumerate(rig.kernel.arguments):
        if argument == "nomodeset":
            yield note(
                "kernel.no-modeset",
                ("kernel", "arguments", i),
                "no display driver sets a mode: console and BMC screen stay at the firmware's",
                why="the NVIDIA compute driver loads all the same; a desktop would not start",
            )


def hmm_left_on(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Heterogeneous memory management and NCCL peer copies on Blackwell cards."""
    options = rig.kernel.module_options.get("nvidia_uvm", {})
    blackwell = any(
        card.architecture == "blackwell" for name in rig.gpus if (card := facts.gpu(rig, name))
    )
    wanted = rig.pcie.peer_to_peer and blackwell and len(all_members(rig.gpus)) > 1
    if wanted and options.get("uvm_disable_hmm") not in ("1", "Y", "y"):
        yield warning(
            "kernel.hmm-left-on",
            ("kernel", "module_options"),
            "`nvidia_uvm: {uvm_disable_hmm: 1}` is not set, and peer copies are wanted",
            why="with HMM on, NCCL peer-to-peer locked up on nearly every published rig of "
            "several RTX PRO 6000",
            hint="add `module_options: {nvidia_uvm: {uvm_disable_hmm: 1}}` below `kernel`",
        )


def nouveau_wanted(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The free driver and NVIDIA's exclude each other."""
    if "nouveau" in rig.kernel.module_options:
        yield error(
            "kernel.nouveau-wanted",
            ("kernel", "module_options", "nouveau"),
            "rigspec keeps `nouveau` from loading; it takes no options",
            why="a card that nouveau holds is invisible to NVIDIA's driver",
            hint="delete it",
        )


def registry_dwords(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Hidden driver switches."""
    options = rig.kernel.module_options.get("nvidia", {})
    if "NVreg_RegistryDwords" in options:
        yield note(
            "kernel.registry-dwords",
            ("kernel", "module_options", "nvidia", "NVreg_RegistryDwords"),
            "these driver switches are undocumented and change from branch to branch",
            why="owners use them for peer copies on cards that refuse them; wrong ones give wrong "
            "data at full speed",
            hint="read them back in /proc/driver/nvidia/params; `rigspec verify` checks the data",
        )
