"""Figures in words: bands, counts, thousands."""

from __future__ import annotations

from rigspec.sizing.amount import Amount


def band(amount: Amount, digits: int) -> str:
    """`14.4 (14.3–14.6)`; without a band when it rounds to the same figure."""
    value, low, high = (f"{part:,.{digits}f}" for part in (amount.value, amount.low, amount.high))
    return value if low == value == high else f"{value} ({low}–{high})"


def above_zero(amount: Amount) -> Amount:
    """A size whose band reaches below nothing, cut there."""
    return Amount(amount.value, max(0.0, amount.low), amount.high)


def count(amount: int, word: str) -> str:
    """`1 stream`, `8 streams`."""
    return f"{amount:,} {word}{'' if amount == 1 else 's'}"
