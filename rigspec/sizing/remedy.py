"""What every engine's cures share: one change, recomputed, and kept only where it helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.group import tightest
from rigspec.sizing.memory import MemoryEstimate, asked_context
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.verdict import Verdict, contexts_short, late_short

LEAST_CONTEXT = 2048
"""A context below this is no remedy."""
CONTEXT_STEP = 1024
SMALLER_CONTEXT = "smaller context"
MORE_CARDS, FEWER_CARDS, SMALLER_WEIGHTS = "more GPUs", "fewer GPUs", "another quantization"
ELSEWHERE = (MORE_CARDS, FEWER_CARDS, SMALLER_WEIGHTS)
"""Ways out that leave the cards or the checkpoint of the service."""
FEW_SEQUENCES = 8
"""Fewer free little more: graphs and activation are small then."""
MOST_RANKS = 16
WORTH_GIB = 0.25
"""Less room is not worth a change that costs something."""
NOTICED_GIB = 0.05
"""What is less changes no figure that is shown."""


@dataclass(frozen=True)
class Remedy:
    """One change after which it fits: a name, what to write, and what it gives."""

    name: str
    write: str
    gives: str
    surely: bool
    """Whether even the low end of the band fits."""


def given(remedy: Remedy) -> str:
    """What it gives, and whether that is enough for sure."""
    return remedy.gives if remedy.surely else f"{remedy.gives}, too close to call"


def how_surely(found: Iterable[Remedy]) -> str:
    """What a list of ways out promises: `fits`, or less where one is too close to call."""
    kinds = {each.surely for each in found}
    return "fits or may fit" if len(kinds) > 1 else "fits" if True in kinds else "may fit"


@dataclass(frozen=True)
class Case:
    """What does not surely fit, and the card of its group with the least room."""

    facts: ModelFacts
    cards: tuple[Card, ...]
    card: Card
    settings: EngineSettings
    spare_share: float
    """Share of a card that other services leave."""
    idle: tuple[Card, ...] = ()
    """Cards that llama.cpp's `split_mode: none` leaves out, unless the settings take them in."""

    @cached_property
    def before(self) -> MemoryEstimate:
        """The estimate as things are."""
        return self.after(self.settings)

    def after(self, changed: EngineSettings) -> MemoryEstimate:
        """The estimate with other settings."""
        held = max(len(self.cards), changed.tensor_parallel if self.idle else 0)
        cards = (*self.cards, *self.idle)[:held]
        return tightest(self.facts, cards, changed)[0]


def fits(found: MemoryEstimate) -> bool:
    """Whether one full request fits at the expected figures; any room will do for one of unknown
    need."""
    left, needed = found.available, found.needed
    enough = left.low > 0 if needed is None else left.value >= needed.value
    return enough and found.boots is not Verdict.NO and not found.refusals


def tried(name: str, write: str, case: Case, changed: EngineSettings) -> Iterator[Remedy]:
    """The remedy, if it fits then, and better than before."""
    found = case.after(changed)
    if fits(found) and helps(case.before, found):
        yield Remedy(name, write, _room(found), found.boots is Verdict.YES)


def written(*writes: str) -> str:
    """Several things to write; each is set apart where one of them is no line of a spec."""
    apart = any("`" in write for write in writes)
    return ", ".join(f"`{each}`" if apart and "`" not in each else each for each in writes)


def surest(found: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """One of several numbers for one setting: the first that surely fits, else the first. No more
    of them are judged than that takes."""
    closely: tuple[Remedy, ...] = ()
    for remedy in found:
        if remedy.surely:
            return (remedy,)
        closely = closely or (remedy,)
    return closely


def helps(before: MemoryEstimate, found: MemoryEstimate) -> bool:
    """Where it was too close to call, a doubt must go, or the cache gain; what grows outside the
    engine's share is no matter of the cache."""
    if not fits(before) or found.boots is Verdict.YES:
        return True
    asked = before.asked
    if contexts_short(asked.card, asked.settings):
        return False
    if late_short(asked.facts, asked.card, asked.settings):
        return False
    return spare_gib(found) > spare_gib(before) + NOTICED_GIB


def spare_gib(found: MemoryEstimate) -> float:
    """GiB that one full request leaves of the cache; below nothing is what it lacks."""
    return found.available.value - (found.needed.value if found.needed else 0.0)


def _room(found: MemoryEstimate) -> str:
    longest = f", at most {found.largest_context:,} tokens" if found.largest_context else ""
    return f"{found.available.value:,.1f} GiB for the cache{longest}"


def shorter(case: Case) -> Iterator[Remedy]:
    """The longest context that fits, rounded down; the longest sure one where the asked may fit."""
    length = shorter_length(case)
    if length is not None:
        changed = replace(case.settings, context=length)
        yield from tried(SMALLER_CONTEXT, f"context_length: {length}", case, changed)


def shorter_length(case: Case) -> int | None:
    """Tokens of that context; None where none is shorter, or long enough to be of use."""
    asked = asked_context(case.facts, case.settings)
    if asked is None:
        return None
    length = _surely(case, asked) if fits(case.before) else _at_most(case, asked)
    return length if length is not None and LEAST_CONTEXT <= length < asked else None


def _at_most(case: Case, asked: int) -> int | None:
    """The longest at the expected figures."""
    found = case.before
    for _ in range(4):  # activation may shrink with the context, so look again
        if found.largest_context is None or found.largest_context < LEAST_CONTEXT:
            return None
        length = found.largest_context // CONTEXT_STEP * CONTEXT_STEP
        found = case.after(replace(case.settings, context=length))
        if length < asked and fits(found):
            return length
    return None


def _surely(case: Case, asked: int) -> int | None:
    """The longest that even the low end holds."""
    low, high = LEAST_CONTEXT // CONTEXT_STEP - 1, -(-asked // CONTEXT_STEP)
    while high - low > 1:
        middle = (low + high) // 2
        changed = replace(case.settings, context=middle * CONTEXT_STEP)
        surely = case.after(changed).boots is Verdict.YES
        low, high = (middle, high) if surely else (low, middle)
    return low * CONTEXT_STEP
