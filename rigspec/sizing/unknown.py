"""How wide a figure is where an architecture is not understood.

What is not known cannot be measured: the factors below are what published architectures of the
last years differ by from plain attention and a plain feed-forward part.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount
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
    return CACHE if doubts_of(facts) else 1.0


def peak_doubt(facts: ModelFacts) -> float:
    """The same of activations, where the layers themselves are not known."""
    return PEAK if facts.is_novel else 1.0


def widened(amount: Amount, factor: float) -> Amount:
    """The amount with a band at least `factor` wide both ways."""
    low, high = min(amount.low, amount.value / factor), max(amount.high, amount.value * factor)
    return amount if factor == 1.0 else Amount(amount.value, low, high)
