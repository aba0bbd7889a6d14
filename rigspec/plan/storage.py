"""Folders for weights: a mount unit where the disk is theirs, nothing where it is not."""

from __future__ import annotations

import re

from rigspec.plan.render import UNITS, render
from rigspec.plan.sections import MountPlan, RenderedFile
from rigspec.spec.rig import Rig
from rigspec.spec.storage import Storage

_BY = {"LABEL": "by-label", "UUID": "by-uuid", "PARTUUID": "by-partuuid"}


def plan_storage(rig: Rig) -> tuple[MountPlan, ...]:
    """One section per `storage` entry, in the order of the YAML."""
    return tuple(_plan_mount(rig, name, storage) for name, storage in rig.storage.items())


def _plan_mount(rig: Rig, name: str, storage: Storage) -> MountPlan:
    unit = mount_unit(storage.path) if storage.device else None
    return MountPlan(
        name=name,
        path=storage.path,
        device=storage.device,
        filesystem=storage.filesystem,
        min_free_gib=storage.min_free_gib,
        unit=unit,
        files=(_unit_file(rig, name, storage, unit),) if unit else (),
    )


def _unit_file(rig: Rig, name: str, storage: Storage, unit: str) -> RenderedFile:
    options = storage.options.split(",")
    return render(
        f"{UNITS}/{unit}",
        rig=rig.name,
        origin=f"storage.{name}",
        template="etc/systemd/system/MOUNT.mount",
        path=storage.path,
        what=device_path(storage.device or ""),
        filesystem=storage.filesystem,
        options=storage.options,
        nofail="nofail" in options,
    )


def mount_unit(path: str) -> str:
    """Name of the mount unit of a path, as `systemd-escape --path --suffix=mount` prints it."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    escaped = "-".join(_escape(part) for part in parts)
    if escaped.startswith("."):
        escaped = r"\x2e" + escaped[1:]
    return (escaped or "-") + ".mount"


def _escape(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9:_.]", lambda found: rf"\x{ord(found[0]):02x}", part)


def device_path(device: str) -> str:
    """`LABEL=weights` as the path that udev makes for it: a unit waits for a device by its path."""
    kind, equals, value = device.partition("=")
    if not equals:
        return device
    return f"/dev/disk/{_BY[kind]}/" + value.replace("/", r"\x2f")
