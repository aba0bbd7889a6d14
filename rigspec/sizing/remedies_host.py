"""What makes a GGUF with experts fit where the cards are too small for all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise

from rigspec.sizing.llamacpp import card_cache_gib, on_card
from rigspec.sizing.memory import asked_context
from rigspec.sizing.remedies_together import Step
from rigspec.sizing.remedy import Case, Remedy, fits, tried
from rigspec.sizing.settings import EngineSettings, Portion
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib, loaded
from rigspec.units import GIB

HOST_EXPERTS, SPLIT_BY_LOAD = "experts in host memory", "split by load"


def split_by_load(case: Case) -> Iterator[Remedy]:
    """Layers shared out so that all cards are filled alike, where as they are one is too full."""
    for write, changed in _splits(case, case.settings.host_experts, words=()):
        if changed != case.settings:
            yield from tried(SPLIT_BY_LOAD, write, case, changed)


def experts_to_host(case: Case, together: Iterable[Step]) -> Iterator[Remedy]:
    """The fewest layers whose experts have to leave the cards, and what host memory holds then;
    where not even all of them are enough, with the first of the other steps that helps."""
    for write, changed in (("", case.settings), *together):
        found = list(_experts_alone(replace(case, settings=changed)))
        for each in found:
            beside = f", {write}" if write else ""
            yield replace(each, write=f"{each.write}{beside}")
        if found:
            return


def _experts_alone(case: Case) -> Iterator[Remedy]:
    counts = range(case.settings.host_experts + 1, len(case.facts.layers) + 1)
    if not case.facts.has_experts:
        return
    for surely in (True, False):
        at = bisect_left(counts, True, key=partial(_is_enough, case, surely=surely))
        if at < len(counts):
            write, changed = next(_ways(case, counts[at], surely=surely))
            held = host_gib(case.facts, changed)
            beside = f", {held.value:,.1f} GiB in host memory" if held else ""
            for each in tried(HOST_EXPERTS, write, case, changed):
                yield replace(each, gives=f"{each.gives}{beside}")
            return


def _is_enough(case: Case, count: int, *, surely: bool) -> bool:
    return next(_ways(case, count, surely=surely), None) is not None


def _ways(case: Case, count: int, *, surely: bool) -> Iterator[Step]:
    """Of the splits with the experts of the first `count` layers moved, those that fit."""
    for write, changed in _splits(case, count, ("--n-cpu-moe", str(count))):
        found = case.after(changed)
        if fits(found) and (found.boots is Verdict.YES or not surely):
            yield write, changed


def _splits(case: Case, count: int, words: tuple[str, ...]) -> Iterator[Step]:
    """As the cards share the layers now; then so that each takes its part of what is left, as
    llama.cpp's own split goes by layers, as if none of them had become lighter."""
    settings = replace(case.settings, host_experts=count)
    yield _written(words), settings
    if settings.split == "layer" and settings.tensor_parallel > 1:
        for shares in _near(_by_load(case, settings)):
            changed = replace(settings, tensor_split=tuple(map(float, shares)))
            yield _written((*words, "--tensor-split", ",".join(map(str, shares)))), changed


def _written(words: tuple[str, ...]) -> str:
    """Flags and their values in turn, as a line of a spec."""
    quoted = (word if word.startswith("--") else f'"{word}"' for word in words)
    return f"extra_args: [{', '.join(quoted)}]"


def _near(shares: list[int]) -> Iterator[list[int]]:
    """The same, and with one layer more or less on each but the last card: the first takes what
    passes through, the last the output."""
    yield shares
    for left, right in pairwise(range(len(shares))):
        for step in (1, -1):
            other = list(shares)
            other[left], other[right] = other[left] + step, other[right] - step
            if min(other) >= 0:
                yield other


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
