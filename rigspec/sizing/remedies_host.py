"""What makes a GGUF with experts fit where the cards are too small for all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate, product

from rigspec.sizing.cards import Card
from rigspec.sizing.llamacpp import card_cache_gib, on_card
from rigspec.sizing.memory import MemoryEstimate, asked_context, estimate
from rigspec.sizing.remedies_together import Step
from rigspec.sizing.remedy import Case, Remedy, fits, tried, written
from rigspec.sizing.settings import EngineSettings, Portion
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib, loaded
from rigspec.units import GIB

HOST_EXPERTS, SPLIT_BY_LOAD = "experts in host memory", "split by load"


def split_by_load(case: Case) -> Iterator[Remedy]:
    """Layers shared out by what they take, where as they are one card is too full."""
    for surely in (True, False):
        for write, changed in _splits(case, case.settings.host_experts, (), surely=surely):
            if changed != case.settings:
                yield from tried(SPLIT_BY_LOAD, write, case, changed)


def experts_to_host(case: Case, together: Iterable[Step]) -> Iterator[Remedy]:
    """The fewest layers whose experts have to leave the cards, and what host memory holds then;
    where not even all of them are enough, with the first of the other steps that helps."""
    # which comes first decides where an expression keeps some on a card
    free = case.facts.has_experts and all(each.on_host for each in case.settings.overrides)
    ways = (("", case.settings), *together) if free else ()
    for surely, (write, changed) in product((True, False), ways):
        found = list(_fewest(replace(case, settings=changed), surely=surely))
        for each in found:
            yield replace(each, write=written(each.write, write) if write else each.write)
        if found:
            return


def _fewest(case: Case, *, surely: bool) -> Iterator[Remedy]:
    counts = range(case.settings.host_experts + 1, len(case.facts.layers) + 1)
    at = bisect_left(counts, True, key=partial(_is_enough, case, surely=surely))
    if at < len(counts):
        write, changed = next(_ways(case, counts[at], surely=surely))
        held = host_gib(case.facts, changed)
        beside = f", {held.value:,.1f} GiB in host memory" if held else ""
        for each in tried(HOST_EXPERTS, write, case, changed):
            yield replace(each, gives=f"{each.gives}{beside}")


def _is_enough(case: Case, count: int, *, surely: bool) -> bool:
    return next(_ways(case, count, surely=surely), None) is not None


def _ways(case: Case, count: int, *, surely: bool) -> Iterator[Step]:
    """Of the splits with the experts of the first `count` layers moved, those that fit."""
    flags = ("--n-cpu-moe", str(count))
    for write, changed in _splits(case, count, flags, surely=surely):
        if _is_answer(case.after(changed), surely=surely):
            yield write, changed


def _is_answer(found: MemoryEstimate, *, surely: bool) -> bool:
    return fits(found) and (found.boots is Verdict.YES or not surely)


def _splits(case: Case, count: int, flags: tuple[str, ...], *, surely: bool) -> Iterator[Step]:
    """As the cards share the layers now; filled alike, as llama.cpp's own split goes by layers, as
    if none of them had become lighter; and each card filled before the next."""
    settings = replace(case.settings, host_experts=count)
    yield _added(flags), settings
    if settings.split == "layer" and settings.tensor_parallel > 1:
        for shares in (_by_load(case, settings), _one_after_the_other(case, settings, surely)):
            if shares:
                changed = replace(settings, tensor_split=tuple(map(float, shares)))
                yield _added((*flags, "--tensor-split", ",".join(map(str, shares)))), changed


def _added(words: tuple[str, ...]) -> str:
    """Flags and their values in turn; what the line holds already stays there."""
    quoted = (word if word.startswith("--") else f'"{word}"' for word in words)
    return f"add `{', '.join(quoted)}` to `extra_args`"


def _one_after_the_other(case: Case, settings: EngineSettings, surely: bool) -> list[int]:
    """As many layers on each card as it holds; none where some are left. What a card needs hangs on
    its own layers alone, so no other split holds more."""
    whole, shares = len(case.facts.layers) + 1, list[int]()
    for card in case.cards[: settings.tensor_parallel]:
        begun = sum(shares)

        def is_full(count: int, card: Card = card, begun: int = begun) -> bool:
            held = replace(settings, portion=Portion(range(begun, begun + count)))
            return not _is_answer(estimate(case.facts, card, held), surely=surely)

        shares.append(bisect_left(range(1, whole - begun + 1), True, key=is_full))
    return shares if sum(shares) == whole else []


def _by_load(case: Case, settings: EngineSettings) -> list[int]:
    """Layers for each card, so that all are filled alike."""
    cards = case.cards[: settings.tensor_parallel]
    rooms = [max(0.01, card.total.value - card.held_gib) for card in cards]
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
