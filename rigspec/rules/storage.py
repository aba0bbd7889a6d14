"""`storage`: folders that can be mounted and do not hide the system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig

_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys")
_SYSTEM_ROOTS = ("/", "/home", "/opt", "/srv", "/mnt", "/tmp", "/usr", "/var")  # noqa: S108


def system_folder(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Weights do not live in a folder of the system."""
    for name, storage in rig.storage.items():
        path = str(PurePosixPath(storage.path))
        inside = any(path == s or path.startswith(s + "/") for s in (*_SYSTEM, "/usr"))
        if inside or path in _SYSTEM_ROOTS or ".." in PurePosixPath(path).parts:
            yield error(
                "storage.system-folder",
                ("storage", name, "path"),
                f"`{storage.path}` belongs to the system",
                why="mounting over it hides what is there, and weights would fill it",
                hint="take a folder of its own, for example `/srv/models`",
            )


def path_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Two storages do not share a folder, and none lies inside another."""
    seen: dict[str, Path] = {}
    for name, storage in rig.storage.items():
        here = PurePosixPath(storage.path)
        for other, place in seen.items():
            there = PurePosixPath(other)
            if here == there or here in there.parents or there in here.parents:
                what = "is the same folder as" if here == there else "and"
                tail = "" if here == there else " lie one inside the other"
                found = error(
                    "storage.path-twice",
                    ("storage", name, "path"),
                    f"`{storage.path}` {what} `{other}`{tail}",
                    why="the mount that comes second hides the first",
                    hint="give each its own folder",
                )
                yield replace(found, also=(place,))
        seen.setdefault(storage.path, ("storage", name, "path"))


def device_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One file system is mounted once."""
    seen: dict[str, Path] = {}
    for name, storage in rig.storage.items():
        if storage.device is None:
            continue
        path = ("storage", name, "device")
        if storage.device in seen:
            found = error(
                "storage.device-twice", path, f"`{storage.device}` is mounted in two places"
            )
            yield replace(found, also=(seen[storage.device],))
        seen.setdefault(storage.device, path)


def device_name_moves(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`/dev/sdb1` and `/dev/nvme1n1p1` change from boot to boot."""
    for name, storage in rig.storage.items():
        device = storage.device or ""
        if device.startswith(("/dev/sd", "/dev/nvme", "/dev/vd")):
            yield warning(
                "storage.device-name-moves",
                ("storage", name, "device"),
                f"`{device}` may be another disk after the next boot",
                why="the kernel numbers disks in the order they answer",
                hint="`lsblk -o NAME,LABEL,UUID` prints names that stay: `UUID=…` or `LABEL=…`",
            )


def boot_waits_for_disk(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A disk for weights must not keep the host from booting."""
    for name, storage in rig.storage.items():
        if storage.device is not None and "nofail" not in storage.options.split(","):
            yield warning(
                "storage.boot-waits-for-disk",
                ("storage", name, "options"),
                "`nofail` is missing from the mount options",
                why="a missing or damaged disk then stops the boot in emergency mode, where SSH "
                "is not up",
                hint=f"`options: {storage.options},nofail`",
            )


def zfs_by_label(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """ZFS mounts pools by itself."""
    for name, storage in rig.storage.items():
        if storage.filesystem == "zfs" and storage.device is not None:
            yield warning(
                "storage.zfs-by-label",
                ("storage", name, "filesystem"),
                "a ZFS dataset is mounted by ZFS, not from a device",
                hint="delete `device` and set the dataset's mountpoint with `zfs set`",
            )
