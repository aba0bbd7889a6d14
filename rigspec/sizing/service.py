"""One service sized: memory per card, the cards of its group, speed, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.all_reduce import HOST_PCIE, PEER_PCIE, Link
from rigspec.sizing.cards import Card
from rigspec.sizing.from_spec import Catalog, cards_of, paths_of, settings_of
from rigspec.sizing.links import LinkPath, all_reduce_link
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.prefill import prefill
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.speculation import with_speculation
from rigspec.sizing.throughput import Speed, decode
from rigspec.spec.rig import Rig, members

DEPTH = 4096
"""Tokens already in the context, and in the prompt, where a speed is quoted."""


@dataclass(frozen=True)
class Speeds:
    """Tokens per second at 4,096 tokens of context; None where the card's figures are unknown."""

    single: Speed | None
    speculative: Speed | None
    """Single stream with drafts; None when none are asked for."""
    streams: int
    batch: Speed | None
    """Summed over `streams`."""
    prefill: Speed | None


@dataclass(frozen=True)
class Sized:
    """One service, its cards, and every estimate."""

    name: str
    gpus: tuple[str, ...]
    cards: tuple[Card, ...]
    settings: EngineSettings
    facts: ModelFacts
    memory: MemoryEstimate
    """Of the card with the least room: it rules, unequal cards are never summed."""
    card: Card
    """That card."""
    paths: tuple[LinkPath, ...]
    speeds: Speeds


def size_service(
    rig: Rig, name: str, models: Mapping[str, ModelFacts], catalog: Catalog
) -> Sized | None:
    """One service of a rig; None when its model or one of its cards is unknown."""
    service = rig.services[name]
    facts, cards = models.get(service.model), cards_of(rig, name, catalog)
    if facts is None or not cards:
        return None
    return sized(
        name, facts, cards, settings_of(rig, name, models),
        gpus=members(rig.gpus, service.gpus), paths=paths_of(rig, name, catalog),
    )  # fmt: skip


def sized(
    name: str,
    facts: ModelFacts,
    cards: tuple[Card, ...],
    settings: EngineSettings,
    *,
    gpus: tuple[str, ...] = (),
    paths: tuple[LinkPath, ...] = (),
    link: Link | None = None,
) -> Sized:
    """A model on some cards; without paths or `link`, the usual link of such cards is taken."""
    memory, card = tightest(facts, cards, settings)
    way = link or (all_reduce_link(paths) if paths else usual_link(cards))
    return Sized(
        name, gpus, cards, settings, facts, memory, card, paths,
        speeds_of(facts, slowest(cards), settings, way),
    )  # fmt: skip


def tightest(
    facts: ModelFacts, cards: tuple[Card, ...], settings: EngineSettings
) -> tuple[MemoryEstimate, Card]:
    """The estimate of the card with the least room, and the card."""
    kinds = {(card.name, card.total.value): card for card in cards}
    found = [(estimate(facts, card, settings), card) for card in kinds.values()]
    return min(found, key=lambda pair: pair[0].available.value)


def slowest(cards: tuple[Card, ...]) -> Card:
    """The card the others wait for: least bandwidth, then lowest cap."""
    return min(cards, key=lambda card: (card.bandwidth_gb_s or 0.0, card.power_limit_w or 1e9))


def usual_link(cards: tuple[Card, ...]) -> Link:
    """Peer copies over PCIe 4 where the driver grants them, else through host memory."""
    return PEER_PCIE if all(card.peer_access for card in cards) else HOST_PCIE


def speeds_of(facts: ModelFacts, card: Card, settings: EngineSettings, link: Link) -> Speeds:
    """Speeds of one group, the slowest card for all."""
    streams = settings.max_seqs or 8
    single = decode(facts, card, settings, context=DEPTH, link=link)
    drafted = None
    if single is not None and settings.speculative is not None:
        drafted = with_speculation(single, facts, card, settings)
    return Speeds(
        single=single,
        speculative=drafted,
        streams=streams,
        batch=decode(facts, card, settings, streams=streams, context=DEPTH, link=link),
        prefill=prefill(facts, card, settings, prompt=DEPTH, link=link),
    )
