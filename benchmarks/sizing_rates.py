"""Speeds of one case: its cards together, with what nobody says of the run in the band."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from benchmarks.sizing_cases import Case
from benchmarks.sizing_known import Unknown, card_of, facts_of
from benchmarks.sizing_links import link_of
from rigspec.sizing import prefill, speculation, throughput
from rigspec.sizing.amount import Amount, exact
from rigspec.sizing.cards import Card
from rigspec.sizing.memory import estimate
from rigspec.sizing.served import Load, chats, summed
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.speeds import held_at
from rigspec.sizing.turns import of_group
from rigspec.sizing.vllm_batch import batch_of
from rigspec.sizing.weights import rank_weights


def decode(asked: int, context: int | None) -> Callable[[Case], Amount]:
    """Predicts tokens per second summed over so many streams, at a depth; None: not stated."""

    def predict(case: Case) -> Amount:
        depth = context or 0
        fewest, usual, most = (
            _decode(case, streams, depth) for streams in running(case, asked, depth)
        )
        answers = Amount(usual.value, min(fewest.low, usual.low), max(most.high, usual.high))
        try:
            copies = min(case.settings.replicas, asked)
            prompts = prompt_rate(depth or USUAL)(case).times(copies)
        except Unknown:
            prompts = None
        return summed(answers, prompts, load_of(case, context), asked)

    return predict


DECODE_ALONE, UNSTATED = Load(0.0, 1.0), Load(4.0, 8.0)
"""A depth of 0: answers from nothing, or to a line. No depth at all: loads of many streams, whose
prompts nobody describes, come out with 4 tokens of them for each of an answer."""


def load_of(case: Case, context: int | None) -> Load:
    """Prompts beside the answers of a run; llama.cpp's own benchmark times them apart."""
    if context == 0 or case.settings.engine is Engine.LLAMA_CPP:
        return DECODE_ALONE
    return UNSTATED if context is None else chats(context)


SHORT, USUAL, LONG = 1, 1024, 4096
"""Tokens of a request of a load test, prompt and answer, where a run does not state them."""


def running(case: Case, asked: int, depth: int) -> tuple[int, int, int]:
    """Streams that run at once, fewest, usual and most: the others wait for the cache, or for one
    of the sequences that the engine takes."""
    settings, card, facts = case.settings, case.card, case.facts
    if settings.engine is Engine.LLAMA_CPP or card is None or facts is None or asked == 1:
        return asked, asked, asked
    found = estimate(facts, card, settings)
    seqs = settings.max_seqs
    if settings.engine is Engine.VLLM:
        seqs = batch_of(facts, settings, card).seqs

    def at_once(gib: float, tokens: int) -> int:
        held = held_at(replace(found, available=exact(gib)), tokens) if gib > 0 else None
        limits = [limit * settings.replicas for limit in (seqs, held) if limit]
        return max(1, min(asked, *limits)) if limits else asked

    room = found.available
    # a depth is usually that of one long prompt, whose cache all streams share
    return at_once(room.low, depth or LONG), at_once(room.value, USUAL), at_once(room.high, SHORT)


def _decode(case: Case, streams: int, context: int) -> Amount:
    """Speed of so many streams that all run."""
    facts, link = facts_of(case), link_of(case)
    copies = min(case.settings.replicas, streams)

    def one(card: Card, settings: EngineSettings) -> throughput.Speed | None:
        plain = throughput.decode(
            facts, card, settings, streams=math.ceil(streams / copies), context=context, link=link
        )
        return plain and speculation.with_speculation(plain, facts, card, settings)

    found = _of_cards(case, lambda card: one(card, case.settings), case.no_card)
    if case.settings.speculative and case.stated.text("kv_cache_dtype") is None:
        eight = replace(case.settings, kv_dtype="fp8")  # nobody says that it was not
        low = _of_cards(case, lambda card: one(card, eight), case.no_card).low
        found = Amount(found.value, min(found.low, low), found.high)
    if case.ranks_guessed:  # the cards may as well have worked in turn, as one
        found = Amount(found.value, found.low / case.settings.tensor_parallel, found.high)
    return found.times(copies)


def _of_cards(case: Case, one: Callable[[Card], throughput.Speed | None], missing: str) -> Amount:
    """The speed of a run's cards together, from that of each."""
    if case.unplaced or case.settings.host_experts:
        raise Unknown("a part lies in host memory, whose speed nobody states")
    if _is_spilled(case, card_of(case)):
        raise Unknown("its weights exceed the cards: a part lies elsewhere, and nobody says which")
    speed = of_group(case.cards, case.settings, one)
    if speed is None:
        raise Unknown(missing)
    found, other = speed.tok_s, of_group(case.slower, case.settings, one) if case.slower else None
    return Amount(found.value, min(found.low, other.tok_s.low), found.high) if other else found


def _is_spilled(case: Case, card: Card) -> bool:
    """Whether llama.cpp, which runs all the same, has to leave weights in host memory."""
    weights = rank_weights(facts_of(case), case.settings).amount
    llama = case.settings.engine is Engine.LLAMA_CPP
    return llama and len(set(case.cards)) == 1 and weights.low > card.total.high


def prompt_rate(prompt: int) -> Callable[[Case], Amount]:
    """Predicts prompt tokens per second of one prompt."""

    def predict(case: Case) -> Amount:
        facts, card, link = facts_of(case), card_of(case), link_of(case)

        def one(card: Card) -> throughput.Speed | None:
            return prefill.prefill(facts, card, case.settings, prompt=prompt, link=link)

        return _of_cards(case, one, f"the arithmetic peak of {card.name} is not known")

    return predict
