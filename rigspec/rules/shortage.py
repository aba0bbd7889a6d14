"""How a service that does not fit is told so: what it lacks, and which field decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigspec.finding import Path
from rigspec.rules.ways_out import starts_after
from rigspec.spec.services import Service
from rigspec.units import with_article

if TYPE_CHECKING:
    from rigspec.sizing.service import Sized


def shortage(name: str, sized: Sized, length: str) -> str:
    """Weights beyond the card, states that find no room, or the cache of a full request."""
    memory, card = sized.memory, sized.card
    unlike = memory.beside or sized.settings.pipeline_parallel > 1
    where = "on one of its cards" if unlike else "per GPU"
    if memory.weights.low > card.total.high:
        return (
            f"`{name}` does not fit: {memory.weights.value:,.1f} GiB of weights {where}, "
            f"{with_article(card.name)} has {card.total.value:,.1f} GiB"
        )
    left, needed = memory.available, memory.needed
    states = states_lack(sized)
    if states and needed is not None and left.high >= needed.low:
        return f"`{name}` does not fit{starts_after(sized)}: {states}"
    request = f"{needed.value:,.1f} GiB" if needed else "any"
    slots = sized.settings.slots
    who = f"one full request{length} needs" if slots == 1 else f"{slots} full requests at once need"
    return (
        f"`{name}` does not fit{starts_after(sized)}: {who} {request} of cache {where}, "
        f"{max(0.0, left.high):,.1f} GiB are left at best on {with_article(card.name)}"
    )


def states_lack(sized: Sized) -> str:
    """How few of SGLang's recurrent states find room, if too few for a request; else empty."""
    from rigspec.sizing import sglang_states  # on use: a spec without facts must not wait for it

    return sglang_states.states_short(sized.facts, sized.settings, sized.memory.available)


def own_length(sized: Sized, service: Service) -> str:
    """Which length is meant where the spec writes none: vLLM takes the model's own."""
    if given(service, "context_length") or sized.settings.context is None:
        return ""
    return f" of {sized.settings.context:,} tokens (no `context_length`: the model's own)"


def place(sized: Sized, service: Service) -> Path:
    """The field that decides: the weights, the context, or the cards."""
    if sized.memory.weights.low > sized.card.total.high or not given(service, "context_length"):
        return ("services", sized.name, "model")
    return ("services", sized.name, "context_length")


def given(service: Service, key: str) -> bool:
    """Whether the spec itself writes the field."""
    return key in service.model_fields_set
