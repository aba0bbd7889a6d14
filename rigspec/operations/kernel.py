"""The kernel stage: GRUB drop-ins, module options and initramfs, for the next boot.

What is compared is what would boot next (grub.cfg, the age of the initramfs), so a run that was
killed between a drop-in and `update-grub` does the rest the next time. Why a reboot is owed is
written to /run before the file that causes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.boot import REBOOT_FLAG, Boot, BootState, KernelStage, KernelState
from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown
from rigspec.operations.files import differing, write
from rigspec.operations.shell import UNREADABLE, refuse, shell
from rigspec.plan.kernel import ACS_FILE, GRUB_FILE, MODPROBE_FILE, acs_grub_file, acs_path
from rigspec.plan.sections import KernelPlan, PciePlan, RenderedFile
from rigspec.verify.advice import take_out

Commands = Generator[StringCommand | FunctionCommand, None, None]

NO_GRUB = (
    "/boot/grub/grub.cfg is not there: rigspec sets kernel arguments through GRUB\n"
    "look at: bootctl status; a host that boots with systemd-boot or another loader is not "
    "supported yet"
)

_UPDATE_GRUB = """\
if ! out=$(LC_ALL=C update-grub 2>&1); then
  echo "update-grub failed:" >&2; echo "$out" | tail -n 5 >&2
  echo "look at: /etc/default/grub, /etc/default/grub.d, df -h /boot" >&2
  exit 1
fi
"""

_UPDATE_INITRAMFS = """\
if ! out=$(LC_ALL=C update-initramfs -u -k all 2>&1); then
  echo "update-initramfs failed:" >&2; echo "$out" | tail -n 5 >&2
  echo "look at: df -h /boot /tmp; old kernels can go: apt-get autoremove" >&2
  exit 1
fi
"""


def bridge_paths(tree: PciTree | Unknown) -> tuple[str, ...] | Unknown:
    """The bridges between GPUs that can do ACS, by their way down from the root port."""
    if isinstance(tree, Unknown):
        return tree
    bridges = tree.bridges_between_gpus()
    if isinstance(bridges, Unknown):
        return bridges
    found = []
    for bridge in bridges:
        way = tree.path(bridge.address)
        if isinstance(way, Unknown):
            return way
        if isinstance(bridge.acs, Unknown):
            return bridge.acs
        if bridge.acs is not None:
            found.append(acs_path([step.address for step in way]))
    return tuple(found)


def acting_lines(text: str) -> str:
    """What GRUB or modprobe acts on in a file: a changed comment is no reason for a reboot."""
    lines = (line for line in text.splitlines() if line.strip())
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def owed_by(wrong: Iterable[RenderedFile], seen: KernelState) -> tuple[str, ...]:
    """Why writing these files makes a reboot necessary."""
    found = []
    for file in wrong:
        if acting_lines(file.content) == seen.acting.get(file.dest, ""):
            continue
        of_modules = file.dest == MODPROBE_FILE
        found.append(f"{'module options' if of_modules else 'kernel arguments'} have changed")
    return tuple(dict.fromkeys(found))


def remember(why: Iterable[str]) -> str:
    """Shell text that leaves the reasons for a reboot where the boot clears them."""
    lines = "".join(f"echo {shlex.quote(reason)} >>{REBOOT_FLAG}\n" for reason in why)
    return f"mkdir -p {REBOOT_FLAG.rpartition('/')[0]}\n{lines}" if lines else ""


def next_boot_problems(plan: KernelPlan, boot: BootState) -> tuple[str, ...]:
    """How grub.cfg differs from the plan: arguments it lacks, and ones it must not have."""
    have = boot.grub or ()
    lacking = [f"`{arg}` is missing in /boot/grub/grub.cfg" for arg in plan.arguments]
    found = [text for text, arg in zip(lacking, plan.arguments, strict=True) if arg not in have]
    found += [
        f"`{arg}` is set on this host and contradicts the spec: {take_out([arg])}"
        for arg in plan.should_not_exist
        if arg in have
    ]
    return tuple(found)


def kernel_files(
    plan: KernelPlan, pcie: PciePlan, rig: str, seen: KernelState
) -> tuple[RenderedFile, ...] | Unknown:
    """The stage's files, the host's own ACS argument among them."""
    if not pcie.acs_off:
        return plan.files
    bridges = bridge_paths(seen.tree)
    if isinstance(bridges, Unknown):
        return bridges
    return (*plan.files, acs_grub_file(rig, bridges))


@operation()
def next_boot(*, rig: str, plan: KernelPlan, pcie: PciePlan) -> Commands:
    """The next boot has the planned arguments, module options and initramfs."""
    paths = (GRUB_FILE, ACS_FILE, *(file.dest for file in plan.files))
    parameters = tuple((module, option) for module, option, _ in plan.module_options)
    seen = host.get_fact(KernelStage, paths=tuple(dict.fromkeys(paths)), parameters=parameters)
    if seen is None or seen.boot.grub is None:
        yield refuse(UNREADABLE if seen is None else NO_GRUB)
        return
    files = kernel_files(plan, pcie, rig, seen)
    if isinstance(files, Unknown):
        yield refuse(f"the PCI tree cannot be read: {files.reason}\nlook at: lspci -tv as root")
        return
    yield from _bring_about(plan, files, seen)


def _bring_about(plan: KernelPlan, files: tuple[RenderedFile, ...], seen: KernelState) -> Commands:
    wrong = differing(files, seen.files)
    planned = {file.dest for file in files}
    stale = [path for path in (ACS_FILE,) if path in seen.files and path not in planned]
    why = owed_by(wrong, seen) + (("kernel arguments have changed",) if stale else ())
    if wrong:
        yield write(wrong, before=remember(why))
    if stale:
        yield shell(remember(why) + 'rm -f -- "$@"', *stale)
    grub = bool(stale) or any(file.dest != MODPROBE_FILE for file in wrong)
    if grub or seen.boot.grub_stale or _lacks(plan, seen.boot):
        yield shell(_UPDATE_GRUB)
        grub = True
    if seen.boot.initrd_stale or any(file.dest == MODPROBE_FILE for file in wrong):
        yield shell(_UPDATE_INITRAMFS)
    boot = host.get_fact(Boot) if grub else seen.boot
    problems = next_boot_problems(plan, boot) if boot is not None else (UNREADABLE,)
    if problems:
        yield refuse("\n".join(problems))
    elif not wrong and not stale and not grub:
        host.noop("kernel arguments, module options and initramfs are as planned")


def _lacks(plan: KernelPlan, boot: BootState) -> bool:
    return any(arg not in (boot.grub or ()) for arg in plan.arguments)
