"""What rules may know besides the spec: facts saved beside it. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rigspec.spec.rig import Rig

if TYPE_CHECKING:
    from rigspec.catalog.model_facts import ModelFacts


@dataclass(frozen=True)
class CheckContext:
    """Facts by name of the spec's `models`; a model that is not in here is unknown."""

    models: Mapping[str, ModelFacts] = field(default_factory=lambda: MappingProxyType({}))


def saved_context(rig: Rig, folder: Path) -> CheckContext:
    """Facts saved as `ORG__NAME.json` in a folder; a file that cannot be read counts as unknown."""
    if not folder.is_dir():
        return CheckContext()
    from rigspec.catalog.models import load_model_facts  # numbers only where there are any

    found: dict[str, ModelFacts] = {}
    for name, model in rig.models.items():
        for key in filter(None, (model.hub, Path(model.path or "").name)):
            try:
                facts = load_model_facts(key, (folder,))
            except (OSError, ValueError):
                continue
            if facts is not None:
                found.setdefault(name, facts)
    return CheckContext(MappingProxyType(found))
