"""How wide a figure is where an architecture is not understood.

What is not known cannot be measured: the factors below are what published architectures of the
last years differ by from plain attention and a plain feed-forward part.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention
from rigspec.sizing.amount import Amount, spanning
from rigspec.sizing.held import as_held
from rigspec.sizing.stored import size_doubt

CACHE = 2.0
"""How far the cache of a layer we do not understand may be from that of full attention: twice is
every key/value head kept double, half a window or a smaller record."""

PEAK = 2.0
"""The same of the widest step: buffers of a layer whose kernels nobody has seen."""


def doubts_of(facts: ModelFacts) -> tuple[str, ...]:
    """What is not understood of a model: its figures are bounds then."""
    return tuple(filter(None, (*facts.doubts, size_doubt(facts))))


def cache_doubt(facts: ModelFacts) -> float:
    """By which factor the cache may be missed, both ways; 1 where the model is understood."""
    if not doubts_of(facts):
        return 1.0
    stated, held = _record_width(facts), _record_width(as_held(facts))
    apart = max(stated, held) / min(stated, held) if stated and held else 1.0
    return max(CACHE, apart)


def _record_width(facts: ModelFacts) -> int:
    """Elements that plain attention caches per token."""
    mixers = (layer.mixer for layer in facts.layers)
    plain = (mixer for mixer in mixers if isinstance(mixer, Attention))
    return sum(mixer.kv_heads * (mixer.head_dim + mixer.v_dim) for mixer in plain)


def peak_doubt(facts: ModelFacts) -> float:
    """The same of activations, where the layers themselves are not known."""
    return PEAK if facts.is_novel else 1.0


def widened(amount: Amount, factor: float) -> Amount:
    """The amount with a band at least `factor` wide both ways."""
    return amount if factor == 1.0 else spanning(amount, 1 / factor, factor)
