"""The running kernel: its line, what it did not understand, the IOMMU in effect, modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rigspec.observed.kernel import Iommu
from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import KernelPlan, Plan
from rigspec.verify.advice import run_stage, take_out
from rigspec.verify.kernel_line import IOMMU, NO_FAULT, LineFault, fault_of
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

_IDENTITY, _TRANSLATED = "identity", ("DMA", "DMA-FQ")


def verify_kernel(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the running kernel."""
    yield should_exist(plan.kernel, seen)
    yield should_not_exist(plan.kernel, seen)
    yield next_boot(plan.kernel, seen)
    yield understood(plan.kernel, seen)
    yield iommu_effect(plan, seen)
    yield nouveau_absent(plan.kernel, seen)
    yield from module_options(plan.kernel, seen)


def should_exist(plan: KernelPlan, seen: Observation) -> Verdict:
    """Every planned argument stands on the running line."""
    check = Check(
        "kernel.arguments",
        "kernel line has what is planned",
        "/proc/cmdline",
        " ".join(plan.arguments),
        "kernel",
    )
    line = Unknown("not read") if isinstance(seen.host, Unknown) else seen.host.cmdline
    if isinstance(line, Unknown):
        return check.unknown(line)
    missing = fault_of(plan, line).lacking
    if not missing:
        return check.passed("all of them")
    return check.failed(
        f"missing: {' '.join(missing)}",
        "the running kernel was booted without them",
        f"{run_stage('kernel', 'reboot')}; if it stays, another GRUB entry or another loader boots",
    )


def should_not_exist(plan: KernelPlan, seen: Observation) -> Verdict:
    """No argument that undoes a planned one."""
    check = Check(
        "kernel.contradictions",
        "kernel line has nothing against it",
        "/proc/cmdline",
        spec_field="kernel",
    )
    line = Unknown("not read") if isinstance(seen.host, Unknown) else seen.host.cmdline
    if isinstance(line, Unknown):
        return check.unknown(line)
    found = fault_of(plan, line).against
    if not found:
        return check.passed("nothing")
    return check.failed(
        " ".join(found), "these undo what the spec asks for", f"{take_out(found)}; reboot"
    )


def next_boot(plan: KernelPlan, seen: Observation) -> Verdict:
    """The next boot keeps what this one has: GRUB's first entry has every planned argument."""
    check = Check(
        "kernel.next-boot",
        "next boot has what is planned",
        "/boot/grub/grub.cfg, first entry",
        " ".join(plan.arguments),
        "kernel",
    )
    if not plan.arguments:
        return check.not_applicable("no argument is planned")
    if isinstance(seen.next_boot, Unknown):
        return check.unknown(seen.next_boot)
    fault = fault_of(plan, seen.next_boot)
    if fault == NO_FAULT:
        return check.passed("all of them")
    wrong = [f"without {arg}" for arg in fault.lacking] + [f"with {arg}" for arg in fault.against]
    return check.failed(
        listed(wrong), "the next reboot would lose what is in effect now", mend_next_boot(fault)
    )


def mend_next_boot(fault: LineFault) -> str:
    """The stage writes what is lacking; words in files that are not ours, only the owner takes."""
    theirs = [take_out(fault.against)] if fault.against else []
    ours = [run_stage("kernel")] if fault.lacking else []
    return "; then ".join([*theirs, *ours])


def understood(plan: KernelPlan, seen: Observation) -> Verdict:
    """The kernel took its options; it says so in its log when it does not."""
    check = Check("kernel.understood", "kernel understood its options", "journalctl -k -b")
    if isinstance(seen.refused, Unknown):
        return check.unknown(seen.refused)
    refused = [r for r in seen.refused if r.is_proof]
    ours = set(plan.arguments)
    passed_on = [r for r in seen.refused if not r.is_proof and r.option in ours]
    if refused:
        planned = any(_is_ours(r.option, ours) for r in refused)
        return check.failed(
            listed(r.line for r in refused),
            "this kernel does not know the option, so it has no effect",
            "take it out of `kernel.arguments`, or use a kernel that knows it"
            if planned
            else "somebody put it there: take it out of /etc/default/grub, update-grub, reboot",
        )
    if passed_on:
        return check.warned(
            listed(r.option for r in passed_on),
            "the kernel handed these on to user space: it may not know them",
            "look at: kernel-parameters.txt of this kernel version",
        )
    return check.passed("no complaint in the log")


def _is_ours(option: str, arguments: set[str]) -> bool:
    return bool(option) and any(option in argument for argument in arguments)


def iommu_effect(plan: Plan, seen: Observation) -> Verdict:
    """The mode in effect, from groups and their types, never from the string."""
    mode = plan.kernel.iommu
    words = {"off": "no IOMMU", "pt": "identity domains", "on": "translated domains"}
    check = Check(
        "kernel.iommu",
        "IOMMU in effect",
        "/sys/kernel/iommu_groups/*/type",
        words[mode],
        "kernel.iommu",
    )
    if isinstance(seen.iommu, Unknown):
        return check.unknown(seen.iommu)
    if isinstance(seen.iommu.groups, Unknown) or isinstance(seen.iommu.units, Unknown):
        return check.unknown("groups cannot be read")
    groups = seen.iommu.groups
    if mode == "off":
        if not groups:
            return check.passed("no groups")
        return check.failed(f"{len(groups)} groups", "it is on", "look at: /proc/cmdline, dmesg")
    if groups:
        return _domains(check, mode, plan, seen)
    if said := running_fault(plan.kernel, seen).without_iommu():
        return check.failed("no groups", because_of(said), LINE_FIRST)
    return check.failed(
        "no groups",
        _why_no_groups(seen.iommu),
        "switch it on in the BIOS (AMD: IOMMU, Intel: VT-d), or set `kernel.iommu: off`",
    )


LINE_FIRST = "correct the kernel line first: rows kernel.arguments and kernel.contradictions"


def because_of(said: Iterable[str]) -> str:
    """The reason of a row that words of the kernel line have turned red."""
    return f"the kernel line explains it: {listed(said)}"


def running_fault(plan: KernelPlan, seen: Observation) -> LineFault:
    """What is wrong with the running line; nothing where it was not read."""
    host = known(seen.host)
    line = known(host.cmdline) if host else None
    return NO_FAULT if line is None else fault_of(plan, line)


def _why_no_groups(iommu: Iommu) -> str:
    if iommu.firmware_tables == ():
        return "the firmware offers none: it is switched off in the BIOS"
    return "the kernel did not start it"


def _domains(check: Check, mode: str, plan: Plan, seen: Observation) -> Verdict:
    if isinstance(seen.tree, Unknown) or isinstance(seen.iommu, Unknown):
        return check.unknown("the PCI tree cannot be read")
    if not seen.tree.gpus:
        return check.unknown("no GPU is on the PCI bus")
    wanted = (_IDENTITY,) if mode == "pt" else _TRANSLATED
    wrong = []
    for gpu in seen.tree.gpus:
        group = seen.iommu.group_of(gpu.address)
        if group is None:
            wrong.append(f"{gpu.address} in no group")
        elif isinstance(group.type, Unknown):
            return check.unknown(group.type)
        elif group.type not in wanted:
            wrong.append(f"{gpu.address} is {group.type}")
    if not wrong:
        return check.passed(f"{len(seen.tree.gpus)} GPUs: {' or '.join(wanted)}")
    if said := running_fault(plan.kernel, seen).about(IOMMU):
        return check.failed(listed(wrong), because_of(said), LINE_FIRST)
    return check.failed(
        listed(wrong), f"the spec says `iommu: {mode}`", "look at: /proc/cmdline; was it rebooted?"
    )


def nouveau_absent(plan: KernelPlan, seen: Observation) -> Verdict:
    """nouveau would take the cards from the driver."""
    check = Check("kernel.nouveau", "nouveau is out", "/proc/modules", "not loaded")
    if "nouveau" not in plan.blacklist:
        return check.not_applicable("the plan does not exclude it")
    loaded = seen.modules if isinstance(seen.modules, Unknown) else seen.modules.loaded
    if isinstance(loaded, Unknown):
        return check.unknown(loaded)
    if "nouveau" not in loaded:
        return check.passed("not loaded")
    return check.failed("loaded", "the blacklist came too late", run_stage("kernel", "reboot"))


def module_options(plan: KernelPlan, seen: Observation) -> Iterator[Verdict]:
    """Options of loaded modules, as sysfs shows them."""
    for module, option, value in plan.module_options:
        if module in plan.blacklist:
            continue
        check = Check(
            f"kernel.module.{module}.{option}",
            f"{module} runs with {option}",
            "/sys/module/*/parameters, /proc/driver/nvidia/params",
            value,
            f"kernel.module_options.{module}.{option}",
        )
        if isinstance(seen.modules, Unknown):
            yield check.unknown(seen.modules)
            continue
        found = seen.modules.parameters.get(f"{module}.{option}")
        found = found or seen.modules.nvidia_params.get(option.removeprefix("NVreg_"))
        if found is None:
            reason = "the module does not show this option, or is not loaded"
            yield (
                check.not_applicable(f"simulated: {reason}")
                if seen.simulated
                else (check.unknown(reason, f"look at: modinfo -p {module}"))
            )
        elif _same(found) == _same(value):
            yield check.passed(found)
        else:
            yield check.failed(found, "the module was loaded with another value", "reboot")


def _same(value: str) -> str:
    return {"Y": "1", "N": "0"}.get(value, value.strip('"'))
