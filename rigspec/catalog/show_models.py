"""The models saved beside the rigs as rows for `rigspec catalog models [NAME]`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rigspec.catalog.data import OWN_FOLDERS
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import UnusableModel, load_model_facts, saved_models
from rigspec.catalog.show import Line
from rigspec.units import GIB

FOLDERS = (
    Path("rigs/models"),
    Path("models"),
    *(folder / "models" for folder in OWN_FOLDERS),
)
"""Where `rigspec model add` saves models, and where owners keep their own."""


def list_models(folders: Iterable[Path] = FOLDERS) -> list[Line]:
    """One short line per saved model; a file that cannot be used says why."""
    return [_line(name, path) for name, path in saved_models(folders)]


def list_model(name: str, folders: Iterable[Path] = FOLDERS) -> list[Line]:
    """Every field of one saved model with its source; empty when nothing is saved of it."""
    found = dict(saved_models(folders)).get(name.partition("@")[0])
    facts = load_model_facts(found) if found else None
    if facts is None or found is None:
        return []
    sizes, config = facts.sizes, str(found)
    rows: list[tuple[str, object, str]] = [
        ("name", facts.name, config),
        ("revision", facts.revision, config),
        ("architecture", facts.model_type, config),
        ("layers", _layers(facts), config),
        ("width", facts.hidden, config),
        ("vocabulary", facts.vocab, config),
        ("query heads", facts.heads or None, config),
        ("key/value heads", facts.kv_heads or None, config),
        ("experts", _experts(facts), config),
        ("longest context", facts.max_positions, config),
        ("quantization", facts.quantization.label or "none", config),
        ("weights bytes", sizes.total_bytes if sizes else None, sizes.source if sizes else ""),
        ("not understood", "; ".join(facts.doubts) or "nothing", config),
    ]
    return [{"field": field, "value": value, "source": source} for field, value, source in rows]


def _line(name: str, path: Path) -> Line:
    try:
        facts = load_model_facts(path)
    except (UnusableModel, OSError) as problem:
        return {"model": name, "architecture": f"cannot be used: {problem}"}
    if facts is None:
        return {"model": name, "architecture": "cannot be used"}
    return {
        "model": name,
        "architecture": facts.model_type,
        "layers": len(facts.layers),
        "quantization": facts.quantization.label or "none",
        "weights GiB": round(facts.sizes.total_bytes / GIB, 1) if facts.sizes else None,
        "context": facts.max_positions,
        "revision": (facts.revision or "")[:12] or None,
    }


def _layers(facts: ModelFacts) -> str:
    """`16 Attention, 48 Delta`."""
    kinds = Counter(type(layer.mixer).__name__ for layer in facts.layers if layer.mixer)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _experts(facts: ModelFacts) -> str | None:
    """`8 of 128`; None in a dense model."""
    experts = next((layer.experts for layer in facts.layers if layer.experts), None)
    return f"{experts.active} of {experts.count}" if experts else None
