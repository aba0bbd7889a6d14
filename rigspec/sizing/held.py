"""A model as its tensor headers show it, where they contradict its config."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Layer
from rigspec.catalog.model_shapes import Shapes


@lru_cache(maxsize=16)
def as_held(facts: ModelFacts) -> ModelFacts:
    """The same model with the layers, heads and words that its files hold; itself where they bear
    the config out."""
    shapes = facts.sizes.shapes if facts.sizes is not None else None
    if shapes is None or not facts.contradicted or not facts.layers:
        return facts
    kept = facts.layers
    if abs(shapes.layers - len(kept)) > max(1, len(facts.draft.layers)):
        kept = tuple(kept[index % len(kept)] for index in range(shapes.layers))
    vocab = shapes.words[0] if len(shapes.words) == 1 else facts.vocab
    return replace(facts, layers=tuple(_held(layer, shapes) for layer in kept), vocab=vocab)


def _held(layer: Layer, shapes: Shapes) -> Layer:
    """Heads by the rows of the projections, where all layers have one number of them."""
    mixer = layer.mixer
    if not isinstance(mixer, Attention) or len(shapes.q_rows) != 1 or len(shapes.k_rows) != 1:
        return layer
    heads = shapes.q_rows[0] // (mixer.head_dim * (2 if mixer.gated else 1))
    kv_heads = shapes.k_rows[0] // mixer.head_dim
    return replace(layer, mixer=replace(mixer, heads=max(1, heads), kv_heads=max(1, kv_heads)))
