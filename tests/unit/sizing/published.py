"""Models and cards by the names they are published under."""

from __future__ import annotations

from pathlib import Path

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.cards import Card, card_of

CONFIGS = Path(__file__).parents[3] / "benchmarks/data/model-configs"


def model(name: str) -> ModelFacts:
    """A model whose config the benchmark keeps."""
    found = load_model_facts(name, [CONFIGS])
    assert found is not None, name
    return found


def card(
    sku: str,
    *,
    total_gib: float | None = None,
    free_gib: float | None = None,
    power_w: float | None = None,
) -> Card:
    """A card of the catalog, with the memory that somebody saw and the cap that is set."""
    gpu = find_gpu(sku)
    assert gpu is not None, sku
    return card_of(gpu, total_gib=total_gib, free_gib=free_gib, power_limit_w=power_w)
