"""The boot: what must stand on the kernel line, module options, and the files that say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rigspec.plan.render import render
from rigspec.plan.sections import KernelPlan, RenderedFile
from rigspec.spec.rig import Rig

GRUB_FILE = "/etc/default/grub.d/60-rigspec.cfg"
ACS_FILE = "/etc/default/grub.d/61-rigspec-acs.cfg"
MODPROBE_FILE = "/etc/modprobe.d/rigspec.conf"

ASPM_OFF = "pcie_aspm.policy=performance"
"""Clears L0s and L1 on every link the kernel controls; `pcie_aspm=off` would leave what the
firmware set (kernel-parameters.txt since 6.10)."""

IOMMU_ARGUMENTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("off", "amd"): ("iommu=off", "amd_iommu=off"),
    ("off", "intel"): ("iommu=off", "intel_iommu=off"),
    # AMD's is on whenever the firmware offers it; `amd_iommu=on` is no word of the kernel's
    ("pt", "amd"): ("iommu=pt",),
    ("pt", "intel"): ("intel_iommu=on", "iommu=pt"),
    ("on", "amd"): ("iommu.passthrough=0",),
    ("on", "intel"): ("intel_iommu=on", "iommu.passthrough=0"),
}
"""By mode and CPU vendor: kernel-parameters.txt, and each one booted on Debian's 6.1 and 6.12."""

_SWITCHED_OFF = ("iommu=off", "amd_iommu=off", "intel_iommu=off")
_IDENTITY = ("iommu=pt", "iommu.passthrough=1", "amd_iommu=pt")
_TRANSLATED = ("iommu=nopt", "iommu.passthrough=0", "iommu=force")
CONTRADICTIONS = {
    "off": (*_IDENTITY, *_TRANSLATED, "intel_iommu=on", "amd_iommu=on", "amd_iommu=force_enable"),
    "pt": (*_SWITCHED_OFF, *_TRANSLATED),
    "on": (*_SWITCHED_OFF, *_IDENTITY),
}
"""Words that undo the mode, or that people add believing they set another one."""

ACS_WORDS = (
    "pci=noacs",
    "pcie_acs_override=downstream",
    "pcie_acs_override=multifunction",
    "pcie_acs_override=downstream,multifunction",
)
"""`pci=noacs` never existed; the override of patched kernels only pretends isolation and leaves the
redirect bits set."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/@+-]*")


def plan_kernel(rig: Rig) -> KernelPlan:
    """What the kernel stage gives the host, and what verify expects of the running kernel."""
    arguments = kernel_arguments(rig)
    options = module_options(rig)
    blacklist = ("nouveau",)
    return KernelPlan(
        iommu=rig.kernel.iommu,
        arguments=arguments,
        should_not_exist=tuple(w for w in _unwanted(rig) if w not in arguments),
        module_options=options,
        blacklist=blacklist,
        files=(_grub_file(rig, arguments), _modprobe_file(rig, options, blacklist)),
        reboot_timeout_s=rig.kernel.reboot_timeout_s,
        reboot_by_hand=rig.board is not None and rig.board.cold_boot_only,
    )


def kernel_arguments(rig: Rig) -> tuple[str, ...]:
    """The words that must stand on the running line, ours first, each once."""
    wanted = list(IOMMU_ARGUMENTS[rig.kernel.iommu, rig.host.cpu])
    if rig.pcie.aspm == "off":
        wanted.append(ASPM_OFF)
    return tuple(dict.fromkeys([*wanted, *rig.kernel.arguments]))


def _unwanted(rig: Rig) -> Iterator[str]:
    yield from CONTRADICTIONS[rig.kernel.iommu]
    if rig.pcie.aspm == "off":
        yield from ("pcie_aspm=off", "pcie_aspm=force")
        yield from (f"pcie_aspm.policy={p}" for p in ("default", "powersave", "powersupersave"))
    if rig.pcie.acs == "off_on_gpu_paths":
        yield from ACS_WORDS


def module_options(rig: Rig) -> tuple[tuple[str, str, str], ...]:
    """Module, option, value: the owner's, and nouveau kept from driving the display."""
    owners = rig.kernel.module_options
    merged = {"nouveau": {"modeset": "0"}, **owners}
    return tuple((m, o, merged[m][o]) for m in sorted(merged) for o in merged[m])


def grub_word(argument: str) -> str:
    """An argument as it must stand inside the double quotes of a GRUB drop-in.

    GRUB cuts its own line at `;` and expands `*`: such words keep a pair of quotes in grub.cfg.
    """
    return argument if _PLAIN.fullmatch(argument) else f'\\"{argument}\\"'


def _grub_file(rig: Rig, arguments: Iterable[str]) -> RenderedFile:
    words = " ".join(grub_word(argument) for argument in arguments)
    return render(
        GRUB_FILE,
        rig=rig.name,
        origin="kernel.iommu, kernel.arguments and pcie.aspm",
        arguments=words,
    )


def _modprobe_file(
    rig: Rig, options: Iterable[tuple[str, str, str]], blacklist: Iterable[str]
) -> RenderedFile:
    by_module: dict[str, list[str]] = {}
    for module, option, value in options:
        by_module.setdefault(module, []).append(f"{option}={value}")
    return render(
        MODPROBE_FILE,
        rig=rig.name,
        origin="kernel.module_options and driver",
        blacklist=tuple(blacklist),
        options=tuple((module, " ".join(words)) for module, words in by_module.items()),
    )


def acs_path(addresses: Sequence[str]) -> str:
    """A bridge by its way down: the root port's address, then device.function of each step.

    `("0000:00:10.0", "0000:02:00.0", "0000:03:01.0")` is `0000:00:10.0/00.0/01.0`: bus numbers
    below the root port move when cards do, this does not (kernel-parameters.txt, `pci=`).
    """
    root, *steps = addresses
    return "/".join((root, *(step.rpartition(":")[2] for step in steps)))


def acs_argument(bridge_paths: Sequence[str]) -> str:
    """The kernel argument that clears the redirect bits of these bridges; empty for none.

    Known since kernel 4.19, older than every system rigspec supports. Some kernels from 6.11 on
    read only the first of a list: `rigspec-acs.service` clears what is left, unless Secure Boot
    forbids it.
    """
    return "pci=disable_acs_redir=" + ";".join(sorted(bridge_paths)) if bridge_paths else ""


def acs_grub_file(rig_name: str, bridge_paths: Sequence[str]) -> RenderedFile:
    """The drop-in with the ACS argument of one host: plan and observed tree, nothing else."""
    argument = acs_argument(bridge_paths)
    return render(
        ACS_FILE, rig=rig_name, origin="pcie.acs", argument=grub_word(argument) if argument else ""
    )
