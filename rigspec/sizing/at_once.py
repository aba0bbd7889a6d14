"""How many requests of the asked length run at once."""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_states import requests


def at_once(
    facts: ModelFacts, settings: EngineSettings, left: Amount, needed: Amount | None
) -> float | None:
    """Requests of the asked length, 0 where room is missing; llama.cpp runs no more than its
    slots, whatever is free, and SGLang no more than find their recurrent states."""
    if needed is None or needed.value <= 0:
        return None
    found = max(0.0, settings.slots * left.value / needed.value)
    if settings.engine is Engine.LLAMA_CPP:
        return min(found, settings.slots)
    running = requests(facts, settings, left)
    return found if running is None else min(found, max(0.0, running.value))
