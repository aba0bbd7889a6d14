"""What rules may know besides the spec: facts and catalog rows saved beside it; nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import field
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from rigspec.catalog.data import save_folder
from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.frozen import dataclass
from rigspec.spec.faults import FabricFaults, load_faults
from rigspec.spec.models import Model
from rigspec.spec.rig import Rig

if TYPE_CHECKING:
    from rigspec.catalog.model_facts import ModelFacts
    from rigspec.sizing.service import Sized


@dataclass(frozen=True)
class CheckContext:
    """Facts by name of the spec's `models`; a model that is not in here is unknown."""

    models: Mapping[str, ModelFacts] = field(default_factory=lambda: MappingProxyType({}))
    unusable: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Why what is saved of a model cannot be used, by name of the spec's `models`."""
    alike: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """File of another model whose name differs in capitals only, where a model has none."""
    catalog: Path | None = None
    """The owner's folder of further catalog rows."""
    save_to: Path | None = None
    """Where `rigspec model add` must be told to save for this spec; None: it does so by itself."""
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
    """What lies beside a spec: saved models, `NAME.fabric.json`, and the owner's `../catalog/`.

    That folder holds rows of his own, and models in `models/`. SpecFileError when the list of
    faults cannot be used: the plan would turn P2P on again.
    """
    catalog = spec.resolve().parent.parent / "catalog"
    beside = spec.parent / "models"
    folders = [folder for folder in (beside, catalog / "models") if folder.is_dir()]
    found, unusable = _saved_facts(rig, folders) if folders else ({}, {})
    return CheckContext(
        MappingProxyType(found),
        MappingProxyType(unusable),
        _alike(rig, found.keys() | unusable.keys(), folders),
        catalog if catalog.is_dir() else None,
        None if beside.resolve() == save_folder().resolve() else beside,
        load_faults(spec, rig.name),
    )


def _saved_facts(rig: Rig, folders: Sequence[Path]) -> tuple[dict[str, ModelFacts], dict[str, str]]:
    """Facts by model, and why a file that is there cannot be used. Of a spec that names a GGUF file
    a checkpoint's config is no record: its weights are of another width."""
    from rigspec.catalog.models import load_model_facts  # slow to import, needed by few specs

    found: dict[str, ModelFacts] = {}
    unusable: dict[str, str] = {}
    for name, model in rig.models.items():
        for key in filter(None, (model.hub, Path(model.path or "").name)):
            try:
                facts = load_model_facts(key, folders)
            except (OSError, ValueError) as problem:
                unusable.setdefault(name, str(problem))
                continue
            if facts is not None and _is_of(model, facts):
                found.setdefault(name, facts)
    return found, {name: why for name, why in unusable.items() if name not in found}


def _is_of(model: Model, facts: ModelFacts) -> bool:
    """Whether a record is of the weights that are served: a GGUF of its own file."""
    if not model.is_gguf or facts.sizes is None:
        return not model.is_gguf
    named = PurePath(model.file or "").name
    return facts.is_gguf and facts.sizes.source.endswith(f" {named}" if named else "")


def _alike(rig: Rig, known: Set[str], folders: Sequence[Path]) -> Mapping[str, str]:
    """Saved files whose names differ in capitals only from those that were looked for."""
    wanted = {
        name: (model.hub or Path(model.path or "").name).replace("/", "__")
        for name, model in rig.models.items()
        if name not in known
    }
    files = [file for folder in folders for file in folder.glob("*.json")] if wanted else []
    found = {file.stem.lower(): str(file) for file in files}
    same = {file.stem for file in files}  # the checkpoint's of which a GGUF was made
    return MappingProxyType(
        {
            name: found[stem.lower()]
            for name, stem in wanted.items()
            if stem.lower() in found and stem not in same
        }
    )
