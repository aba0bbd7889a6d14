"""What each service is estimated to take of each of its cards, to stand beside what is in use."""

from __future__ import annotations

from rigspec.rules.context import CheckContext
from rigspec.rules.sizable import sized_once
from rigspec.sizing.amount import Amount, total
from rigspec.sizing.settings import Engine
from rigspec.sizing.vllm import context_overhead
from rigspec.spec.rig import Rig
from rigspec.verify.vram import CardEstimate

DRIVER_GIB = Amount(0.3, 0.0, 1.0)
"""What the driver itself keeps of a card and nvidia-smi counts as used: general knowledge, no
source seen, hence the wide band."""


def card_estimates(rig: Rig, facts: CheckContext) -> tuple[CardEstimate, ...]:
    """For services whose model is known, of engines that fill their share at the start.

    llama.cpp takes only what its contexts need, so what is left over says nothing about it.
    """
    found: list[CardEstimate] = []
    for name in rig.services:
        sized = sized_once(rig, name, facts)
        if sized is None or sized.settings.engine is Engine.LLAMA_CPP:
            continue
        terms = [term.amount for term in sized.memory.terms if term.amount.value > 0]
        gib = sum(term.value for term in terms)
        shown = total([*terms, context_overhead(sized.settings), DRIVER_GIB])
        found += [
            CardEstimate(name, member, gib, min(shown.low, gib), shown.high)
            for member in sized.gpus
        ]
    return tuple(found)
