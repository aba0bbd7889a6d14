"""What would make a service fit: each remedy recomputed, with the setting to write and its number.

In the order an owner loses least: a size of decode context parallel that is not refused, experts
left whole where a shard of them is refused, shorter context, smaller cache type, one cache for
several cards instead of a copy on each, fewer sequences and smaller batches, a larger share of the
card, no drafts, text only, more cards, smaller weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme, with_scheme
from rigspec.sizing import vllm
from rigspec.sizing.accepted import decode_context_sizes, is_beyond, refusals
from rigspec.sizing.cards import Card
from rigspec.sizing.group import tightest
from rigspec.sizing.records import kv_kind
from rigspec.sizing.remedies_llamacpp import llama_remedies
from rigspec.sizing.remedy import (
    MORE_CARDS,
    MOST_RANKS,
    SMALLER_CONTEXT,
    Case,
    Remedy,
    fits,
    helps,
    shorter,
    tried,
)
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict, contexts_short, late_room_gib, late_short
from rigspec.units import with_article

__all__ = ["Remedy", "beyond_and_too_large", "fits", "remedies"]

SHARED_SINCE = (0, 11)
"""Earlier releases have no decode context parallel, or not for every latent attention."""


def remedies(
    facts: ModelFacts,
    cards: tuple[Card, ...],
    settings: EngineSettings,
    *,
    spare_share: float = 1.0,
    idle: tuple[Card, ...] = (),
) -> tuple[Remedy, ...]:
    """Every single change that makes one full request fit, at the expected figures.

    `spare_share` is the share of a card that other services leave of it, `idle` are cards that
    llama.cpp's `split_mode: none` leaves out. A context beyond the model's own is no such change:
    the others are then those of the model's own, which is written beside them.
    """
    case = Case(facts, cards, tightest(facts, cards, settings)[1], settings, spare_share)
    own = _at_own_length(case)
    if own is None:
        return tuple(_ways(case, idle))
    write = f"context_length: {own.settings.context}"
    if fits(own.before):
        return tuple(tried(SMALLER_CONTEXT, write, case, own.settings))
    return tuple(
        each if each.name == SMALLER_CONTEXT else replace(each, write=f"{each.write}, {write}")
        for each in _ways(own, idle)
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


def _ways(case: Case, idle: tuple[Card, ...]) -> Iterator[Remedy]:
    if case.settings.engine is Engine.LLAMA_CPP:
        yield from llama_remedies(case, idle)
        return
    ways = (
        _other_dcp, _whole_experts, shorter, _cache_type, _shared_cache, _batches, _fraction,
        _drafts, _text_only, _more_cards, _weights,
    )  # fmt: skip
    for way in ways:
        yield from way(case)


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
    cut = any(r.rule == "fp8-block" for r in refusals(case.facts, case.settings, case.card))
    if cut and case.facts.has_experts:
        changed = replace(case.settings, expert_parallel=True)
        yield from tried("whole experts", "expert_parallel: true", case, changed)


def _cache_type(case: Case) -> Iterator[Remedy]:
    """An fp8 cache, where the card takes one."""
    if kv_kind(case.facts, case.settings) not in ("bf16", "fp32"):
        return
    if case.card.compute is not None and case.card.compute < (8, 0):
        return
    for word in _fp8_words(case):
        changed = replace(case.settings, kv_dtype=word)
        yield from tried("kv dtype", f"kv_cache_dtype: {word}", case, changed)


def _fp8_words(case: Case) -> tuple[str, ...]:
    """What the engine calls it: SGLang has no `fp8`, and Triton no e4m3 before Ada."""
    if case.settings.engine is not Engine.SGLANG:
        return ("fp8",)
    return ("fp8_e5m2",) if case.card.compute and case.card.compute < (8, 9) else ("fp8_e4m3",)


def _shared_cache(case: Case) -> Iterator[Remedy]:
    """Latent attention keeps a whole cache on every rank; decode context parallel cuts it."""
    facts, settings = case.facts, case.settings
    latent = facts.is_latent and not facts.has_states and settings.engine is Engine.VLLM
    if not latent or (settings.version or SHARED_SINCE) < SHARED_SINCE:
        return
    for size in range(settings.decode_context_parallel + 1, settings.tensor_parallel + 1):
        if settings.tensor_parallel % size == 0:
            write = f"decode_context_parallel_size: {size}"
            changed = replace(settings, decode_context_parallel=size)
            found = list(tried("shared cache", write, case, changed))
            if found:
                yield found[0]
                return


def _batches(case: Case) -> Iterator[Remedy]:
    """Fewer sequences, smaller prefill chunks: less activation, fewer graphs."""
    batch = vllm.batch_of(case.settings, case.card)
    for seqs in (8, 4, 3, 2, 1):
        if seqs < batch.seqs:
            write = f"max_sequences: {seqs}"
            changed = replace(case.settings, max_seqs=seqs)
            found = list(tried("fewer sequences", write, case, changed))
            if found:
                yield found[0]
                break
    if batch.tokens > 2048:
        changed = replace(case.settings, max_batched_tokens=2048)
        yield from tried("smaller batch", "max_batched_tokens: 2048", case, changed)


def _fraction(case: Case) -> Iterator[Remedy]:
    """As large a share of the card as leaves CUDA contexts and other services their room."""
    if case.settings.engine is not Engine.VLLM or case.settings.kv_bytes is not None:
        return
    facts, card, settings = case.facts, case.card, case.settings
    context = vllm.context_overhead(settings).high + 0.25
    outside = max(context, late_room_gib(facts, card, settings))
    most = min(1.0, case.spare_share) - outside / card.total.value
    highest = math.floor(most * 100 + 1e-6) / 100
    larger = highest > vllm.fraction_of(settings)
    if larger or contexts_short(card, settings) or late_short(facts, card, settings):
        write = f"gpu_memory_fraction: {highest:.2f}"
        changed = replace(case.settings, memory_fraction=highest)
        yield from tried("larger share" if larger else "smaller share", write, case, changed)


def _drafts(case: Case) -> Iterator[Remedy]:
    if case.settings.speculative is not None:
        changed = replace(case.settings, speculative=None)
        yield from tried("no drafts", "no `speculative`", case, changed)


def _text_only(case: Case) -> Iterator[Remedy]:
    if case.facts.vision is not None and not case.settings.language_only:
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
            yield from tried("fewer GPUs", write, case, changed)
            return


def _weights(case: Case) -> Iterator[Remedy]:
    """Smaller weights: what a checkpoint of 8 or 4 bits would take."""
    scheme = case.facts.quantization.scheme
    if scheme.is_four_bit or scheme is Scheme.GGUF:
        return
    native_fp8 = case.card.compute is not None and case.card.compute >= (8, 9)
    steps = [(Scheme.FP8, "fp8")] if scheme is Scheme.PLAIN and native_fp8 else []
    few = min(8, vllm.batch_of(case.settings, case.card).seqs)
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
                gives = f"about {found.weights.value:.1f} GiB of weights per GPU"
                surely = found.boots is Verdict.YES
                write = f"{with_article(word)} checkpoint{also}"
                yield Remedy("another quantization", write, gives, surely)
                return
