"""What makes a GGUF fit under llama.cpp, which has slots and splits where others have ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from rigspec.catalog.model_parts import Attention
from rigspec.sizing.llamacpp import CACHE_BYTES, cache_widths
from rigspec.sizing.remedies_host import SPLIT_BY_LOAD, experts_to_host, split_by_load
from rigspec.sizing.remedies_together import Step, Way, together
from rigspec.sizing.remedy import (
    MORE_CARDS,
    MOST_RANKS,
    Case,
    Remedy,
    fits,
    shorter,
    shorter_length,
    surest,
    tried,
)

NARROWER = ("q8_0", "q4_0")
"""Cache types with kernels in the project's builds; they need flash attention, its default."""
CACHE_BLOCK = 32
"""Elements under one scale: heads whose width is no multiple are refused (`llama-context.cpp`)."""


def llama_remedies(case: Case) -> Iterator[Remedy]:
    """Every single change, or several together where none of those keeps context and cards."""
    own = list(_each(OWN_SPLIT, _own_split, case))
    single = [
        *own,
        *_each("split by layer", _split_by_layer, case),
        *(() if own else surest(split_by_load(case))),
        *shorter(case),
        *_each("kv dtype", _narrow_cache, case),
        *_slots(case),
    ]
    yield from (*single, *together(case, single, SLOT_WAYS))
    if not any(each.surely and each.name in SPLITS for each in single):
        yield from experts_to_host(case, _with_experts(case))
    yield from () if case.idle else _more_cards(case)


OWN_SPLIT = "llama.cpp's own split"
SPLITS = (OWN_SPLIT, SPLIT_BY_LOAD)
"""Free of cost: no experts need to leave the cards then."""


def _with_experts(case: Case) -> Iterator[Step]:
    """What goes with experts in host memory where these are not enough: half a cache, then fewer
    sequences beside it, then a quarter for a single one, and at last a shorter context."""
    narrower = list(_narrow_cache(case))
    yield from narrower[:1]
    write, changed = narrower[0] if narrower else ("", case.settings)
    slots = case.settings.slots
    while slots > 1:
        slots //= 2
        yield _and(write, _with_slots(replace(case, settings=changed), slots))
    for write, changed in narrower[1:]:
        alone = replace(case, settings=changed)
        yield (write, changed) if changed.slots == 1 else _and(write, _with_slots(alone, 1))
    every = replace(case.settings, host_experts=len(case.facts.layers))
    length = shorter_length(replace(case, settings=every))
    if length is not None:
        yield f"context_length: {length}", replace(case.settings, context=length)


def _and(write: str, step: Step) -> Step:
    return (f"{write}, {step[0]}" if write else step[0]), step[1]


def _each(name: str, way: Way, case: Case) -> Iterator[Remedy]:
    for write, changed in way(case):
        yield from tried(name, write, case, changed)


def _own_split(case: Case) -> Iterator[Step]:
    """llama.cpp's own split, by the memory of the cards, in place of the stated one."""
    if case.settings.tensor_split:
        yield "no `--tensor-split`", replace(case.settings, tensor_split=())


def _split_by_layer(case: Case) -> Iterator[Step]:
    """All cards of the service in place of the main GPU alone."""
    every = len(case.cards) + len(case.idle)
    if case.settings.tensor_parallel < every and case.idle:
        yield (
            "no `split_mode: none`",
            replace(case.settings, split="layer", tensor_parallel=every),
        )


def _narrow_cache(case: Case) -> Iterator[Step]:
    mixers = [layer.mixer for layer in case.facts.layers]
    plain = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    if not case.settings.flash_attention or any(m.head_dim % CACHE_BLOCK for m in plain):
        return
    widest = max(cache_widths(case.settings.kv_dtype))
    for word in NARROWER if plain else ():
        if CACHE_BYTES[word] < widest:
            yield f"kv_cache_dtype: {word}", replace(case.settings, kv_dtype=word)


def _slots(case: Case) -> Iterator[Remedy]:
    """As many sequences as find room: a full cache is set aside for each."""
    for slots in range(_most_slots(case), 0, -1):
        write, changed = _with_slots(case, slots)
        fitting = list(tried("fewer sequences", write, case, changed))
        if fitting:
            yield fitting[0]
            return


def _fewer_slots(case: Case) -> Iterator[Step]:
    """As many as find room, or one: the length goes before the last of them."""
    if case.settings.slots > 1:
        steps = (_with_slots(case, slots) for slots in range(_most_slots(case), 1, -1))
        fitting = (step for step in steps if fits(case.after(step[1])))
        yield next(fitting, _with_slots(case, 1))


def _with_slots(case: Case, slots: int) -> Step:
    return f"max_sequences: {slots}", replace(case.settings, slots=slots, parallel=slots)


def _most_slots(case: Case) -> int:
    """How many the cache has room for, fewer than there are; 0 where not even one."""
    found, slots = case.before, case.settings.slots
    if slots < 2 or found.needed is None or not found.needed.value:
        return 0
    return max(0, min(slots - 1, int(slots * found.available.value / found.needed.value)))


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


def _next_cache(case: Case) -> Iterator[Step]:
    """The widest of the narrower types."""
    yield from islice(_narrow_cache(case), 1)


SLOT_WAYS: tuple[Way, ...] = (_own_split, _split_by_layer, _next_cache, _fewer_slots, _next_cache)
"""What is free of cost, then half a cache and fewer sequences; a quarter of one costs answers."""
