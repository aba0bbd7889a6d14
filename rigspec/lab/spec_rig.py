"""The virtual rig of a spec file: its machine, its models, and where they are."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePosixPath

from rigspec.errors import LabError
from rigspec.finding import has_errors
from rigspec.lab.from_spec import machine_tree
from rigspec.lab.rig import HubModel, RigOptions, VirtualRig
from rigspec.lab.rootfs import Firmware, Installation
from rigspec.spec.load import load
from rigspec.spec.models import Model
from rigspec.spec.rig import Rig

NO_COMMIT = "0" * 40  # the lab's commit for a model whose revision is a branch


def load_rig(spec: Path) -> Rig:
    """The rig of a spec file; LabError when the file has errors."""
    loaded = load(str(spec))
    if loaded.rig is None or has_errors(loaded.findings):
        raise LabError(f"{spec} has errors", hint=f"rigspec check {spec}")
    return loaded.rig


def virtual_rig(spec: Path, *, firmware: Firmware = "bios") -> VirtualRig:
    """The virtual rig that stands in for this spec; it carries the spec's name."""
    rig = load_rig(spec)
    catalog = spec.resolve().parent.parent / "catalog"
    tree = machine_tree(rig, catalog if catalog.is_dir() else None)
    secure_boot = rig.driver.secure_boot == "on"
    installation = Installation(
        kernel="full" if tree.iommu == "amd" else "cloud",
        firmware="uefi" if secure_boot else firmware,
    )
    options = RigOptions(
        installation,
        secure_boot=secure_boot,
        models=hub_models(rig),
        weights=weights(rig),
        forwards=tuple(sorted({service.listen.port for service in rig.services.values()})),
    )
    return VirtualRig(tree, name=rig.name, options=options)


def weights(rig: Rig) -> dict[str, bytes]:
    """What lies on the weights disk from the start: a checkpoint for every model given by path."""
    mounts = _disks(rig)
    files: dict[str, bytes] = {}
    for model in rig.models.values():
        path = PurePosixPath(model.path or "/")
        for mount in mounts:
            if model.path and path.is_relative_to(mount):
                inside = path.relative_to(mount)
                files |= {str(inside / name): data for name, data in _files(model).items()}
    return files


def _disks(rig: Rig) -> list[PurePosixPath]:
    return [PurePosixPath(storage.path) for storage in rig.storage.values() if storage.device]


def owners_models(rig: Rig) -> tuple[str, ...]:
    """Paths of models that lie on no declared disk: the owner put them there."""
    disks = _disks(rig)
    own = [model for model in rig.models.values() if model.path]
    paths = [PurePosixPath(str(model.path)) / (model.file or "") for model in own]
    return tuple(str(p) for p in paths if not any(p.is_relative_to(disk) for disk in disks))


def hub_models(rig: Rig) -> tuple[HubModel, ...]:
    """Simulated weights for every model the spec fetches, under their real names."""
    found = [_hub_model(model.hub, model) for model in rig.models.values() if model.hub]
    return tuple(found)


def _hub_model(hub: str, model: Model) -> HubModel:
    pinned = re.fullmatch(r"[0-9a-f]{40}", model.revision or "")
    revision = pinned.group() if pinned else NO_COMMIT
    return HubModel(hub, revision, _files(model))


def _files(model: Model) -> dict[str, bytes]:
    # numpy, which a run on a virtual rig that is there does not need
    from rigspec.lab.simulated.model import gguf_bytes, simulated_checkpoint

    alone = PurePosixPath(model.path or "").suffix == ".gguf"  # the path is the file itself
    if model.file is None and not alone:
        return simulated_checkpoint()
    with tempfile.TemporaryDirectory() as scratch:
        return {"" if alone else str(model.file): gguf_bytes(Path(scratch))}
