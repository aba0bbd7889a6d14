"""How fast a sized service is: one stream, many streams, prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.memory import MemoryEstimate
from rigspec.sizing.prefill import prefill
from rigspec.sizing.served import chats, served
from rigspec.sizing.service import Sized
from rigspec.sizing.settings import Engine
from rigspec.sizing.sglang import tokens
from rigspec.sizing.sglang_states import requests
from rigspec.sizing.speculation import with_speculation
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.turns import of_group
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib
from rigspec.units import GIB

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
    """Of all replicas together: what may run, no more than the cache holds at this depth."""
    batch: Speed | None
    """Summed over `streams`, with drafts where some are asked for, and as many prompt tokens read
    as answer tokens written (`served.chats`)."""
    prefill: Speed | None
    """Of one replica."""
    replicas: int = 1
    waiting: int = 0
    """Streams that were asked for and find no room in the cache at this depth."""


def speeds_of(sized: Sized) -> Speeds:
    """Speeds of one group: its cards together, over the slowest link between them.

    None of a shape that the engine refuses, or of what does not fit: nothing would run. None either
    where experts are read from host memory: a spec says nothing of its speed.
    """
    starts = not sized.memory.refused and sized.memory.boots is not Verdict.NO
    if not starts or host_gib(sized.facts, sized.settings) is not None:
        return Speeds(DEPTH, None, None, 0, None, None)
    facts, settings, link = sized.facts, sized.settings, sized.link
    # llama.cpp has one slot where it is told nothing
    usual = settings.slots if settings.engine is Engine.LLAMA_CPP else USUAL_STREAMS
    depth, replicas = min(DEPTH, settings.context or DEPTH), settings.replicas
    asked = settings.max_seqs or usual
    at_once = min(asked, held_at(sized.memory, depth) or asked)

    def plain(card: Card, streams: int = 1) -> Speed | None:
        return decode(facts, card, settings, streams=streams, context=depth, link=link)

    def drafted(card: Card, streams: int = 1) -> Speed | None:
        found = plain(card, streams)
        spec = settings.speculative
        if spec and spec.method == "mtp" and not spec.draft_gib and facts.surely_draftless:
            return None  # `engine.draft-layers`: nothing would draft
        return None if found is None else with_speculation(found, facts, card, settings)

    def together(one: Callable[[Card], Speed | None]) -> Speed | None:
        return of_group(sized.cards, settings, one)

    prompts = together(lambda card: prefill(facts, card, settings, prompt=depth, link=link))
    answers = together(lambda card: drafted(card, at_once))
    answers = answers or together(lambda card: plain(card, at_once))  # nothing drafts
    batch = answers and served(answers, prompts, chats(depth), at_once)
    return Speeds(
        depth=depth,
        single=together(plain),
        speculative=together(drafted) if settings.speculative is not None else None,
        streams=at_once * replicas,
        batch=batch and replace(batch, tok_s=batch.tok_s.times(replicas)),
        prefill=prompts,
        replicas=replicas,
        waiting=((settings.max_seqs or at_once) - at_once) * replicas,
    )


def held_at(memory: MemoryEstimate, depth: int) -> int | None:
    """Streams of so many tokens each that one replica's cache holds, at least one; None where it is
    not shared out as they come: llama.cpp sets each slot's aside."""
    facts, settings = memory.asked.facts, memory.asked.settings
    if settings.engine is Engine.LLAMA_CPP or memory.shape is None:
        return None
    left = memory.available.value
    if settings.engine is Engine.SGLANG:
        running = requests(facts, settings, memory.available)
        held = tokens(facts, settings, left) // depth
        return max(1, held if running is None else min(held, int(running.value)))
    return max(1, int(memory.shape.concurrency(left * GIB, depth)))
