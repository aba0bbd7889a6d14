"""Unequal cards of a split by layers: they work one behind the other, each at its own pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.group import shares_of
from rigspec.sizing.settings import Engine, EngineSettings
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
    by_layers = settings.engine is Engine.LLAMA_CPP and settings.split == "layer"
    if not by_layers or len({(card.name, card.power_limit_w) for card in cards}) == 1:
        return one(slowest(cards))
    parts = zip(cards, shares_of(cards, settings), strict=True)
    held = [(one(card), share) for card, share in parts if share]
    speeds = [(speed, share) for speed, share in held if speed is not None]
    return _one_behind_the_other(speeds) if len(speeds) == len(held) else None


def _one_behind_the_other(speeds: list[tuple[Speed, float]]) -> Speed:
    """Times per token added up, each card's by its share of the layers."""

    def joined(rate: Callable[[Amount], float]) -> float:
        return 1 / sum(share / rate(speed.tok_s) for speed, share in speeds)

    tok_s = Amount(
        joined(lambda amount: amount.value),
        joined(lambda amount: amount.low),
        joined(lambda amount: amount.high),
    )
    slow = min((speed for speed, _ in speeds), key=lambda speed: speed.tok_s.value)
    return replace(slow, tok_s=tok_s)
