"""Services beside one on its cards, and what they may hold of each when it starts.

Nothing orders the starts: each service is judged as the last. That matters most to SGLang, which
takes its share of what is free when it starts, not of the card (`pre_model_load_memory` of
`model_runner.py`, 0.5.23): 0.45 of a card of which another holds 0.40 is 0.27 of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing import sglang, sglang_share, vllm
from rigspec.sizing.as_loaded import as_loaded
from rigspec.sizing.cards import Card
from rigspec.sizing.from_spec import Catalog, cards_of, settings_of, used_cards
from rigspec.sizing.group import each_card, tightest
from rigspec.sizing.host_memory import kept_off
from rigspec.sizing.memory import MemoryEstimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_states import pool_for
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import Service
from rigspec.spec.together import groups_at_once, sharers


@dataclass(frozen=True)
class Neighbour:
    """A service on the same card, and the GiB it may hold of it."""

    name: str
    gib: float
    bounded: bool = True
    """Whether it takes no more: llama.cpp without a context takes what is free for its cache, and
    nobody knows what it takes of a model that is not sized."""
    wants: float = 0.0
    """GiB to leave free for it, more than it holds where SGLang's share of them must be enough."""

    @property
    def reserved_gib(self) -> float:
        """What no other service may take of the card."""
        return max(self.gib, self.wants)


def neighbours(
    rig: Rig, name: str, models: Mapping[str, ModelFacts], catalog: Catalog
) -> Mapping[str, tuple[Neighbour, ...]]:
    """By card, the services that may run beside one and hold most of it, and those of which nobody
    knows how much; cards of its own are left out, and so are services whose card is not known."""
    found: dict[str, tuple[Neighbour, ...]] = {}
    for member, users in sharers(rig).items():
        groups = [g for g in groups_at_once(rig, users) if name in g] if name in users else []
        others = [tuple(each for each in group if each != name) for group in groups]
        held = [tuple(_held(rig, names, member, models, catalog)) for names in others]
        if held:
            most = max(held, key=held_gib)
            unknown = dict.fromkeys(each for group in held for each in group if not each.gib)
            found[member] = (*most, *(each for each in unknown if each not in most))
    return found


def held_gib(others: Iterable[Neighbour]) -> float:
    """GiB that services hold of a card together."""
    return sum(each.gib for each in others)


def _held(
    rig: Rig,
    names: tuple[str, ...],
    member: str,
    models: Mapping[str, ModelFacts],
    catalog: Catalog,
) -> Iterator[Neighbour]:
    """What each takes at most: SGLang before the others, so that it finds a free card."""
    taken = 0.0
    for name in sorted(names, key=lambda each: rig.services[each].engine != "sglang"):
        settings, cards = settings_of(rig, name, models), cards_of(rig, name, catalog)
        service = rig.services[name]
        facts = models.get(service.model)
        if not cards:
            continue
        unsized = _is_unsized(service, facts, settings)
        if settings.engine is Engine.LLAMA_CPP:
            gib = _held_by(of_llama_cpp(rig, name, member, models, catalog))
        else:
            gib = _share_of(facts, min(cards, key=lambda c: c.total.value), settings, taken)
        if gib > 0 or unsized:
            taken += gib
            bounded = settings.engine is not Engine.LLAMA_CPP or settings.context is not None
            wanted = _wants(facts, service, cards, settings)
            yield Neighbour(name, gib, bounded and not unsized, wanted)


def _is_unsized(service: Service, facts: ModelFacts | None, settings: EngineSettings) -> bool:
    """Whether nobody knows what llama.cpp takes; the others take a share, whatever they load."""
    if settings.engine is not Engine.LLAMA_CPP:
        return False
    return facts is None or bool(kept_off(service, facts, settings.tensor_parallel))


def _share_of(
    facts: ModelFacts | None, card: Card, settings: EngineSettings, taken: float
) -> float:
    """GiB of the share that an engine takes of each of its cards."""
    if settings.engine is Engine.VLLM:
        context = vllm.context_overhead(settings).value
        return vllm.fraction_of(settings) * card.total.value + context
    share = sglang_share.fraction_of(facts, card, settings)
    own = sglang.overhead(settings).value
    return own + share * max(0.0, card.total.value - own - taken)


def _wants(
    facts: ModelFacts | None, service: Service, cards: tuple[Card, ...], settings: EngineSettings
) -> float:
    """GiB that SGLang must find free, so that its share of them holds one full request; 0 for the
    others, whose share is of the card, and where it would not fit alone either."""
    if settings.engine is not Engine.SGLANG or facts is None:
        return 0.0
    found, card = tightest(as_loaded(facts, service.quantization, settings), cards, settings)
    share = sglang_share.fraction_of(facts, card, settings)
    if found.needed is None or found.available.value < found.needed.value:
        return 0.0
    held = found.weights.value + pool_for(facts, settings, found.needed.value)
    return sglang.overhead(settings).value + held / share


def of_llama_cpp(
    rig: Rig, name: str, member: str, models: Mapping[str, ModelFacts], catalog: Catalog
) -> MemoryEstimate | None:
    """A service of llama.cpp on one of its cards, of which nobody else holds anything; None where
    its model or a card is not known, a part of it stays in host memory, or the card holds none."""
    service, cards = rig.services[name], cards_of(rig, name, catalog)
    facts, settings = models.get(service.model), settings_of(rig, name, models)
    if facts is None or not cards or _is_unsized(service, facts, settings):
        return None
    place = members(rig.gpus, service.gpus).index(member)
    used, _ = used_cards(service, cards, settings)
    if len(used) < len(cards) and cards[place] is not used[0]:
        return None
    judged = each_card(facts, used, settings)
    return judged[place if len(judged) > 1 else 0][0]


def _held_by(found: MemoryEstimate | None) -> float:
    """GiB of weights, buffers and the cache of a context that is set; without one the cache has no
    bound."""
    if found is None:
        return 0.0
    bounded = found.asked.settings.context is not None
    cache = found.needed.value if found.needed and bounded else 0.0
    return sum(term.amount.value for term in found.terms[:-1]) + cache
