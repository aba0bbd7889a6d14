"""How fast a sized service is: one stream, many streams, prompts."""

from __future__ import annotations

from dataclasses import dataclass

from rigspec.sizing.prefill import prefill
from rigspec.sizing.service import Sized, slowest
from rigspec.sizing.settings import Engine
from rigspec.sizing.speculation import with_speculation
from rigspec.sizing.throughput import Speed, decode

DEPTH = 4096
"""Tokens already in the context, and in the prompt, where a speed is quoted."""
USUAL_STREAMS = 8
"""Streams of the summed figure when the owner sets no `max_sequences`."""


@dataclass(frozen=True)
class Speeds:
    """Tokens per second at `DEPTH` tokens; None where the card's figures are unknown."""

    single: Speed | None
    speculative: Speed | None
    """Single stream with drafts; None when none are asked for."""
    streams: int
    batch: Speed | None
    """Summed over `streams`."""
    prefill: Speed | None


def speeds_of(sized: Sized) -> Speeds:
    """Speeds of one group: the slowest card for all, the slowest link between them.

    None of a shape that the engine refuses: nothing would run.
    """
    if sized.memory.refusals:
        return Speeds(None, None, 0, None, None)
    facts, settings, link = sized.facts, sized.settings, sized.link
    card = slowest(sized.cards)
    # llama.cpp has one slot where it is told nothing
    usual = settings.slots if settings.engine is Engine.LLAMA_CPP else USUAL_STREAMS
    streams = settings.max_seqs or usual
    depth = min(DEPTH, settings.context or DEPTH)
    single = decode(facts, card, settings, context=depth, link=link)
    drafted = None
    if single is not None and settings.speculative is not None:
        drafted = with_speculation(single, facts, card, settings)
    return Speeds(
        single=single,
        speculative=drafted,
        streams=streams,
        batch=decode(facts, card, settings, streams=streams, context=depth, link=link),
        prefill=prefill(facts, card, settings, prompt=depth, link=link),
    )
