"""Changes that make a service fit only together, where no single one keeps its length and cards.

Each step of an owner's settings is kept while it gives room, the one that costs least first; after
each the whole is judged again, at the asked length or at the longest that then fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from rigspec.sizing import vllm
from rigspec.sizing.remedies_cache import NO_BYTES, narrower
from rigspec.sizing.remedies_share import shares, with_share
from rigspec.sizing.remedy import (
    ELSEWHERE,
    FEW_SEQUENCES,
    SMALLER_CONTEXT,
    WORTH_GIB,
    Case,
    Remedy,
    fits,
    shorter_length,
    spare_gib,
    tried,
    written,
)
from rigspec.sizing.settings import Engine, EngineSettings

LONGER = 1.25
"""How many times a further change must lengthen the context."""
Step = tuple[str, EngineSettings]
"""What to write, and the settings then."""
Way = Callable[[Case], Iterable[Step]]


def together(case: Case, single: Iterable[Remedy], ways: Iterable[Way]) -> tuple[Remedy, ...]:
    """At most two: the one with the fewest changes, and the one with the longest context."""
    if fits(case.before) or any(r.name not in (*ELSEWHERE, SMALLER_CONTEXT) for r in single):
        return ()
    found = list(_stacked(case, ways))
    return (*found[:1], *found[1:][-1:])


def _stacked(case: Case, ways: Iterable[Way]) -> Iterator[Remedy]:
    """Step upon step, until the asked length fits."""
    writes: dict[str, str] = {}  # by setting: a later one stands in its place
    best, now = shorter_length(case) or 0, case
    for way in ways:
        for step, changed in way(now):
            then = replace(now, settings=changed)
            if spare_gib(then.before) < spare_gib(now.before) + WORTH_GIB:
                continue
            writes, now = {**writes, step.partition(":")[0]: step}, then
            if fits(now.before):
                yield from tried("together", written(*writes.values()), case, now.settings)
                return
            length = shorter_length(now)
            if length is not None and length >= LONGER * best:
                best = length
                shorter = replace(now.settings, context=length)
                write = written(*writes.values(), f"context_length: {length}")
                yield from tried("together", write, case, shorter)


def _own_cache(case: Case) -> Iterator[Step]:
    if case.settings.kv_bytes is not None and case.settings.engine is Engine.VLLM:
        yield NO_BYTES, replace(case.settings, kv_bytes=None)


def larger_share(case: Case) -> Iterator[Step]:
    """The largest to write, which counts only where no size of the cache does."""
    unsized = replace(case, settings=replace(case.settings, kv_bytes=None))
    for share in shares(unsized)[-1:]:
        write, changed = with_share(unsized.settings, share)
        stated = case.settings.kv_bytes is not None
        yield written(NO_BYTES, write) if stated else write, changed


def _few_sequences(case: Case) -> Iterator[Step]:
    if vllm.batch_of(case.facts, case.settings, case.card).seqs > FEW_SEQUENCES:
        changed = replace(case.settings, max_seqs=FEW_SEQUENCES)
        yield f"max_sequences: {FEW_SEQUENCES}", changed


def _narrow_cache(case: Case) -> Iterator[Step]:
    for word in narrower(case):
        yield f"kv_cache_dtype: {word}", replace(case.settings, kv_dtype=word)


RANK_WAYS: tuple[Way, ...] = (_own_cache, larger_share, _few_sequences, _narrow_cache)
"""Those of vLLM and SGLang, whose ranks take a share of their cards."""
