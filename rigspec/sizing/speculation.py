"""Speed with speculative decoding: accepted tokens against the cost of drafting and verifying.

    gain = accepted length / (1 + (κ + share of link traffic) × drafted tokens)

The accepted length is a property of the text: stated by the owner or, without that, a per-token
chance of 0.72 (narrative prompts of published 27B and Kimi runs). κ is the extra time per drafted
token as a share of a plain step; fitted to paired runs with and without drafts.
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.throughput import Speed

ACCEPT_CHANCE = 0.72

UNSTATED_GAIN = 1.15
"""When a run says only that it may speculate: between none and the usual."""


def accepted_length(spec: Speculative) -> float:
    """Mean tokens per step, the first included."""
    if spec.accepted is not None:
        return spec.accepted
    return float(sum(ACCEPT_CHANCE**position for position in range(spec.depth + 1)))


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
        gain, text = UNSTATED_GAIN, "speculation not described"
    else:
        accepted = accepted_length(spec)
        cost = cost_per_draft(facts, card, settings)
        cost += plain.step.traffic_ms / plain.step.total_ms  # each drafted row is sent around, too
        gain = accepted / (1 + cost * spec.depth)
        text = f"accepted length {accepted:.2g} of {spec.depth} drafted"
    value = plain.tok_s.value * max(0.8, gain)
    wide = 0.34 if spec.tokens is not None or spec.accepted is not None else 0.75
    fall = plain.tok_s.value / plain.tok_s.low  # what is unsure of the plain speed stays unsure
    band = Amount(value, value / max(1 + wide, fall), value * (1 + wide))
    return replace(plain, tok_s=band, basis=f"{plain.basis}; {text}")
