"""Unequal cards: of a split by layers one works behind the other, else the slowest rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.group import shares_of
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Speed


def at_work(cards: tuple[Card, ...], settings: EngineSettings) -> tuple[Card, ...]:
    """A card of each kind, by name and cap, that holds a part of the model."""
    shares = zip(cards, shares_of(cards, settings), strict=True)
    return tuple({_kind(card): card for card, share in shares if share}.values())


def _kind(card: Card) -> tuple[str, float | None]:
    return card.name, card.power_limit_w


def of_group(
    cards: tuple[Card, ...], settings: EngineSettings, one: Callable[[Card], Speed | None]
) -> Speed | None:
    """The speed of a group from that of `one` card: the slowest holds up all that work at once.

    llama.cpp's layers go to the cards by their memory unless `tensor_split` says otherwise, and a
    token passes every card: the times add up (5070 Ti with 5060 Ti, 5070 Ti with 3060: five models
    ran at 0.9 to 1.1 of the sum, at 0.65 to 0.8 of what the faster card alone would give). Else the
    slowest by its speed, not by its memory, is waited for: a P100 beside a 3060.
    """
    kinds = {_kind(card): one(card) for card in at_work(cards, settings)}
    known = {kind: speed for kind, speed in kinds.items() if speed is not None}
    if len(known) < len(kinds):
        return None
    if len(known) == 1:
        return next(iter(known.values()))
    if settings.engine is not Engine.LLAMA_CPP or settings.split != "layer":
        return _held_up(list(known.values()))
    parts = zip(cards, shares_of(cards, settings), strict=True)
    return _one_behind_the_other([(known[_kind(card)], share) for card, share in parts if share])


def _held_up(speeds: list[Speed]) -> Speed:
    """The slowest; where it is not sure which that is, each end of the band has its own."""
    slow = min(speeds, key=lambda speed: speed.tok_s.value)
    found = [speed.tok_s for speed in speeds]
    low, high = min(amount.low for amount in found), min(amount.high for amount in found)
    return replace(slow, tok_s=Amount(slow.tok_s.value, low, high))


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
