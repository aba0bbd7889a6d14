"""What would make a service fit: each remedy recomputed, with the setting to write and its number.

In the order an owner loses least: a size of decode context parallel that is not refused, shorter
context, smaller cache type, one cache for several cards instead of a copy on each, fewer sequences
and smaller batches, a larger share of the card, no drafts, text only, more cards, smaller weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme, with_scheme
from rigspec.sizing import vllm
from rigspec.sizing.accepted import decode_context_sizes, refusals
from rigspec.sizing.cards import Card
from rigspec.sizing.group import tightest
from rigspec.sizing.memory import MemoryEstimate, asked_context
from rigspec.sizing.records import kv_kind
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict, contexts_short

LEAST_CONTEXT = 2048
"""A context below this is no remedy."""
MOST_RANKS = 16
SHARED_SINCE = (0, 11)
"""Earlier releases have no decode context parallel, or not for every latent attention."""


@dataclass(frozen=True)
class Remedy:
    """One change after which it fits: a name, what to write, and what it gives."""

    name: str
    write: str
    gives: str
    surely: bool
    """Whether even the low end of the band fits."""


@dataclass(frozen=True)
class Case:
    """What does not surely fit, and the card of its group with the least room."""

    facts: ModelFacts
    cards: tuple[Card, ...]
    card: Card
    settings: EngineSettings
    spare_share: float
    """Share of a card that other services leave."""

    def after(self, changed: EngineSettings) -> MemoryEstimate:
        """The estimate with other settings."""
        return tightest(self.facts, self.cards, changed)[0]


def remedies(
    facts: ModelFacts,
    cards: tuple[Card, ...],
    settings: EngineSettings,
    *,
    spare_share: float = 1.0,
) -> tuple[Remedy, ...]:
    """Every single change that makes one full request fit, at the expected figures.

    `spare_share` is the share of a card that other services leave of it.
    """
    case = Case(facts, cards, tightest(facts, cards, settings)[1], settings, spare_share)
    if settings.engine is Engine.LLAMA_CPP:
        return (*_own_split(case), *_shorter(case), *_slots(case))
    ways = (
        _other_dcp, _shorter, _cache_type, _shared_cache, _batches, _fraction, _drafts,
        _text_only, _more_cards, _weights,
    )  # fmt: skip
    return tuple(remedy for way in ways for remedy in way(case))


def fits(found: MemoryEstimate) -> bool:
    """Whether one full request fits at the expected figures."""
    return (
        found.boots is not Verdict.NO
        and found.needed is not None
        and found.available.value >= found.needed.value
        and not found.refusals
    )


def _remedy(name: str, write: str, case: Case, changed: EngineSettings) -> Iterator[Remedy]:
    found = case.after(changed)
    if fits(found):
        yield Remedy(name, write, _room(found), found.boots is Verdict.YES)


def _room(found: MemoryEstimate) -> str:
    longest = f", at most {found.largest_context:,} tokens" if found.largest_context else ""
    return f"{found.available.value:.1f} GiB for the cache{longest}"


def _shorter(case: Case) -> Iterator[Remedy]:
    """The longest context that fits, rounded down."""
    asked = asked_context(case.facts, case.settings)
    if asked is None:
        return
    changed, length = case.settings, asked
    for _ in range(4):  # activation may shrink with the context, so look again
        found = case.after(changed)
        if found.largest_context is None or found.largest_context < LEAST_CONTEXT:
            return
        length = found.largest_context // 1024 * 1024
        changed = replace(case.settings, context=length)
        if length < asked and fits(case.after(changed)):
            yield from _remedy("smaller context", f"context_length: {length}", case, changed)
            return


def _own_split(case: Case) -> Iterator[Remedy]:
    """llama.cpp's own split, by the memory of the cards, in place of the stated one."""
    if case.settings.tensor_split:
        changed = replace(case.settings, tensor_split=())
        yield from _remedy("llama.cpp's own split", "no `--tensor-split`", case, changed)


def _other_dcp(case: Case) -> Iterator[Remedy]:
    """Sizes of decode context parallel that the heads allow, the largest first; 1 is none."""
    if all(refusal.rule != "dcp" for refusal in refusals(case.facts, case.settings, case.card)):
        return
    for size in reversed(decode_context_sizes(case.facts, case.settings, case.card)):
        name = "another DCP" if size > 1 else "no DCP"
        changed = replace(case.settings, decode_context_parallel=size)
        yield from _remedy(name, f"decode_context_parallel_size: {size}", case, changed)


def _cache_type(case: Case) -> Iterator[Remedy]:
    """An fp8 cache, where the card takes one."""
    if kv_kind(case.facts, case.settings) not in ("bf16", "fp32"):
        return
    if case.card.compute is not None and case.card.compute < (8, 0):
        return
    changed = replace(case.settings, kv_dtype="fp8")
    yield from _remedy("kv dtype", "kv_cache_dtype: fp8", case, changed)


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
            found = list(_remedy("shared cache", write, case, changed))
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
            found = list(_remedy("fewer sequences", write, case, changed))
            if found:
                yield found[0]
                break
    if batch.tokens > 2048:
        changed = replace(case.settings, max_batched_tokens=2048)
        yield from _remedy("smaller batch", "max_batched_tokens: 2048", case, changed)


def _slots(case: Case) -> Iterator[Remedy]:
    """llama.cpp sets a full cache aside for each sequence: as many as find room."""
    found = case.after(case.settings)
    if case.settings.slots < 2 or found.needed is None or not found.needed.value:
        return
    most = int(case.settings.slots * found.available.value / found.needed.value)
    for slots in range(min(most, case.settings.slots - 1), 0, -1):
        changed = replace(case.settings, slots=slots, parallel=slots)
        write = f"max_sequences: {slots}"
        fitting = list(_remedy("fewer sequences", write, case, changed))
        if fitting:
            yield fitting[0]
            return


def _fraction(case: Case) -> Iterator[Remedy]:
    """As large a share of the card as leaves CUDA contexts and other services their room."""
    if case.settings.engine is not Engine.VLLM or case.settings.kv_bytes is not None:
        return
    total, context = case.card.total.value, vllm.context_overhead(case.settings).high
    most = min(1 - (context + 0.25) / total, case.spare_share)
    highest = math.floor(most * 100 + 1e-6) / 100
    larger = highest > vllm.fraction_of(case.settings)
    if larger or contexts_short(case.card, case.settings):
        write = f"gpu_memory_fraction: {highest:.2f}"
        changed = replace(case.settings, memory_fraction=highest)
        yield from _remedy("larger share" if larger else "smaller share", write, case, changed)


def _drafts(case: Case) -> Iterator[Remedy]:
    if case.settings.speculative is not None:
        changed = replace(case.settings, speculative=None)
        yield from _remedy("no drafts", "no `speculative`", case, changed)


def _text_only(case: Case) -> Iterator[Remedy]:
    if case.facts.vision is not None and not case.settings.language_only:
        changed = replace(case.settings, language_only=True)
        yield from _remedy("text only", "`--language-model-only`", case, changed)


def _more_cards(case: Case) -> Iterator[Remedy]:
    """The smallest larger group whose size the model takes; a smaller one if this is refused."""
    ranks = case.settings.tensor_parallel
    if refusals(case.facts, case.settings, case.card):
        yield from _fewer_cards(case)
    for larger in range(ranks + 1, MOST_RANKS + 1):
        changed = replace(case.settings, tensor_parallel=larger)
        if refusals(case.facts, changed, case.card):
            continue
        cards = larger * case.settings.pipeline_parallel
        write = f"{cards} such GPUs, tensor_parallel_size: {larger}"
        found = list(_remedy("more GPUs", write, case, changed))
        if found:
            yield found[0]
            return


def _fewer_cards(case: Case) -> Iterator[Remedy]:
    """The largest smaller group that the engine takes."""
    for smaller in range(case.settings.tensor_parallel - 1, 0, -1):
        changed = replace(case.settings, tensor_parallel=smaller)
        if not refusals(case.facts, changed, case.card):
            write = f"tensor_parallel_size: {smaller}"
            yield from _remedy("fewer GPUs", write, case, changed)
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
            if fits(found):
                gives = f"about {found.weights.value:.1f} GiB of weights per GPU"
                surely = found.boots is Verdict.YES
                write = f"a {word} checkpoint{also}"
                yield Remedy("another quantization", write, gives, surely)
                return
