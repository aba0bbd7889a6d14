"""What would make a service fit: each remedy recomputed, with the setting to write and its number.

In the order an owner loses least: shorter context, smaller cache type, one cache for several cards
instead of a copy on each, fewer sequences and smaller
batches, a larger share of the card, no drafts, text only, more cards, smaller weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme, with_scheme
from rigspec.sizing import vllm
from rigspec.sizing.accepted import refusals
from rigspec.sizing.cards import Card
from rigspec.sizing.kvcache import kv_kind
from rigspec.sizing.memory import MemoryEstimate, asked_context, estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict

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


def remedies(facts: ModelFacts, card: Card, settings: EngineSettings) -> tuple[Remedy, ...]:
    """Every single change that makes one full request fit, at the expected figures."""
    if settings.engine is Engine.LLAMA_CPP:
        return (*_shorter(facts, card, settings), *_slots(facts, card, settings))
    found: list[Remedy] = []
    for way in (_shorter, _cache_type, _shared_cache, _batches, _fraction, _drafts, _text_only):
        found += way(facts, card, settings)
    return (*found, *_more_cards(facts, card, settings), *_weights(facts, card, settings))


def fits(found: MemoryEstimate) -> bool:
    """Whether one full request fits at the expected figures."""
    return (
        found.boots is not Verdict.NO
        and found.needed is not None
        and found.available.value >= found.needed.value
        and not found.refusals
    )


def _remedy(
    name: str, write: str, facts: ModelFacts, card: Card, changed: EngineSettings
) -> Iterator[Remedy]:
    found = estimate(facts, card, changed)
    if fits(found):
        yield Remedy(name, write, _room(found), found.boots is Verdict.YES)


def _room(found: MemoryEstimate) -> str:
    longest = f", at most {found.largest_context:,} tokens" if found.largest_context else ""
    return f"{found.available.value:.1f} GiB for the cache{longest}"


def _shorter(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """The longest context that fits, rounded down."""
    asked = asked_context(facts, settings)
    if asked is None:
        return
    changed, length = settings, asked
    for _ in range(4):  # activation may shrink with the context, so look again
        found = estimate(facts, card, changed)
        if found.largest_context is None or found.largest_context < LEAST_CONTEXT:
            return
        length = found.largest_context // 1024 * 1024
        changed = replace(settings, context=length)
        if length < asked and fits(estimate(facts, card, changed)):
            yield from _remedy("smaller context", f"context_length: {length}", facts, card, changed)
            return


def _cache_type(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """An fp8 cache, where the card takes one."""
    if kv_kind(facts, settings) not in ("bf16", "fp32"):
        return
    if card.compute is not None and card.compute < (8, 0):
        return
    changed = replace(settings, kv_dtype="fp8")
    yield from _remedy("kv dtype", "kv_cache_dtype: fp8", facts, card, changed)


def _shared_cache(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """Latent attention keeps a whole cache on every rank; decode context parallel cuts it."""
    latent = facts.is_latent and not facts.has_states and settings.engine is Engine.VLLM
    if not latent or (settings.version or SHARED_SINCE) < SHARED_SINCE:
        return
    for size in range(settings.decode_context_parallel + 1, settings.tensor_parallel + 1):
        if settings.tensor_parallel % size == 0:
            write = f"decode_context_parallel_size: {size}"
            changed = replace(settings, decode_context_parallel=size)
            found = list(_remedy("shared cache", write, facts, card, changed))
            if found:
                yield found[0]
                return


def _batches(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """Fewer sequences, smaller prefill chunks: less activation, fewer graphs."""
    batch = vllm.batch_of(settings, card)
    for seqs in (8, 4, 3, 2, 1):
        if seqs < batch.seqs:
            write = f"max_sequences: {seqs}"
            found = list(
                _remedy("fewer sequences", write, facts, card, replace(settings, max_seqs=seqs))
            )
            if found:
                yield found[0]
                break
    if batch.tokens > 2048:
        changed = replace(settings, max_batched_tokens=2048)
        yield from _remedy("smaller batch", "max_batched_tokens: 2048", facts, card, changed)


def _slots(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """llama.cpp sets a full cache aside for each sequence: as many as find room."""
    found = estimate(facts, card, settings)
    if settings.slots < 2 or found.needed is None or not found.needed.value:
        return
    most = int(settings.slots * found.available.value / found.needed.value)
    for slots in range(min(most, settings.slots - 1), 0, -1):
        changed = replace(settings, slots=slots, parallel=slots)
        write = f"max_sequences: {slots}"
        fitting = list(_remedy("fewer sequences", write, facts, card, changed))
        if fitting:
            yield fitting[0]
            return


def _fraction(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """A larger share of the card, as long as the CUDA contexts keep their room."""
    if settings.engine is not Engine.VLLM or settings.kv_bytes is not None:
        return
    total, context = card.total.value, vllm.context_overhead(settings).high
    highest = int((1 - (context + 0.25) / total) * 100) / 100
    if highest > vllm.fraction_of(settings):
        write = f"gpu_memory_fraction: {highest:.2f}"
        changed = replace(settings, memory_fraction=highest)
        yield from _remedy("larger share", write, facts, card, changed)


def _drafts(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    if settings.speculative is not None:
        changed = replace(settings, speculative=None)
        yield from _remedy("no drafts", "no `speculative`", facts, card, changed)


def _text_only(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    if facts.vision is not None and not settings.language_only:
        changed = replace(settings, language_only=True)
        yield from _remedy("text only", "`--language-model-only`", facts, card, changed)


def _more_cards(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """The smallest larger group whose size the model takes; a smaller one if this is refused."""
    ranks = settings.tensor_parallel
    if refusals(facts, settings, card):
        yield from _fewer_cards(facts, card, settings)
    for larger in range(ranks + 1, MOST_RANKS + 1):
        changed = replace(settings, tensor_parallel=larger)
        if refusals(facts, changed, card):
            continue
        cards = larger * settings.pipeline_parallel
        write = f"{cards} such GPUs, tensor_parallel_size: {larger}"
        found = list(_remedy("more GPUs", write, facts, card, changed))
        if found:
            yield found[0]
            return


def _fewer_cards(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """The largest smaller group that the engine takes."""
    for smaller in range(settings.tensor_parallel - 1, 0, -1):
        changed = replace(settings, tensor_parallel=smaller)
        if not refusals(facts, changed, card):
            write = f"tensor_parallel_size: {smaller}"
            yield from _remedy("fewer GPUs", write, facts, card, changed)
            return


def _weights(facts: ModelFacts, card: Card, settings: EngineSettings) -> Iterator[Remedy]:
    """Smaller weights: what a checkpoint of 8 or 4 bits would take."""
    scheme = facts.quantization.scheme
    if scheme.is_four_bit or scheme is Scheme.GGUF:
        return
    native_fp8 = card.compute is not None and card.compute >= (8, 9)
    steps = [(Scheme.FP8, "fp8")] if scheme is Scheme.PLAIN and native_fp8 else []
    few = min(8, vllm.batch_of(settings, card).seqs)
    ways = ((settings, ""), (replace(settings, max_seqs=few), f" and max_sequences: {few}"))
    for smaller, word in (*steps, (Scheme.INT4, "4-bit (AWQ, GPTQ)")):
        quantization = with_scheme(
            facts.quantization, smaller, group=128, experts_only=False, label=word
        )
        changed = replace(facts, quantization=quantization, sizes=None)
        for asked, also in ways:
            found = estimate(changed, card, asked)
            if fits(found):
                gives = f"about {found.weights.value:.1f} GiB of weights per GPU"
                surely = found.boots is Verdict.YES
                write = f"a {word} checkpoint{also}"
                yield Remedy("another quantization", write, gives, surely)
                return
