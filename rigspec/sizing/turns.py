"""Unequal cards of a split by layers: they work one behind the other, each at its own pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.group import shares_of
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.throughput import Speed


def slowest(cards: tuple[Card, ...]) -> Card:
    """The card the others wait for: least bandwidth, then lowest cap."""
    return min(cards, key=lambda card: (card.bandwidth_gb_s or 0.0, card.power_limit_w or 1e9))


def of_group(
    cards: tuple[Card, ...], settings: EngineSettings, one: Callable[[Card], Speed | None]
) -> Speed | None:
    """The speed of a group from that of `one` card: the slowest holds up all that work at once.

    llama.cpp's layers go to the cards by their memory unless `tensor_split` says otherwise, and a
    token passes every card: the times add up (5070 Ti with 5060 Ti, 5070 Ti with 3060: five models
    ran at 0.9 to 1.1 of the sum, at 0.65 to 0.8 of what the faster card alone would give).
    """
    if settings.turns == 1 or len({(card.name, card.power_limit_w) for card in cards}) == 1:
        return one(slowest(cards))
    speeds = [one(card) for card in cards]
    if any(speed is None for speed in speeds):
        return None
    return _one_behind_the_other([s for s in speeds if s is not None], shares_of(cards, settings))


def _one_behind_the_other(speeds: list[Speed], shares: list[float]) -> Speed:
    """Times per token added up, each card's by its share of the layers."""

    def joined(rates: list[float]) -> float:
        return 1 / sum(share / rate for share, rate in zip(shares, rates, strict=True) if share)

    amounts = [speed.tok_s for speed in speeds]
    tok_s = Amount(
        joined([amount.value for amount in amounts]),
        joined([amount.low for amount in amounts]),
        joined([amount.high for amount in amounts]),
    )
    return replace(min(speeds, key=lambda speed: speed.tok_s.value), tok_s=tok_s)
