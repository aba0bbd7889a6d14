"""What keeps a part of a model off the cards, in host memory, so that nobody can size the rest.

Experts are no such part (`llamacpp_told.host_experts_of`, `overrides`) where it is known which they
are.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.flags import Flags
from rigspec.sizing.llamacpp_told import OFF, host_experts_of, is_set
from rigspec.sizing.overrides import FLAGS, overrides_of, takes_more
from rigspec.spec.services import Service

_LAYERS = ("-ngl", "--gpu-layers", "--n-gpu-layers")
_COUNTS = ("--cpu-offload-gb", "-ncffn", "--n-cpu-ffn")
"""Flags that move as much as they say; 0 moves nothing."""
_SWITCHES = ("-nkvo", "--no-kv-offload")
_ENVIRONMENT = ("LLAMA_ARG_NO_KV_OFFLOAD", "LLAMA_ARG_N_CPU_FFN")


def kept_on_host(service: Service, facts: ModelFacts, cards: int) -> str:
    """Setting of a service with so many `cards` by which a part of the model lies in host memory
    that nobody can tell; empty where there is none.

    llama.cpp counts the output matrix as one layer more.
    """
    flags, layers = Flags(service.extra_args), len(facts.layers)
    asked = service.gpu_layers if service.gpu_layers is not None else flags.whole(*_LAYERS)
    if asked is not None and asked <= layers:
        field = "gpu_layers" if service.gpu_layers is not None else "--n-gpu-layers"
        return f"`{field}: {asked}` of {layers + 1} (the output is one)"
    moved = (name for name in _COUNTS if flags.text(name) not in (None, "0"))
    given = (name for name in _SWITCHES if flags.given(name))
    said = (name for name in _ENVIRONMENT if is_set(service, name))
    found = next((f"`{name}`" for names in (given, moved, said) for name in names), "")
    off = service.environment.get("LLAMA_ARG_KV_OFFLOAD", "on").lower() in OFF
    unloaded = "`LLAMA_ARG_KV_OFFLOAD`" if off else ""
    return found or unloaded or _overridden(service, facts, cards)


def _overridden(service: Service, facts: ModelFacts, cards: int) -> str:
    """`--override-tensor` that takes more than experts, moves them between cards, or says nothing
    that is understood."""
    found = overrides_of(service)
    if found == ():
        return ""
    to_card = any(not each.on_host for each in found or ())
    # which of the two comes first decides
    moved = to_card and (cards > 1 or host_experts_of(service) > 0)
    unclear = found is None or moved or takes_more(found, facts)
    return f"`{FLAGS[-1]}`" if unclear else ""
