"""How fast a sized service is: one stream, many streams, prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rigspec.sizing.cards import Card
from rigspec.sizing.prefill import prefill
from rigspec.sizing.service import Sized
from rigspec.sizing.settings import Engine
from rigspec.sizing.speculation import with_speculation
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.turns import of_group
from rigspec.sizing.verdict import Verdict

DEPTH = 4096
"""Tokens already in the context, and in the prompt, where a speed is quoted."""
USUAL_STREAMS = 8
"""Streams of the summed figure when the owner sets no `max_sequences`."""


@dataclass(frozen=True)
class Speeds:
    """Tokens per second at a depth; None where the card's figures are unknown."""

    depth: int
    """Tokens in the context and in the prompt: `DEPTH`, or the whole context where that is less."""
    single: Speed | None
    speculative: Speed | None
    """Single stream with drafts; None when none are asked for."""
    streams: int
    batch: Speed | None
    """Summed over `streams`."""
    prefill: Speed | None


def speeds_of(sized: Sized) -> Speeds:
    """Speeds of one group: its cards together, over the slowest link between them.

    None of a shape that the engine refuses, or of what does not fit: nothing would run.
    """
    if sized.memory.refusals or sized.memory.boots is Verdict.NO:
        return Speeds(DEPTH, None, None, 0, None, None)
    facts, settings, link = sized.facts, sized.settings, sized.link
    # llama.cpp has one slot where it is told nothing
    usual = settings.slots if settings.engine is Engine.LLAMA_CPP else USUAL_STREAMS
    streams = settings.max_seqs or usual
    depth = min(DEPTH, settings.context or DEPTH)

    def plain(card: Card, streams: int = 1) -> Speed | None:
        return decode(facts, card, settings, streams=streams, context=depth, link=link)

    def drafted(card: Card) -> Speed | None:
        single = plain(card)
        spec = settings.speculative
        if spec and spec.method == "mtp" and not spec.draft_gib and facts.surely_draftless:
            return None  # `engine.draft-layers`: nothing would draft
        return None if single is None else with_speculation(single, facts, card, settings)

    def together(one: Callable[[Card], Speed | None]) -> Speed | None:
        return of_group(sized.cards, settings, one)

    return Speeds(
        depth=depth,
        single=together(plain),
        speculative=together(drafted) if settings.speculative is not None else None,
        streams=streams,
        batch=together(lambda card: plain(card, streams)),
        prefill=together(lambda card: prefill(facts, card, settings, prompt=depth, link=link)),
    )
