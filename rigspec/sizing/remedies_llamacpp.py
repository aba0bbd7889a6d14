"""What makes a GGUF fit under llama.cpp, which has slots and splits where others have ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.model_parts import Attention
from rigspec.sizing.cards import Card
from rigspec.sizing.llamacpp import CACHE_BYTES, cache_widths
from rigspec.sizing.remedy import MORE_CARDS, MOST_RANKS, Case, Remedy, shorter, tried

NARROWER = ("q8_0", "q4_0")
"""Cache types with kernels in the project's builds; they need flash attention, its default."""
CACHE_BLOCK = 32
"""Elements under one scale: heads whose width is no multiple are refused (`llama-context.cpp`)."""


def llama_remedies(case: Case, idle: tuple[Card, ...]) -> Iterator[Remedy]:
    """Every single change; `idle` cards are those that `split_mode: none` leaves out."""
    yield from _own_split(case)
    yield from _split_by_layer(case, idle)
    yield from shorter(case)
    yield from _cache_type(case)
    yield from _slots(case)
    yield from () if idle else _more_cards(case)


def _own_split(case: Case) -> Iterator[Remedy]:
    """llama.cpp's own split, by the memory of the cards, in place of the stated one."""
    if case.settings.tensor_split:
        changed = replace(case.settings, tensor_split=())
        yield from tried("llama.cpp's own split", "no `--tensor-split`", case, changed)


def _split_by_layer(case: Case, idle: tuple[Card, ...]) -> Iterator[Remedy]:
    """All cards of the service in place of the main GPU alone."""
    if idle:
        every = (*case.cards, *idle)
        changed = replace(case.settings, split="layer", tensor_parallel=len(every))
        spread = replace(case, cards=every)
        yield from tried("split by layer", "no `split_mode: none`", spread, changed)


def _cache_type(case: Case) -> Iterator[Remedy]:
    mixers = [layer.mixer for layer in case.facts.layers]
    plain = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    if not case.settings.flash_attention or any(m.head_dim % CACHE_BLOCK for m in plain):
        return
    widest = max(cache_widths(case.settings.kv_dtype))
    for word in NARROWER if plain else ():
        if CACHE_BYTES[word] < widest:
            changed = replace(case.settings, kv_dtype=word)
            yield from tried("kv dtype", f"kv_cache_dtype: {word}", case, changed)


def _slots(case: Case) -> Iterator[Remedy]:
    """llama.cpp sets a full cache aside for each sequence: as many as find room."""
    found = case.before
    if case.settings.slots < 2 or found.needed is None or not found.needed.value:
        return
    most = int(case.settings.slots * found.available.value / found.needed.value)
    for slots in range(min(most, case.settings.slots - 1), 0, -1):
        changed = replace(case.settings, slots=slots, parallel=slots)
        write = f"max_sequences: {slots}"
        fitting = list(tried("fewer sequences", write, case, changed))
        if fitting:
            yield fitting[0]
            return


def _more_cards(case: Case) -> Iterator[Remedy]:
    """The fewest further cards of the same kind over which the layers fit."""
    first, held = case.cards[0], len(case.cards)
    alike = all(card == first for card in case.cards)
    if not alike or case.settings.tensor_split or case.settings.tensor_parallel != held:
        return
    for larger in range(held + 1, MOST_RANKS + 1):
        changed = replace(case.settings, tensor_parallel=larger)
        more = replace(case, cards=(first,) * larger)
        found = list(tried(MORE_CARDS, f"{larger} such GPUs", more, changed))
        if found:
            yield found[0]
            return
