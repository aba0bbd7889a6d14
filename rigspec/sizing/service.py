"""One service sized: memory per card, the cards of its group, the way between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing.all_reduce import NETWORK, NVLINK, Link
from rigspec.sizing.as_loaded import as_computed, as_loaded
from rigspec.sizing.cards import Card
from rigspec.sizing.from_spec import Catalog, cards_of, paths_of, settings_of, used_cards
from rigspec.sizing.group import tightest
from rigspec.sizing.links import Hop, LinkPath, all_reduce_link, link_of_width
from rigspec.sizing.memory import MemoryEstimate
from rigspec.sizing.neighbours import Neighbour, held_gib, neighbours
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang import as_the_card_takes
from rigspec.sizing.verdict import Verdict
from rigspec.spec.rig import Rig, members


@dataclass(frozen=True)
class Sized:
    """One service, its cards and its memory; `rigspec.sizing.speeds` says how fast it is."""

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
    link: Link
    """What an all-reduce of the group costs."""
    idle: tuple[Card, ...] = ()
    """Cards that llama.cpp's `split_mode: none` leaves out."""
    on_main: bool = False
    """Whether `split_mode: none` keeps it on one card, however many there are."""
    neighbours: tuple[Neighbour, ...] = ()
    """Services that may hold a part of that card when it starts."""
    apart: tuple[str, ...] = ()
    """Services in whose place it runs."""

    @property
    def only_unknown(self) -> bool:
        """Whether there is room, and only what nobody states keeps it from being sure."""
        left, needed = self.memory.available, self.memory.needed
        if needed is None:
            return left.low > 0
        return self.facts.lacks != "nothing" and left.low >= needed.high


def size_service(
    rig: Rig, name: str, models: Mapping[str, ModelFacts], catalog: Catalog
) -> Sized | None:
    """One service of a rig; None when its model or one of its cards is unknown."""
    service, settings = rig.services[name], settings_of(rig, name, models)
    facts, cards = models.get(service.model), cards_of(rig, name, catalog)
    if facts is None or not cards:
        return None
    if settings.engine is not Engine.LLAMA_CPP:
        facts = as_loaded(facts, service.quantization, settings)
    names, beside = members(rig.gpus, service.gpus), neighbours(rig, name, models, catalog)
    most = max(beside.values(), key=held_gib, default=())
    if settings.engine is Engine.SGLANG:  # its share is of what they leave free
        settings = replace(settings, other_processes_gib=held_gib(most))
    if settings.engine is Engine.LLAMA_CPP:  # its layers go by what is free of each card
        taken = (held_gib(beside.get(member, ())) for member in names)
        cards = tuple(replace(c, held_gib=gib) for c, gib in zip(cards, taken, strict=True))
    used, idle = used_cards(service, cards, settings)
    found = sized(
        name, facts, used, settings,
        gpus=names, paths=paths_of(rig, name, catalog),
    )  # fmt: skip
    if settings.engine is Engine.LLAMA_CPP:
        found = _in_some_order(found)
        most = beside.get(names[cards.index(found.card)], ())
    found = replace(
        found,
        idle=idle,
        on_main=service.split_mode == "none",
        neighbours=most,
        apart=service.instead_of,
    )
    return _doubted(found) if not all(each.bounded for each in most) else found


def _in_some_order(sized: Sized) -> Sized:
    """What fits only where it starts before the others may fit: nothing orders the starts."""
    alone = tuple(replace(card, held_gib=0.0) for card in sized.cards)
    if alone == sized.cards or sized.memory.verdict is not Verdict.NO:
        return sized
    if tightest(sized.facts, alone, sized.settings)[0].verdict is Verdict.NO:
        return sized
    return replace(sized, memory=replace(sized.memory, verdict=Verdict.CLOSE))


def _doubted(sized: Sized) -> Sized:
    """Where nothing bounds what others take, nothing fits for sure."""
    settings = replace(sized.settings, uncounted=True)
    asked = replace(sized.memory.asked, settings=settings)
    return replace(sized, settings=settings, memory=replace(sized.memory, asked=asked))


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
    settings = as_the_card_takes(facts, cards[0], settings)
    facts = as_computed(facts, cards[0], settings)
    memory, card = tightest(facts, cards, settings)
    joined = all(card.nvlink for card in cards)
    way = link or (_over(paths, cards) if paths and not joined else usual_link(cards))
    return Sized(name, gpus, cards, settings, facts, memory, card, paths, way)


def _over(paths: tuple[LinkPath, ...], cards: tuple[Card, ...]) -> Link:
    """The link of these paths, and whether cards that have peer access are refused it."""
    found = all_reduce_link(paths)
    refused = all(card.peer_access for card in cards) and not all(path.peer for path in paths)
    return found.refused() if refused else found


def usual_link(cards: tuple[Card, ...]) -> Link:
    """NVLink where it joins them all; the network where each is a machine of its own; peer copies
    over PCIe where the driver grants them; else through host memory."""
    if all(card.nvlink for card in cards):
        return NVLINK
    if any(card.pcie is None for card in cards):
        return NETWORK
    peer = all(card.peer_access for card in cards)
    return link_of_width(usual_slot(cards).one_way_gb_s, peer=peer)


def usual_slot(cards: tuple[Card, ...]) -> Hop:
    """The slot that is assumed: PCIe 4 x16, less where a card has less itself."""
    own = [card.pcie for card in cards if card.pcie]
    return Hop("slot", min([4, *(gen for gen, _ in own)]), min([16, *(width for _, width in own)]))
