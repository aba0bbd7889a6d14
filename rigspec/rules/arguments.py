"""`kernel.arguments` and `kernel.module_options`: what each word really does."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.kernel_params import (
    find_folk,
    find_option,
    find_parameter,
    kernel_of,
    known,
    nearest_options,
    nearest_parameters,
)
from rigspec.finding import Finding, Path, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig

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


def _arguments(rig: Rig) -> Iterator[tuple[Path, str]]:
    return ((("kernel", "arguments", i), a) for i, a in enumerate(rig.kernel.arguments))


def folklore(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Words that are copied from page to page and do not do what people think."""
    for path, argument in _arguments(rig):
        yield from _folk(path, argument)
    for module, options in rig.kernel.module_options.items():
        for option, value in options.items():
            path = ("kernel", "module_options", module, option)
            yield from _folk(path, f"{module}.{option}={value}")


def _folk(path: Path, word: str) -> Iterator[Finding]:
    folk = find_folk(word)
    if folk is not None:
        yield error(
            "arguments.folklore",
            path,
            f"`{word}` does not do what it is copied for",
            why=folk.why,
            hint=folk.instead,
        )


def argument_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The kernel knows the argument, and the value it is given."""
    for path, argument in _arguments(rig):
        if known(argument) or find_folk(argument) or _decided_by(argument):
            continue
        parameter = find_parameter(argument)
        if parameter is not None and parameter.values:
            yield warning(
                "arguments.argument-known",
                path,
                f"`{parameter.name}` takes {', '.join(f'`{v}`' for v in parameter.values)}, "
                f"found `{argument}`",
                why="the kernel ignores a word it does not know, often without a message",
            )
            continue
        near = nearest_parameters(argument)
        yield note(
            "arguments.argument-known",
            path,
            f"rigspec does not know `{argument}`; it is put on the command line as it is",
            why="a misspelt argument is passed on without a message",
            hint=f"did you mean `{near[0]}`?" if near else "",
        )


def argument_since(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The kernels of this system know the argument."""
    system = kernel_of(rig.host.os)
    for path, argument in _arguments(rig):
        parameter = find_parameter(argument)
        if parameter is None or parameter.since is None or _decided_by(argument):
            continue
        if (certainty := system.knows(argument)) != "yes":
            say = error if certainty == "no" else warning
            yield say(
                "arguments.argument-since",
                path,
                f"`{parameter.name}` needs kernel {parameter.since}, {rig.host.os} boots "
                f"{' or '.join(system.versions)}",
                hint="delete it, or use a newer release of the system",
            )


def option_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """NVIDIA's modules know the option, and the value it is given."""
    for module, options in rig.kernel.module_options.items():
        for option, value in options.items():
            path = ("kernel", "module_options", module, option)
            found = find_option(module, option)
            if found is not None and found.values and value not in found.values:
                yield warning(
                    "arguments.option-known",
                    path,
                    f"`{module}.{option}` takes {', '.join(f'`{v}`' for v in found.values)}, "
                    f"found `{value}`",
                )
            elif (
                found is None
                and module.startswith("nvidia")
                and not find_folk(f"{module}.{option}={value}")
            ):
                near = nearest_options(module, option)
                yield warning(
                    "arguments.option-known",
                    path,
                    f"rigspec knows no option `{option}` of `{module}`",
                    why="a module ignores an option it does not know, with a line in the kernel "
                    "log",
                    hint=f"did you mean `{near[0].partition('.')[2]}`?" if near else "",
                )


def _decided_by(argument: str) -> str | None:
    return OWN_ARGUMENTS.get(_key(argument))


def argument_of_a_field(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An argument that a field of the spec decides."""
    for i, argument in enumerate(rig.kernel.arguments):
        field = _decided_by(argument)
        if field and not find_folk(argument):
            yield error(
                "arguments.argument-of-a-field",
                ("kernel", "arguments", i),
                f"`{argument}` is decided by `{field}`",
                why="two places for one switch contradict each other sooner or later; the kernel "
                "takes the last word",
                hint=f"delete it and set `{field}`",
            )


def argument_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One argument given twice: the last wins, or both count."""
    seen: dict[str, str] = {}
    for i, argument in enumerate(rig.kernel.arguments):
        key = _key(argument)
        if key in seen and key not in ("pci", "console", "earlycon"):
            same = seen[key] == argument
            yield warning(
                "arguments.argument-twice",
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
                "arguments.argument-dangerous",
                ("kernel", "arguments", i),
                f"`{argument}`: {found[1]}",
                hint="delete it unless this is meant",
            )


def no_modeset(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`nomodeset` keeps the console at the firmware's framebuffer."""
    for i, argument in enumerate(rig.kernel.arguments):
        if argument == "nomodeset":
            yield note(
                "arguments.no-modeset",
                ("kernel", "arguments", i),
                "no display driver sets a mode: console and BMC screen stay at the firmware's",
                why="the NVIDIA compute driver loads all the same; a desktop would not start",
            )


def nouveau_wanted(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The free driver and NVIDIA's exclude each other."""
    if "nouveau" in rig.kernel.module_options:
        yield error(
            "arguments.nouveau-wanted",
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
            "arguments.registry-dwords",
            ("kernel", "module_options", "nvidia", "NVreg_RegistryDwords"),
            "these driver switches are undocumented and change from branch to branch",
            why="owners use them for peer copies on cards that refuse them; wrong ones give wrong "
            "data at full speed",
            hint="read them back in /proc/driver/nvidia/params; `rigspec verify` checks the data",
        )
