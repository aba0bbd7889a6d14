"""Memory of one service on one GPU, as a breakdown the owner can read, and what follows from it.

All figures are GiB per GPU of the fullest rank, each with a band. Unequal GPUs are never summed:
`rigspec.sizing.group` estimates each card and the smallest pool rules.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing import compressed_cache, llamacpp, sglang, vllm
from rigspec.sizing.accepted import refusals
from rigspec.sizing.amount import Amount, above_zero, exact, total
from rigspec.sizing.at_once import at_once
from rigspec.sizing.cards import Card
from rigspec.sizing.drafter import draft_doubt
from rigspec.sizing.kvcache import PoolShape, pool_shape
from rigspec.sizing.refusal import Refusal
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import each_stage
from rigspec.sizing.state_room import StateRoom, state_doubt, state_room
from rigspec.sizing.unknown import cache_doubt, doubts_of, peak_doubt, widened
from rigspec.sizing.verdict import WORST_FIRST, Verdict, verdict_of
from rigspec.sizing.weights import rank_weights
from rigspec.units import GIB

SHORT_CONTEXT = 4096
"""The least an owner would serve where the engine does not insist on a full request: SGLang without
a context, vLLM that takes what fits."""

STEP = 256
"""Tokens to which the longest context is found where other terms hang on it: from nothing, not from
what was asked, so that two answers about one service state one figure."""
UNLIMITED = 1 << 20
"""Tokens beyond which nobody asks, where the model's own limit is not known or is stretched."""

FREE = "free for the cache"
_FIT = "fit, vLLM 0.11–0.30"


@dataclass(frozen=True)
class Term:
    """One line of the breakdown."""

    name: str
    amount: Amount
    basis: str

    @property
    def size(self) -> Amount:
        """The amount as it is shown: nothing takes less than nothing, but room may be missing."""
        return self.amount if self.name == FREE else above_zero(self.amount)


@dataclass(frozen=True)
class Asked:
    """What an estimate was made of."""

    facts: ModelFacts
    card: Card
    settings: EngineSettings


@dataclass(frozen=True)
class MemoryEstimate:
    """The breakdown of one GPU and what the rest of the memory holds."""

    terms: tuple[Term, ...]
    weights: Amount
    available: Amount
    """GiB left for the cache."""
    kv_tokens: Amount | None
    """Tokens the engine will print; None when the cache layout is not known."""
    concurrency: float | None
    """Requests of the asked length that fit at once."""
    needed: Amount | None
    """GiB of cache that one request of the asked length needs."""
    verdict: Verdict
    states: StateRoom | None
    """Room for recurrent states where the engine insists on it."""
    refusals: tuple[Refusal, ...]
    shape: PoolShape | None
    doubts: tuple[str, ...]
    asked: Asked
    beside: tuple[MemoryEstimate, ...] = ()
    """Of the other cards of llama.cpp's split, which may bound a longer context first."""

    @cached_property
    def largest_context(self) -> int | None:
        """The longest single request that fits, at the expected figure; sought when it is read."""
        found = [_longest(each) for each in (self, *self.beside)]
        return min((each for each in found if each is not None), default=None)

    @property
    def refused(self) -> bool:
        """Whether the engine surely ends at this shape or card; else it may at most."""
        return any(refusal.surely for refusal in self.refusals)

    @property
    def outlook(self) -> Verdict:
        """Whether it starts, with a shape in mind that a release may refuse."""
        return Verdict.CLOSE if self.refusals and self.boots is Verdict.YES else self.boots

    @property
    def boots(self) -> Verdict:
        """Whether the engine starts: it reads the file, as far as its format is known; a full
        request and all states fit."""
        states, settings, facts = self.states, self.asked.settings, self.asked.facts
        if self.verdict is Verdict.NO or (states is not None and states.never):
            return Verdict.NO
        unsure = facts.is_gguf and not settings.engine.reads_gguf
        unsure = unsure or bool(facts.quantization.doubts)
        unsure = unsure or settings.uncounted or (states is not None and not states.surely)
        return Verdict.CLOSE if unsure else self.verdict


def estimate(facts: ModelFacts, card: Card, settings: EngineSettings) -> MemoryEstimate:
    """The memory of one service on one GPU of its group; of stages the one with the least room."""
    settings = sglang.as_the_card_takes(facts, card, settings)
    return min((_of_rank(facts, card, each) for each in each_stage(facts, settings)), key=_room)


def _room(found: MemoryEstimate) -> tuple[int, float, float]:
    left, tokens = found.available.value, found.kv_tokens
    return WORST_FIRST.index(found.verdict), tokens.value if tokens else left, left


def _of_rank(facts: ModelFacts, card: Card, settings: EngineSettings) -> MemoryEstimate:
    terms = budget(facts, card, settings)
    left = _left(facts, terms, card, settings)
    batch = vllm.batch_of(facts, settings, card)
    shape = pool_shape(facts, settings, batch_tokens=batch.tokens)
    context = asked_context(facts, settings)
    needed = _needed(facts, settings, shape, context)
    served = _largest(facts, settings, shape, left) if settings.auto_context else context
    used = tuple(term.amount for term in terms)
    return MemoryEstimate(
        terms=(*terms, Term(FREE, left, "what is left")),
        weights=used[0],
        available=left,
        kv_tokens=_tokens(facts, settings, shape, left, served),
        concurrency=at_once(facts, settings, left, needed),
        needed=needed,
        verdict=verdict_of(facts, card, settings, used, left, needed),
        states=state_room(facts, settings, card, shape, left),
        refusals=refusals(facts, settings, card),
        shape=shape,
        doubts=doubts_of(facts),
        asked=Asked(facts, card, settings),
    )


def budget(facts: ModelFacts, card: Card, settings: EngineSettings) -> tuple[Term, ...]:
    """Every term but the cache."""
    weights = rank_weights(facts, settings)
    first = Term("weights", weights.amount, weights.basis + llamacpp.layers_held(facts, settings))
    if settings.engine is Engine.SGLANG:
        beside = sglang.terms(facts, card, settings, first.amount)
        return (first, *(Term(*each) for each in beside))
    if settings.engine is Engine.LLAMA_CPP:
        buffer, *rest = (Term(n, a, b) for n, a, b in llamacpp.terms(facts, card, settings))
        wide = replace(buffer, amount=widened(buffer.amount, peak_doubt(facts)))
        return (first, wide, *rest)
    return (
        first,
        Term("activation peak", _peak(facts, card, settings), _FIT),
        Term("communication and workspaces", vllm.non_torch(facts, settings, card), _FIT),
        Term("CUDA graphs", vllm.graph_estimate(facts, settings, card), "vLLM's own estimate"),
    )


def _peak(facts: ModelFacts, card: Card, settings: EngineSettings) -> Amount:
    """The widest step; of layers that nobody knows it may be that nothing in it is cut."""
    peak = widened(vllm.peak_activation(facts, settings, card), peak_doubt(facts))
    if not facts.is_novel:
        return peak
    whole = vllm.peak_activation(facts, replace(settings, tensor_parallel=1), card)
    return replace(peak, high=max(peak.high, whole.high))


def _left(
    facts: ModelFacts, terms: tuple[Term, ...], card: Card, settings: EngineSettings
) -> Amount:
    if settings.kv_bytes is not None:
        return exact(settings.kv_bytes / GIB)
    used = total(term.amount for term in terms)
    others = exact(settings.other_processes_gib + card.held_gib)
    if settings.engine is Engine.VLLM:
        taken = used + draft_doubt(settings, terms[0].amount) + vllm.shared_doubt(card)
        taken = taken + vllm.runner_doubt(settings, card)
        return vllm.requested(settings, card) - taken
    if settings.engine is Engine.SGLANG:
        return sglang.left_for_cache(facts, card, settings, terms[0].amount)
    return card.total - used - others


def asked_context(facts: ModelFacts, settings: EngineSettings) -> int | None:
    """Tokens of the longest request: what is set, else the model's own maximum."""
    if settings.auto_context:
        return SHORT_CONTEXT
    return settings.context or facts.max_positions


def _needed(
    facts: ModelFacts, settings: EngineSettings, shape: PoolShape | None, context: int | None
) -> Amount | None:
    if context is None or facts.is_cache_unknown:
        return None
    if settings.engine is Engine.LLAMA_CPP and facts.is_compressed:
        return None  # no run of it has printed what llama.cpp keeps of compressed tokens
    if settings.engine is Engine.LLAMA_CPP:
        cache = llamacpp.card_cache_gib(facts, settings, context * settings.slots)
        return widened(exact(cache), cache_doubt(facts))
    if shape is None:
        return compressed_cache.request_gib(facts, settings, context)
    sizes = [
        sglang.bytes_per_token(facts, settings) * length / GIB
        if settings.engine is Engine.SGLANG
        else shape.bytes_for(length) / GIB
        for length in (context, min(context, SHORT_CONTEXT))
    ]
    stated = settings.context is not None and settings.engine is Engine.VLLM
    least = sizes[0] if stated else sizes[1]
    doubt = cache_doubt(facts)
    return Amount(sizes[0], least / doubt, sizes[0] * doubt)


def _tokens(
    facts: ModelFacts,
    settings: EngineSettings,
    shape: PoolShape | None,
    left: Amount,
    context: int | None,
) -> Amount | None:
    if settings.engine is Engine.LLAMA_CPP or shape is None:
        return None
    value, low, high = (
        float(tokens_of(facts, settings, shape, context, gib))
        for gib in (left.value, left.low, left.high)
    )
    told = settings.complete and not settings.beyond_known
    found = state_doubt(facts, settings, Amount(value, low, high), told=told)
    return found.wider(cache_doubt(facts))


def tokens_of(
    facts: ModelFacts,
    settings: EngineSettings,
    shape: PoolShape,
    context: int | None,
    pool_gib: float,
) -> int:
    """Tokens the engine prints for a pool of `pool_gib`; 0 when nothing is left."""
    if settings.engine is Engine.SGLANG:
        return sglang.tokens(facts, settings, pool_gib)
    return shape.tokens(max(0.0, pool_gib) * GIB, context or 32768)


def _longest(found: MemoryEstimate) -> int | None:
    """The longest context that fits when it is the one asked for: longer ones take more beside the
    cache, too, so the answer must not hang on what was asked."""
    facts, card, settings = found.asked.facts, found.asked.card, found.asked.settings
    asked = asked_context(facts, settings)
    first = _largest(facts, settings, found.shape, found.available)
    if first is None or asked is None or settings.auto_context:
        return first

    def fits(context: int) -> bool:
        there = replace(settings, context=context)
        room = _left(facts, budget(facts, card, there), card, there)
        return (_largest(facts, there, found.shape, room) or 0) >= context

    least, beyond = sorted((asked, first))
    if fits(beyond):
        return beyond
    low, high = least // STEP, -(-beyond // STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * STEP) else (low, middle)
    # a pool that does not hang on the context ends on a block of its own
    return max(low * STEP, first if first < asked and fits(first) else 0)


def _largest(
    facts: ModelFacts, settings: EngineSettings, shape: PoolShape | None, left: Amount
) -> int | None:
    limit = (None if settings.stretched else facts.max_positions) or UNLIMITED
    if settings.engine is Engine.LLAMA_CPP and not facts.is_cache_unknown:
        return llamacpp.largest_context(facts, settings, left.value, limit)
    if shape is None:
        return None
    if settings.engine is Engine.SGLANG:
        per_token = sglang.bytes_per_token(facts, settings)
        return min(limit, int(max(0.0, left.value) * GIB / per_token)) if per_token else None
    return shape.largest_context(left.value * GIB, limit)
