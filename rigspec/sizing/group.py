"""The cards of one service: each is judged, and the one with the least room rules.

Ranks of vLLM and SGLang hold the same, so the smallest card decides. llama.cpp's cards do not: it
gives whole layers to each, by default in proportion to the memory that is free (`load_tensors` of
`llama-model.cpp`, b3000 to b11434), so each is judged by its own part and its own room.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention
from rigspec.sizing.cards import Card
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.settings import Engine, EngineSettings, Portion
from rigspec.sizing.verdict import WORST_FIRST


def tightest(
    facts: ModelFacts, cards: tuple[Card, ...], settings: EngineSettings
) -> tuple[MemoryEstimate, Card]:
    """The estimate of the card with the least room, and the card."""
    judged = each_card(facts, cards, settings)
    if not _is_split(cards, settings):
        return min(judged, key=lambda pair: pair[0].available.value)
    found, card = min(judged, key=lambda pair: _room(pair[0]))
    others = tuple(each for each, _ in judged if each is not found)
    return replace(found, beside=others), card


def each_card(
    facts: ModelFacts, cards: tuple[Card, ...], settings: EngineSettings
) -> list[tuple[MemoryEstimate, Card]]:
    """Every card of llama.cpp's split in order, each with its part; of cards whose ranks hold the
    same one of each kind."""
    if not _is_split(cards, settings):
        kinds = {(card.name, card.total.value): card for card in cards}
        return [(estimate(facts, card, settings), card) for card in kinds.values()]
    spread = cards[: settings.tensor_parallel]
    parts = zip(spread, portions(facts, spread, settings), strict=True)
    return [(estimate(facts, card, replace(settings, portion=p)), card) for card, p in parts]


def _is_split(cards: tuple[Card, ...], settings: EngineSettings) -> bool:
    return settings.engine is Engine.LLAMA_CPP and 1 < settings.tensor_parallel <= len(cards)


def _room(found: MemoryEstimate) -> tuple[int, float]:
    """Verdict, then what stays free beside the cache: what is set aside differs by card."""
    wanted = found.needed.value if found.needed else 0.0
    return WORST_FIRST.index(found.verdict), found.available.value - wanted


def portions(
    facts: ModelFacts, cards: tuple[Card, ...], settings: EngineSettings
) -> Iterator[Portion]:
    """What each card of llama.cpp's split holds of a model.

    By layer the output matrix counts as one layer more, the last. By row, too, but then rows of
    all matrices go by the memory of the cards (a 70B on four cards of one size: caches of 21, 20,
    20 and 19 layers, b5605); by tensor all is shared evenly, the cache by whole heads.
    """
    whole, shares = range(len(facts.layers) + 1), shares_of(cards, settings)
    if settings.split == "tensor":
        parts = zip(shares, _whole_heads(facts, shares), strict=True)
        yield from (Portion(whole, rows=rows, cache=cache) for rows, cache in parts)
        return
    for held, share in zip(_whole_layers(len(whole), shares), shares, strict=True):
        yield Portion(held, spread=share if settings.split == "row" else None)


def _whole_heads(facts: ModelFacts, shares: list[float]) -> list[float]:
    """Shares of the cache where each card's end is rounded down to a whole head: 0.49 and 0.51 of
    four heads are one and three (27B on two 5070 Ti: 0.5 and 0.5 ran, these did not)."""
    heads = min(
        (m.kv_heads for each in facts.layers if isinstance(m := each.mixer, Attention)), default=0
    )
    if not heads:
        return shares
    ends = [math.floor(heads * end + 1e-9) for end in accumulate(shares)]
    return [(end - start) / heads for start, end in zip([0, *ends], ends, strict=False)]


def shares_of(cards: tuple[Card, ...], settings: EngineSettings) -> list[float]:
    """What each takes: as stated, missing ones 0; else by memory, or evenly by tensor."""
    stated = (*settings.tensor_split, *(0.0 for _ in cards))[: len(cards)]
    even = settings.split == "tensor"
    own = [1.0 if even else _free_gib(card) for card in cards]
    parts = stated if any(stated) else own
    return [part / sum(parts) for part in parts]


def _free_gib(card: Card) -> float:
    """What is free of a card when llama.cpp starts, or next to nothing."""
    return card.free_gib or max(0.01, card.total.value - card.held_gib)


def _whole_layers(count: int, shares: list[float]) -> Iterator[range]:
    """Each layer goes to the first card whose share ends beyond the layer's beginning."""
    ends = list(accumulate(shares))
    # shares that count layers end where one begins, whatever the sums are rounded to
    begins = (layer / count + 1e-9 for layer in range(count))
    owners = [min(bisect_right(ends, begin), len(ends) - 1) for begin in begins]
    for card in range(len(shares)):
        first = bisect_right(owners, card - 1)
        yield range(first, bisect_right(owners, card))
