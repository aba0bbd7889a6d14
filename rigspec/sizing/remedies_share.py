"""Room that a stated share of the card holds back.

A share that leaves CUDA and other services ample room is tried first, then the engine's own: what
its makers chose must not be missing among the ways out, though it leaves small cards less room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rigspec.sizing import sglang_share, vllm
from rigspec.sizing.remedy import Case, Remedy, surest, tried
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import contexts_short, late_room_gib, late_short

AMPLE_GIB = 0.25
"""Kept free beside the most that contexts were seen to take."""


def other_share(case: Case) -> Iterator[Remedy]:
    """A larger share, or a smaller one where what lies beside it lacks room."""
    current, short = _share(case), _is_short(case)
    found: list[Remedy] = []
    for share in shares(case):
        if share > current or short:
            name = "larger share" if share > current else "smaller share"
            write, changed = with_share(case.settings, share)
            found += tried(name, write, case, changed)
    yield from surest(found or [*_unstated(case)])


def shares(case: Case) -> tuple[float, ...]:
    """Shares to write, in hundredths, the smaller first; none where a stated size of the cache
    counts instead, or where SGLang would take it of what others leave."""
    if case.settings.kv_bytes is not None:
        return ()
    found: tuple[float, ...] = ()
    if case.settings.engine is Engine.VLLM:
        found = _of_vllm(case)
    elif case.spare_share >= 1:
        found = (_own(case),)
    whole = sorted({math.floor(share * 100 + 1e-6) / 100 for share in found})
    return tuple(share for share in whole if share > 0)


def with_share(settings: EngineSettings, share: float) -> tuple[str, EngineSettings]:
    """What to write, and the settings then."""
    return f"gpu_memory_fraction: {share:.2f}", replace(settings, memory_fraction=share)


def _of_vllm(case: Case) -> tuple[float, float]:
    """A share with ample room beside it, and up to vLLM's own the largest that no rule warns of."""
    facts, card, settings = case.facts, case.card, case.settings
    context, late = vllm.context_overhead(settings), late_room_gib(facts, card, settings)
    ample, least = (
        min(1.0, case.spare_share) - max(gib, late) / card.total.value
        for gib in (context.high + AMPLE_GIB, context.value)
    )
    return ample, max(ample, min(least, _own(case)))


def _own(case: Case) -> float:
    """What the engine takes where it is told nothing."""
    return _share(replace(case, settings=replace(case.settings, memory_fraction=None)))


def _share(case: Case) -> float:
    if case.settings.engine is Engine.SGLANG:
        return sglang_share.fraction_of(case.facts, case.card, case.settings)
    return vllm.fraction_of(case.settings)


def _is_short(case: Case) -> bool:
    facts, card, settings = case.facts, case.card, case.settings
    return bool(contexts_short(card, settings) or late_short(facts, card, settings))


def _unstated(case: Case) -> Iterator[Remedy]:
    """vLLM's own, which no rule warns about, where it is more than any share to write."""
    changed = replace(case.settings, memory_fraction=None)
    alone = case.settings.engine is Engine.VLLM and case.spare_share >= 1
    if alone and case.settings.kv_bytes is None and _share(case) < _own(case):
        yield from tried("larger share", "no `gpu_memory_fraction`", case, changed)
