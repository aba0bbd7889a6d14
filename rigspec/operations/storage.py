"""The storage stage: folders for weights, mounted by our own units, never formatted."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.storage import StorageStage, StorageState
from rigspec.observed.record import Unknown
from rigspec.observed.storage import BlockDevice
from rigspec.operations.files import differing, write
from rigspec.operations.shell import UNREADABLE, refuse, shell
from rigspec.operations.units import unit_changes
from rigspec.plan.sections import MountPlan

_TAGS = {"LABEL=": "label", "UUID=": "uuid", "/dev/": "path"}


def missing_device(mount: MountPlan, seen: StorageState) -> str | None:
    """Why a mount cannot work: its device is not there, or holds another file system."""
    if mount.device is None or isinstance(seen.storage.devices, Unknown):
        return None
    tag = next((tag for tag in _TAGS if mount.device.startswith(tag)), None)
    if tag is None or mount.filesystem == "zfs" or mount.device.startswith("/dev/disk/"):
        return None  # lsblk does not list these; the mount itself will say
    value = mount.device if tag == "/dev/" else mount.device.removeprefix(tag)
    found = [d for d in seen.storage.devices if getattr(d, _TAGS[tag]) == value]
    where = f"storage.{mount.name}"
    if not found:
        listed = ", ".join(_describe(d) for d in seen.storage.devices if d.fstype) or "none"
        return (
            f"{where} needs {mount.device}, and no such device is there\n"
            f"file systems seen: {listed}\n"
            "look at: lsblk -f; is the disk plugged in? rigspec never formats: make the file "
            f"system by hand (mkfs.{mount.filesystem} -L …) if the disk is new"
        )
    if found[0].fstype and found[0].fstype != mount.filesystem:
        return (
            f"{where}: {mount.device} holds {found[0].fstype}, the spec says {mount.filesystem}\n"
            f"correct `{where}.filesystem`; rigspec never formats"
        )
    return None


def _describe(device: BlockDevice) -> str:
    label = f" label {device.label}" if device.label else ""
    return f"{device.path} ({device.fstype}{label})"


@operation()
def mounted(
    *, plan: tuple[MountPlan, ...]
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Every folder for weights is there, mounted where it shall be.

    `min_free_gib` is the fetch script's to judge: only what is still to be fetched needs room.
    """
    files = tuple(file for mount in plan for file in mount.files)
    units = tuple(mount.unit for mount in plan if mount.unit)
    paths = tuple(mount.path for mount in plan)
    seen = host.get_fact(StorageStage, paths=(*paths, *(f.dest for f in files)), units=units)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    trouble = [t for mount in plan if (t := missing_device(mount, seen))]
    if trouble:
        yield refuse("\n".join(trouble))
        return
    wrong = differing(files, seen.files)
    if wrong:
        yield write(wrong)
    absent = [path for path in paths if path not in seen.files]
    if absent:
        yield shell('mkdir -p -- "$@"', *absent)
    steps = list(unit_changes(units, seen.units, wrong))
    yield from steps
    if not wrong and not absent and not steps:
        host.noop(f"{len(paths)} folders for weights are in place")
