"""Services beside one on its fullest card, and what they may hold of it when it starts.

Nothing orders the starts: each service is judged as the last. That matters most to SGLang, which
takes its share of what is free when it starts, not of the card (`pre_model_load_memory` of
`model_runner.py`, 0.5.23): 0.45 of a card of which another holds 0.40 is 0.27 of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing import sglang, vllm
from rigspec.sizing.cards import Card
from rigspec.sizing.from_spec import Catalog, cards_of, settings_of, used_cards
from rigspec.sizing.group import tightest
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.spec.rig import Rig
from rigspec.spec.together import groups_at_once, sharers


@dataclass(frozen=True)
class Neighbour:
    """A service on the same card, and the GiB it may hold of it."""

    name: str
    gib: float
    bounded: bool = True
    """Whether it takes no more: llama.cpp without a context takes what is free for its cache."""


def neighbours(
    rig: Rig, name: str, models: Mapping[str, ModelFacts], catalog: Catalog
) -> tuple[Neighbour, ...]:
    """The services that may run beside one and hold most of one of its cards; empty when it runs
    alone. One whose model or card is not known is left out."""
    found: list[tuple[Neighbour, ...]] = [()]
    for users in sharers(rig).values():
        for group in groups_at_once(rig, users) if name in users else ():
            if name in group:
                others = tuple(other for other in group if other != name)
                found.append(tuple(_held(rig, others, models, catalog)))
    return max(found, key=lambda held: sum(each.gib for each in held))


def _held(
    rig: Rig, names: tuple[str, ...], models: Mapping[str, ModelFacts], catalog: Catalog
) -> Iterator[Neighbour]:
    """What each takes at most: SGLang before the others, so that it finds a free card."""
    taken = 0.0
    for name in sorted(names, key=lambda each: rig.services[each].engine != "sglang"):
        gib = _takes(rig, name, models, catalog, taken)
        if gib > 0:
            taken += gib
            service = rig.services[name]
            bounded = service.engine != "llama_cpp" or service.context_length is not None
            yield Neighbour(name, gib, bounded)


def _takes(
    rig: Rig, name: str, models: Mapping[str, ModelFacts], catalog: Catalog, taken: float
) -> float:
    """GiB per card of one service; 0 where nothing says how much."""
    settings, cards = settings_of(rig, name, models), cards_of(rig, name, catalog)
    facts = models.get(rig.services[name].model)
    if not cards:
        return 0.0
    card = min(cards, key=lambda each: each.total.value)
    if settings.engine is Engine.VLLM:
        context = vllm.context_overhead(settings).value
        return vllm.fraction_of(settings) * card.total.value + context
    if settings.engine is Engine.SGLANG:
        vision = facts is not None and facts.vision is not None
        share = sglang.fraction_of(card, settings, vision=vision)
        own = sglang.overhead(settings).value
        return own + share * max(0.0, card.total.value - own - taken)
    return _of_llama_cpp(facts, used_cards(rig.services[name], cards, settings)[0], settings)


def _of_llama_cpp(
    facts: ModelFacts | None, cards: tuple[Card, ...], settings: EngineSettings
) -> float:
    """Weights, buffers and the cache of a context that is set; without one that has no bound."""
    if facts is None:
        return 0.0
    found, _ = tightest(facts, cards, settings)
    cache = found.needed.value if found.needed and settings.context is not None else 0.0
    return sum(term.amount.value for term in found.terms[:-1]) + cache
