"""Speed with speculative decoding: accepted tokens against the cost of drafting and verifying.

    gain = accepted length / (1 + (κ + share of link traffic) × drafted tokens)

The accepted length is a property of the text: stated by the owner or, without that, a per-token
chance of 0.72 (narrative prompts of published 27B and Kimi runs). κ is the extra time per drafted
token as a share of a plain step; fitted to paired runs with and without drafts.
"""

from __future__ import annotations

import math
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.throughput import Speed

ACCEPT_CHANCE = 0.72

ACCEPT_RANGE = (0.55, 0.88)
"""Chance per token of prose and of code, the ends of what published runs print."""
UNSTATED_GAIN = (0.65, 1.15, 2.3)
"""When a run says only that it may speculate: from drafts that cost more than they bring to the
best of the published pairs."""


def accepted_length(spec: Speculative) -> float:
    """Mean tokens per step, the first included."""
    if spec.accepted is not None:
        return spec.accepted
    return _mean_length(ACCEPT_CHANCE, spec.depth)


def _mean_length(chance: float, depth: int) -> float:
    return float(sum(chance**position for position in range(depth + 1)))


def cost_per_draft(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """κ: high where arithmetic is scarce (Ampere) and where more tokens wake more experts."""
    if facts.has_experts:
        return 0.33
    if settings.speculative is not None and settings.speculative.method == "dflash":
        return 0.22  # drafts a whole block in one pass
    plenty = card.compute is not None and card.compute >= (8, 9)
    if settings.engine is Engine.LLAMA_CPP:
        return 0.12 if plenty else 0.30
    return 0.17 if plenty else 0.42


def with_speculation(
    plain: Speed, facts: ModelFacts, card: Card, settings: EngineSettings
) -> Speed:
    """The speed of a plain run turned into that of a speculating one, with a wide band."""
    spec = settings.speculative
    if spec is None:
        return plain
    if spec.method == "unstated":
        low, gain, high = UNSTATED_GAIN
        text = "speculation not described"
        doubt = 1.0
    else:
        accepted = accepted_length(spec)
        cost = cost_per_draft(facts, card, settings)
        sent = plain.step.traffic_ms / plain.step.total_ms  # each drafted row is sent around, too
        step = 1 + (cost + sent) * spec.depth
        gain = max(0.8, accepted / step)
        text = f"accepted length {accepted:.2g} of {spec.depth} drafted"
        dearer = (1.0 if facts.has_experts else 0.5) * cost * spec.depth  # experts woken: a guess
        low, high, doubt = gain, gain, gain_doubt(spec, (step + dearer) / step)
    value = plain.tok_s.value * gain
    below = _joined(plain.tok_s.value / plain.tok_s.low, doubt)
    above = _joined(plain.tok_s.high / plain.tok_s.value, doubt)
    band = Amount(value, value * low / gain / below, value * high / gain * above)
    return replace(plain, tok_s=band, basis=f"{plain.basis}; {text}")


def gain_doubt(spec: Speculative, dearer: float) -> float:
    """By which factor the gain may be missed: what the text accepts, how much dearer a step is."""
    texts = 1.15
    if spec.accepted is None:
        least, most = (_mean_length(chance, spec.depth) for chance in ACCEPT_RANGE)
        texts = math.sqrt(most / least)
    depth = 1.25 if spec.tokens is None else 1.0
    return _joined(texts, dearer, depth)


def _joined(*factors: float) -> float:
    """Doubts of different origin, as factors: the root of the squares of their logarithms."""
    return math.exp(math.sqrt(sum(math.log(factor) ** 2 for factor in factors)))
