"""Fact: how the machine runs, and how it would boot next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import RigFact, Sections, one_script
from rigspec.facts.managed import FileState, files_probe, lines_of, parse_files, words
from rigspec.frozen import dataclass
from rigspec.observed.pci import PciTree
from rigspec.observed.pci_probe import parse_pci_probe
from rigspec.observed.probes import PCI_PROBES, Probe
from rigspec.observed.record import Record, Unknown

REBOOT_FLAG = "/run/rigspec/reboot-required"
"""Why a reboot is owed, one reason per line; below /run, so the reboot itself clears it."""

Parameter = tuple[str, str]
"""Module and option: `("nvidia_uvm", "uvm_disable_hmm")`."""


@dataclass(frozen=True)
class BootState(Record):
    """The running kernel, its modules, and what grub.cfg holds for the next boot."""

    boot_id: str
    kernel: str
    cmdline: tuple[str, ...]
    grub: tuple[str, ...] | None
    """Arguments of the first entry in grub.cfg; None without a grub.cfg."""
    grub_stale: bool
    """Whether something below /etc/default is newer than grub.cfg."""
    initrd_stale: bool
    """Whether an initramfs is older than our module options."""
    driver_loaded: str | None
    driver_installed: str | None
    """Version of the module that the running kernel would load; None if it has none."""
    smi: str
    """nvidia-smi's complaint, asked only where sysfs shows no driver; empty: none, or not there."""
    nouveau: bool
    parameters: Mapping[str, str]
    """`module.option` → value, for modules that are loaded."""
    owed: tuple[str, ...]
    """Reasons for a reboot that earlier steps left behind."""


def boot_probe(parameters: tuple[Parameter, ...] = ()) -> Probe:
    """Everything of BootState, a few processes."""
    read = "".join(
        f'[ -r {p} ] && echo "param {m}.{o}=$(cat {p})"\n'
        for m, o in parameters
        for p in [shlex.quote(f"/sys/module/{m}/parameters/{o}")]
    )
    return Probe(
        "boot",
        f"""\
read -r v </proc/sys/kernel/random/boot_id && echo "boot_id $v"
r=$(uname -r); echo "kernel $r"
read -r v </proc/cmdline && echo "cmdline $v"
g=/boot/grub/grub.cfg
if [ -e $g ]; then
  echo "grub $(grep -m 1 -E '^[[:space:]]*linux(efi)?[[:space:]]' $g)"
  for f in /etc/default/grub /etc/default/grub.d/*.cfg /etc/default/grub.d; do
    [ ! "$f" -nt $g ] || echo "grub-stale $f"
  done
fi
for f in /boot/initrd.img-*; do
  [ -e "$f" ] && [ /etc/modprobe.d/rigspec.conf -nt "$f" ] && echo "initrd-stale $f"
done
if [ -r /sys/module/nvidia/version ]; then echo "loaded $(cat /sys/module/nvidia/version)"
elif command -v nvidia-smi >/dev/null; then
  v=$(timeout 30 nvidia-smi -L 2>&1 </dev/null) || echo "smi $(echo "$v" | head -n 1)"
fi
v=$(modinfo -F version nvidia 2>/dev/null) && echo "installed $v"
[ -d /sys/module/nouveau ] && echo nouveau
{read}[ ! -r {REBOOT_FLAG} ] || sed 's/^/owed /' {REBOOT_FLAG}
true
""",
    )


def parse_boot(sections: Sections) -> BootState:
    """The record; what was not printed is None or empty."""
    at: dict[str, list[str]] = {}
    for line in lines_of(sections, "boot"):
        key, _, value = line.strip().partition(" ")
        at.setdefault(key, []).append(value.strip())
    parameters = dict(item.partition("=")[::2] for item in at.get("param", ()))
    grub = at.get("grub")
    return BootState(
        boot_id=_first(at, "boot_id") or "",
        kernel=_first(at, "kernel") or "",
        cmdline=arguments(_first(at, "cmdline") or ""),
        grub=None if grub is None else arguments(grub[0])[2:],
        grub_stale="grub-stale" in at,
        initrd_stale="initrd-stale" in at,
        driver_loaded=_first(at, "loaded"),
        driver_installed=_first(at, "installed"),
        smi=_first(at, "smi") or "",
        nouveau="nouveau" in at,
        parameters=parameters,
        owed=tuple(at.get("owed", ())),
    )


def _first(at: Mapping[str, list[str]], key: str) -> str | None:
    values = at.get(key)
    return values[0] if values else None


def arguments(line: str) -> tuple[str, ...]:
    """The words of a kernel command line, quotes undone (GRUB needs them around `;`)."""
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return tuple(line.split())


@dataclass(frozen=True)
class KernelState(Record):
    """What the kernel stage compares: its files, the boot, the PCI tree, words in old drop-ins."""

    files: Mapping[str, FileState]
    boot: BootState
    tree: PciTree | Unknown
    acting: Mapping[str, str]
    """What GRUB and modprobe act on in our files, by path: all lines but blanks and comments."""


class Boot(RigFact[BootState]):
    """How the running kernel was booted and what the next boot would use."""

    @override
    def command(self, parameters: tuple[Parameter, ...] = ()) -> StringCommand:
        return one_script([boot_probe(parameters)])

    @override
    def parse(self, sections: Sections) -> BootState:
        return parse_boot(sections)


class KernelStage(RigFact[KernelState]):
    """The kernel stage in one round trip."""

    @override
    def command(
        self, paths: tuple[str, ...], parameters: tuple[Parameter, ...] = ()
    ) -> StringCommand:
        silent = "-e '^[[:space:]]*#' -e '^[[:space:]]*$'"
        lines = Probe("acting", f"grep -H -v {silent} -- {words(paths)} 2>/dev/null; true")
        return one_script([files_probe(paths), boot_probe(parameters), *PCI_PROBES, lines])

    @override
    def parse(self, sections: Sections) -> KernelState:
        found: dict[str, str] = {}
        for line in lines_of(sections, "acting"):
            path, _, text = line.partition(":")
            found[path] = f"{found[path]}\n{text}" if path in found else text
        return KernelState(
            files=parse_files(sections),
            boot=parse_boot(sections),
            tree=parse_pci_probe(sections),
            acting=found,
        )
