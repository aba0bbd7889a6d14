"""A figure with the band it is expected in."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Amount:
    """`value` with a band; the unit is that of the field that holds it."""

    value: float
    low: float
    high: float

    def __add__(self, other: Amount) -> Amount:
        return total((self, other))

    def __neg__(self) -> Amount:
        return Amount(-self.value, -self.high, -self.low)

    def __sub__(self, other: Amount) -> Amount:
        return total((self, -other))

    def times(self, factor: float) -> Amount:
        """The amount scaled by a positive factor."""
        return Amount(self.value * factor, self.low * factor, self.high * factor)

    def wider(self, factor: float) -> Amount:
        """The band drawn out by a factor both ways."""
        return Amount(self.value, self.low / factor, self.high * factor)


def exact(value: float) -> Amount:
    """An amount without doubt."""
    return Amount(value, value, value)


def about(value: float, plus_minus: float) -> Amount:
    """An amount with the same doubt both ways."""
    return Amount(value, value - plus_minus, value + plus_minus)


def within(value: float, relative: float) -> Amount:
    """An amount with a relative doubt, 0.1 for 10 %."""
    return about(value, abs(value) * relative)


def spanning(amount: Amount, least: float, most: float) -> Amount:
    """The amount with a band that holds so many times its figure, too, at both ends."""
    low, high = min(amount.low, amount.value * least), max(amount.high, amount.value * most)
    return Amount(amount.value, low, high)


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum; doubts of different origin add as the root of their squares."""
    parts = tuple(amounts)
    value = sum(part.value for part in parts)
    below = math.sqrt(sum((part.value - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.value) ** 2 for part in parts))
    return Amount(value, value - below, value + above)


def band(amount: Amount, digits: int) -> str:
    """`14.4 (14.3–14.6)`; without a band when it rounds to the same figure. A zero has no sign."""
    value, low, high = (f"{part:z,.{digits}f}" for part in (amount.value, amount.low, amount.high))
    return value if low == value == high else f"{value} ({low}–{high})"


def above_zero(amount: Amount) -> Amount:
    """A size whose band reaches below nothing, cut there."""
    return Amount(amount.value, max(0.0, amount.low), amount.high)
