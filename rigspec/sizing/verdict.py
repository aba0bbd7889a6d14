"""Whether one request of full length fits: certainly, certainly not, or too close to call."""

from __future__ import annotations

from enum import StrEnum

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing import sglang_share, vllm
from rigspec.sizing.amount import Amount, about, exact, total
from rigspec.sizing.as_loaded import load_peak
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_states import requests
from rigspec.units import GIB, with_article


class Verdict(StrEnum):
    """Whether one request of full length fits."""

    YES = "yes"
    NO = "no"
    CLOSE = "close"


WORST_FIRST = (Verdict.NO, Verdict.CLOSE, Verdict.YES)


CONTEXT_GIB = about(0.6, 0.2)
"""What CUDA takes beside weights while they load."""


def verdict_of(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    used: tuple[Amount, ...],
    left: Amount,
    needed: Amount | None,
) -> Verdict:
    """`yes` when even the low end holds one request, `no` when not even the high end does; never
    `yes` where a size of the layers is not known at all. `used` holds every term but the cache, the
    weights first."""
    need = needed if needed is not None else exact(0.05)
    loading, cache = loads(facts, card, settings), stated_cache(card, settings, used)
    if left.high < need.low or used[0].low > card.total.high or not starts(card, settings):
        return Verdict.NO
    running = requests(facts, settings, left)
    if Verdict.NO in (loading, cache) or (running is not None and running.high < 1):
        return Verdict.NO
    if running is not None and running.low < 1:
        return Verdict.CLOSE
    if left.low < need.high or contexts_short(card, settings) or facts.lacks != "nothing":
        return Verdict.CLOSE
    if late_short(facts, card, settings) or _is_unreckoned(facts, needed):
        return Verdict.CLOSE
    return loading if cache is Verdict.YES else cache


def _is_unreckoned(facts: ModelFacts, needed: Amount | None) -> bool:
    """Whether what a request takes of the cache cannot be told: its layout changes by release, or
    nothing says it."""
    return needed is None and (facts.is_compressed or facts.is_cache_unknown)


def stated_cache(card: Card, settings: EngineSettings, used: tuple[Amount, ...]) -> Verdict:
    """Whether a cache whose size is stated finds room beside `used`: vLLM sets it aside unasked."""
    if settings.kv_bytes is None:
        return Verdict.YES
    room, asked = beside_all(card, settings, used), settings.kv_bytes / GIB
    if asked > room.high:
        return Verdict.NO
    return Verdict.CLOSE if asked > room.low else Verdict.YES


def beside_all(card: Card, settings: EngineSettings, used: tuple[Amount, ...]) -> Amount:
    """GiB that are left of the whole card beside every term, other services and CUDA itself."""
    taken = total(used) + exact(settings.other_processes_gib) + vllm.context_overhead(settings)
    return card.total - taken


def loads(facts: ModelFacts, card: Card, settings: EngineSettings) -> Verdict:
    """Whether the weights find room until the last of them is quantized."""
    peak = load_peak(facts, settings)
    if peak is None:
        return Verdict.YES
    room = card.total - exact(settings.other_processes_gib) - CONTEXT_GIB
    if peak.low > room.high:
        return Verdict.NO
    return Verdict.CLOSE if peak.high > room.low else Verdict.YES


def load_short(facts: ModelFacts, card: Card, settings: EngineSettings) -> str:
    """How much the card lacks while weights are quantized at load, if it may; else empty."""
    peak = load_peak(facts, settings)
    if peak is None or loads(facts, card, settings) is Verdict.YES:
        return ""
    return (
        f"{peak.low:,.1f} to {peak.high:,.1f} GiB of weights lie on each GPU until the last of "
        f"them is quantized; {with_article(card.name)} has {card.total.value:.1f}"
    )


def starts(card: Card, settings: EngineSettings) -> bool:
    """Whether vLLM's first check passes: as much memory free as it is told to take."""
    others = settings.other_processes_gib
    if settings.engine is not Engine.VLLM or (card.free_gib is None and not others):
        return True
    free = card.free_gib if card.free_gib is not None else card.total.value
    return free - others + 0.01 >= vllm.fraction_of(settings) * card.total.value


def contexts_short(card: Card, settings: EngineSettings) -> str:
    """How little a stated share leaves CUDA contexts, if less than they take at least; else empty.

    A share that is left to the engine is its makers' choice, and no sign of a slip.
    """
    share, taken = settings.memory_fraction, vllm.context_overhead(settings)
    if share is None or settings.engine is Engine.LLAMA_CPP:
        return ""
    rest = card.total.value * (1 - share)
    if settings.engine is Engine.SGLANG:
        return _steps_short(card, settings, rest)
    if rest >= taken.value:
        return ""
    return (
        f"{share:g} of {with_article(card.name)} leaves {rest:.2f} GiB; CUDA contexts take "
        f"{taken.low:.1f} to {taken.high:.1f} GiB beside it"
    )


SGLANG_REST = 0.5
"""Of what SGLang leaves by itself: of eight published runs that left less three ran out of memory
(DeepSeek-R1 in FP4 at 0.95 of GB200s, V4-Flash at 0.94 and 0.96 of two PRO 6000), of 14 between
this and all of it one."""


def _steps_short(card: Card, settings: EngineSettings, rest: float) -> str:
    if rest >= least_beside(card, settings):
        return ""
    return (
        f"{settings.memory_fraction:g} of {with_article(card.name)} leaves {rest:.2f} GiB for "
        f"activations, graphs and CUDA contexts; SGLang itself would leave "
        f"{sglang_share.own_rest_gib(card, settings):.1f}, and of eight published runs with less "
        "than half of that three ran out of memory"
    )


def least_beside(card: Card, settings: EngineSettings) -> float:
    """GiB that a stated share must leave of the card."""
    if settings.engine is Engine.SGLANG:
        return SGLANG_REST * sglang_share.own_rest_gib(card, settings)
    return vllm.context_overhead(settings).value


LATE_GIB, LATE_MARGIN_GIB = 0.5, 0.25
"""Less than the first comes out of what any boot leaves; the second is kept free beside it."""


def late_short(facts: ModelFacts, card: Card, settings: EngineSettings) -> str:
    """How little the share leaves what grows after the cache is sized, if too little; else empty.

    Two boots died that way under load: a 27B hybrid on two 3090s, a DFlash drafter on two 5090s.
    """
    wanted = late_room_gib(facts, card, settings)
    outside = outside_gib(card, settings)
    if outside >= wanted or not wanted:  # without a need `starts` says what is missing
        return ""
    return (
        f"{outside:.2f} GiB of {with_article(card.name)} are left beside the engine's share; "
        f"contexts, graphs, drafts and warm-up may take {wanted:.2f} GiB there"
    )


def outside_gib(card: Card, settings: EngineSettings) -> float:
    """GiB that nobody has taken beside vLLM's share, where known, its own context among them."""
    share = vllm.fraction_of(settings) * card.total.value
    beside = card.total.value - settings.other_processes_gib
    if card.free_gib is not None:
        beside = min(beside, card.free_gib + vllm.context_overhead(settings).value)
    return beside - share


def late_room_gib(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """GiB to leave outside vLLM's share for contexts and what grows late; 0 if that is little."""
    if settings.engine is not Engine.VLLM:
        return 0.0
    late = vllm.late_gib(facts, card, settings)
    if late <= LATE_GIB:
        return 0.0
    return vllm.context_overhead(settings).value + late + LATE_MARGIN_GIB
