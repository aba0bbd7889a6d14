"""What makes a GGUF with experts fit where the cards are too small for all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate

from rigspec.sizing.llamacpp import card_cache_gib, on_card
from rigspec.sizing.memory import asked_context
from rigspec.sizing.remedies_together import Step
from rigspec.sizing.remedy import Case, Remedy, fits, tried
from rigspec.sizing.settings import EngineSettings, Portion
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib, loaded
from rigspec.units import GIB

HOST_EXPERTS = "experts in host memory"


def experts_to_host(case: Case) -> Iterator[Remedy]:
    """The fewest layers whose experts have to leave the cards, and what host memory holds then."""
    if not case.facts.has_experts:
        return
    counts = range(case.settings.host_experts + 1, len(case.facts.layers) + 1)
    for surely in (True, False):
        at = bisect_left(counts, True, key=partial(_is_enough, case, surely=surely))
        if at < len(counts):
            write, changed = _moved(case, counts[at])
            held = host_gib(case.facts, changed)
            beside = f", {held.value:,.1f} GiB in host memory" if held else ""
            for each in tried(HOST_EXPERTS, write, case, changed):
                yield replace(each, gives=f"{each.gives}{beside}")
            return


def _is_enough(case: Case, count: int, *, surely: bool) -> bool:
    found = case.after(_moved(case, count)[1])
    return fits(found) and (found.boots is Verdict.YES or not surely)


def _moved(case: Case, count: int) -> Step:
    """Experts of the first `count` layers moved; of several cards each then takes its part of what
    is left: llama.cpp's own split goes by layers, as if none of them had become lighter."""
    settings = replace(case.settings, host_experts=count)
    write = f"`--n-cpu-moe {count}`"
    if settings.split != "layer" or settings.tensor_parallel < 2:
        return write, settings
    shares = _by_load(case, settings)
    words = ",".join(map(str, shares))
    changed = replace(settings, tensor_split=tuple(map(float, shares)))
    return f"{write}, `--tensor-split {words}`", changed


def _by_load(case: Case, settings: EngineSettings) -> list[int]:
    """Layers for each card, so that all are filled alike."""
    cards = case.cards[: settings.tensor_parallel]
    rooms = [max(0.0, card.total.value - card.held_gib) for card in cards]
    loads = _loads(case, settings)
    ends = [end / sum(rooms) * sum(loads) for end in accumulate(rooms)]
    middles = [end - load / 2 for end, load in zip(accumulate(loads), loads, strict=True)]
    owners = [min(bisect_left(ends, middle), len(cards) - 1) for middle in middles]
    return [owners.count(card) for card in range(len(cards))]


def _loads(case: Case, settings: EngineSettings) -> list[float]:
    """GiB of each layer on its card, cache included; the output is the last of them."""
    facts, whole = case.facts, len(case.facts.layers) + 1
    context = (asked_context(facts, settings) or 0) * settings.slots
    matrices = loaded(facts, settings)
    found = []
    for number in range(whole):
        alone = replace(settings, portion=Portion(range(number, number + 1)))
        stored = sum(matrix.stored_bytes for matrix in on_card(matrices, facts, alone))
        found.append(stored / GIB + card_cache_gib(facts, alone, context))
    return found
