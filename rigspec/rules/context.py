"""What rules may know besides the spec: facts and catalog rows saved beside it; nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.spec.faults import FabricFaults, load_faults
from rigspec.spec.rig import Rig

if TYPE_CHECKING:
    from rigspec.catalog.model_facts import ModelFacts
    from rigspec.sizing.service import Sized


@dataclass(frozen=True)
class CheckContext:
    """Facts by name of the spec's `models`; a model that is not in here is unknown."""

    models: Mapping[str, ModelFacts] = field(default_factory=lambda: MappingProxyType({}))
    catalog: Path | None = None
    """The owner's folder of further catalog rows."""
    faults: FabricFaults | None = None
    """What a measurement found wrong between cards (`NAME.fabric.json`); None: nothing."""
    sized: dict[str, tuple[Rig, Sized | None]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Services already sized, and of which rig: several rules ask for the same one."""

    def gpu(self, rig: Rig, group_or_member: str) -> Gpu | None:
        """The card of a group (`main`) or a member (`main.0`); None when the SKU is unknown."""
        group = rig.gpus.get(group_or_member.partition(".")[0])
        return find_gpu(group.sku, self.catalog) if group else None


def saved_context(rig: Rig, spec: Path) -> CheckContext:
    """What lies beside a spec: `models/ORG__NAME.json`, `NAME.fabric.json`, and `../catalog/`.

    SpecFileError when the list of faults cannot be used: the plan would turn P2P on again.
    """
    catalog = spec.resolve().parent.parent / "catalog"
    folder = spec.parent / "models"
    found = _saved_facts(rig, folder) if folder.is_dir() else {}
    return CheckContext(
        MappingProxyType(found), catalog if catalog.is_dir() else None, load_faults(spec, rig.name)
    )


def _saved_facts(rig: Rig, folder: Path) -> dict[str, ModelFacts]:
    """By model; a file that cannot be read counts as unknown."""
    from rigspec.catalog.models import load_model_facts  # slow to import, needed by few specs

    found: dict[str, ModelFacts] = {}
    for name, model in rig.models.items():
        for key in filter(None, (model.hub, Path(model.path or "").name)):
            try:
                facts = load_model_facts(key, (folder,))
            except (OSError, ValueError):
                continue
            if facts is not None:
                found.setdefault(name, facts)
    return found
