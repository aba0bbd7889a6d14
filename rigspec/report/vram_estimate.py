"""What each service is estimated to take of each of its cards, to stand beside what is in use."""

from __future__ import annotations

from dataclasses import dataclass

from rigspec.rules.context import CheckContext
from rigspec.rules.memory import sized_once
from rigspec.sizing.settings import Engine
from rigspec.spec.rig import Rig


@dataclass(frozen=True)
class CardEstimate:
    """GiB that a running service takes of one card, cache included, CUDA contexts not."""

    service: str
    member: str
    gib: float


def card_estimates(rig: Rig, facts: CheckContext) -> tuple[CardEstimate, ...]:
    """For services whose model is known, of engines that fill their share at the start.

    llama.cpp takes only what its contexts need, so what is left over says nothing about it.
    """
    found: list[CardEstimate] = []
    for name in rig.services:
        sized = sized_once(rig, name, facts)
        if sized is None or sized.settings.engine is Engine.LLAMA_CPP:
            continue
        gib = sum(max(0.0, term.amount.value) for term in sized.memory.terms)
        found += [CardEstimate(name, member, gib) for member in sized.gpus]
    return tuple(found)
