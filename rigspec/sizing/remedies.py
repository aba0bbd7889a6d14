"""What would make a service fit: each remedy recomputed, with the setting to write and its number.

In the order an owner loses least: a size of decode context parallel that is not refused, experts
left whole where a shard of them is refused, shorter context, no stated size of the cache, smaller
cache type, one cache for several cards instead of a copy on each, fewer recurrent states, fewer
sequences or no graphs, smaller batches, a larger share of the card, no drafts, text only, several
of these where no single one will do, more cards, smaller weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme, with_scheme
from rigspec.sizing import vllm
from rigspec.sizing.accepted import CUT_EXPERTS, decode_context_sizes, is_beyond, refusals
from rigspec.sizing.as_loaded import lacks_half
from rigspec.sizing.cards import Card
from rigspec.sizing.group import tightest
from rigspec.sizing.remedies_cache import cache_type, fewer_states, other_cache, shared_cache
from rigspec.sizing.remedies_llamacpp import llama_remedies
from rigspec.sizing.remedies_share import other_share
from rigspec.sizing.remedies_together import RANK_WAYS, larger_share, together
from rigspec.sizing.remedy import (
    ELSEWHERE,
    FEW_SEQUENCES,
    FEWER_CARDS,
    MORE_CARDS,
    MOST_RANKS,
    SMALLER_CONTEXT,
    SMALLER_WEIGHTS,
    WORTH_GIB,
    Case,
    Remedy,
    fits,
    helps,
    shorter,
    spare_gib,
    surest,
    tried,
    written,
)
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict
from rigspec.units import with_article

__all__ = ["Remedy", "beyond_and_too_large", "fits", "remedies"]


def remedies(
    facts: ModelFacts,
    cards: tuple[Card, ...],
    settings: EngineSettings,
    *,
    spare_share: float = 1.0,
    idle: tuple[Card, ...] = (),
) -> tuple[Remedy, ...]:
    """Every single change that makes one full request fit, at the expected figures, or a few that
    do so together.

    `spare_share` is the share of a card that other services leave of it, `idle` are cards that
    llama.cpp's `split_mode: none` leaves out. A context beyond the model's own is no such change:
    the others are then those of the model's own, which is written beside them.
    """
    case = Case(facts, cards, tightest(facts, cards, settings)[1], settings, spare_share, idle)
    own = _at_own_length(case)
    if own is None:
        return tuple(_ways(case))
    write = f"context_length: {own.settings.context}"
    if fits(own.before):
        return tuple(tried(SMALLER_CONTEXT, write, case, own.settings))
    return tuple(
        each
        if "context_length: " in each.write
        else replace(each, write=written(each.write, write))
        for each in _ways(own)
    )


def beyond_and_too_large(
    facts: ModelFacts, cards: tuple[Card, ...], settings: EngineSettings
) -> int | None:
    """The model's own length, where one beyond it was asked for and not even that fits."""
    case = Case(facts, cards, tightest(facts, cards, settings)[1], settings, 1.0)
    own = _at_own_length(case)
    return None if own is None or fits(own.before) else own.settings.context


def _at_own_length(case: Case) -> Case | None:
    """The case with the model's own context, where one beyond it was asked for."""
    if not is_beyond(case.facts, case.settings):
        return None
    return replace(case, settings=replace(case.settings, context=case.facts.max_positions))


def _ways(case: Case) -> Iterator[Remedy]:
    if case.settings.engine is Engine.LLAMA_CPP:
        yield from llama_remedies(case)
        return
    ways = (
        _other_dcp, _whole_experts, shorter, other_cache, cache_type, shared_cache, fewer_states,
        _batches, other_share, _drafts, _text_only, _more_cards, _weights,
    )  # fmt: skip
    single = [remedy for way in ways for remedy in way(case)]
    # what a spec alone says comes before what must be bought, or found
    found = sorted(
        (*single, *together(case, single, RANK_WAYS)), key=lambda each: each.name in ELSEWHERE
    )
    yield from found or _with_larger_share(case)


def _with_larger_share(case: Case) -> Iterator[Remedy]:
    """More cards or smaller weights, where these alone do not help because a share is too small."""
    for write, changed in larger_share(case):
        freed = replace(case, settings=changed)
        for each in (*_more_cards(freed), *_weights(freed)):
            yield replace(each, write=written(each.write, write))


def _other_dcp(case: Case) -> Iterator[Remedy]:
    """Sizes of decode context parallel that the heads allow, the largest first; 1 is none."""
    if all(refusal.rule != "dcp" for refusal in refusals(case.facts, case.settings, case.card)):
        return
    for size in reversed(decode_context_sizes(case.facts, case.settings, case.card)):
        name = "another DCP" if size > 1 else "no DCP"
        changed = replace(case.settings, decode_context_parallel=size)
        yield from tried(name, f"decode_context_parallel_size: {size}", case, changed)


def _whole_experts(case: Case) -> Iterator[Remedy]:
    """Experts whole on their ranks, where a shard of them cuts a block of scales."""
    cut = any(r.rule in CUT_EXPERTS for r in refusals(case.facts, case.settings, case.card))
    if cut and case.facts.has_experts:
        changed = replace(case.settings, expert_parallel=True)
        yield from tried("whole experts", "expert_parallel: true", case, changed)


def _batches(case: Case) -> Iterator[Remedy]:
    """Fewer sequences, or no graphs at all; smaller prefill chunks: less activation."""
    fewer = surest(_fewer_sequences(case))
    yield from fewer
    if not any(remedy.surely for remedy in fewer):
        yield from _no_graphs(case)
    if vllm.batch_of(case.facts, case.settings, case.card).tokens > 2048:
        changed = replace(case.settings, max_batched_tokens=2048)
        yield from tried("smaller batch", "max_batched_tokens: 2048", case, changed)


def _fewer_sequences(case: Case) -> Iterator[Remedy]:
    states = case.before.states
    # the owner has said how many, or as many as there are states is all that it lacks
    said = case.settings.max_seqs or (states is not None and states.never)
    many = (256, 128, 64, 32, 16) if said else ()
    for seqs in (*many, FEW_SEQUENCES, 4, 3, 2, 1):
        if seqs < vllm.batch_of(case.facts, case.settings, case.card).seqs:
            changed = replace(case.settings, max_seqs=seqs)
            yield from tried("fewer sequences", f"max_sequences: {seqs}", case, changed)


GRAPHS_WORTH_GIB = 0.5
"""Where it may fit as it is, less is not worth steps that the host launches kernel by kernel."""


def _no_graphs(case: Case) -> Iterator[Remedy]:
    """Costs speed at any load, so only where fewer sequences, with fewer graphs, are not enough."""
    if case.settings.engine is Engine.VLLM and not case.settings.eager:
        changed = replace(case.settings, eager=True)
        worth = GRAPHS_WORTH_GIB if fits(case.before) else WORTH_GIB
        if spare_gib(case.after(changed)) < spare_gib(case.before) + worth:
            return
        yield from tried("no CUDA graphs", "enforce_eager: true", case, changed)


def _drafts(case: Case) -> Iterator[Remedy]:
    if case.settings.speculative is not None:
        changed = replace(case.settings, speculative=None)
        yield from tried("no drafts", "no `speculative`", case, changed)


TEXT_SINCE = {Engine.VLLM: (0, 17, 1), Engine.SGLANG: (0, 5, 18)}
"""The first release seen to take `--language-model-only` (`flag-history` of its parser)."""


def _text_only(case: Case) -> Iterator[Remedy]:
    version = case.settings.version
    old = version is not None and version < TEXT_SINCE.get(case.settings.engine, (0,))
    if case.facts.vision is not None and not case.settings.language_only and not old:
        changed = replace(case.settings, language_only=True)
        yield from tried("text only", "`--language-model-only`", case, changed)


def _more_cards(case: Case) -> Iterator[Remedy]:
    """The smallest larger group whose size the model takes; a smaller one if this is refused."""
    ranks = case.settings.tensor_parallel
    groups = case.settings.pipeline_parallel * case.settings.replicas
    if refusals(case.facts, case.settings, case.card):
        yield from _fewer_cards(case)
    for larger in range(ranks + 1, MOST_RANKS // groups + 1):
        changed = replace(case.settings, tensor_parallel=larger)
        if refusals(case.facts, changed, case.card):
            continue
        write = f"{larger * groups} such GPUs, tensor_parallel_size: {larger}"
        found = list(tried(MORE_CARDS, write, case, changed))
        if found:
            yield found[0]
            return


def _fewer_cards(case: Case) -> Iterator[Remedy]:
    """The largest smaller group that the engine takes."""
    for smaller in range(case.settings.tensor_parallel - 1, 0, -1):
        changed = replace(case.settings, tensor_parallel=smaller)
        if not refusals(case.facts, changed, case.card):
            write = f"tensor_parallel_size: {smaller}"
            yield from tried(FEWER_CARDS, write, case, changed)
            return


def _weights(case: Case) -> Iterator[Remedy]:
    """Smaller weights: what a checkpoint of 8 or 4 bits would take."""
    scheme = case.facts.quantization.scheme
    if scheme.is_four_bit or scheme is Scheme.GGUF or lacks_half(case.facts, case.card):
        return
    native_fp8 = case.card.compute is not None and case.card.compute >= (8, 9)
    steps = [(Scheme.FP8, "fp8")] if scheme is Scheme.PLAIN and native_fp8 else []
    few = min(FEW_SEQUENCES, vllm.batch_of(case.facts, case.settings, case.card).seqs)
    ways = (
        (case.settings, ""),
        (replace(case.settings, max_seqs=few), f" and max_sequences: {few}"),
    )
    for smaller, word in (*steps, (Scheme.INT4, "4-bit (AWQ, GPTQ)")):
        quantization = with_scheme(
            case.facts.quantization, smaller, group=128, experts_only=False, label=word
        )
        changed = replace(case.facts, quantization=quantization, sizes=None)
        for asked, also in ways:
            found = tightest(changed, case.cards, asked)[0]
            if fits(found) and helps(case.before, found):
                gives = f"about {found.weights.value:,.1f} GiB of weights per GPU"
                surely = found.boots is Verdict.YES
                write = f"{with_article(word)} checkpoint{also}"
                yield Remedy(SMALLER_WEIGHTS, write, gives, surely)
                return
