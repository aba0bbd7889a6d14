"""What keeps a part of a model off the cards, so that nobody can size the rest.

Experts are no such part (`llamacpp_told.host_experts_of`, `overrides`) where it is known which they
are.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.override_words import FLAGS, VARIABLE
from rigspec.sizing.flags import Flags
from rigspec.sizing.llamacpp_told import host_experts_of, is_off
from rigspec.sizing.overrides import overrides_of, puts_table_on_card, takes_more
from rigspec.spec.services import Service

_LAYERS = ("-ngl", "--gpu-layers", "--n-gpu-layers")
_COUNTS = ("--cpu-offload-gb", "-ncffn", "--n-cpu-ffn")
"""Flags that move as much as they say; 0 moves nothing."""
_SWITCHES = ("-nkvo", "--no-kv-offload")
_COUNT, _OFFLOAD = "LLAMA_ARG_N_CPU_FFN", "LLAMA_ARG_KV_OFFLOAD"
_MANAGED = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"
"""What finds no room on a card then goes to host memory (llama.cpp's `docs/build.md`)."""
_ELSEWHERE = ("--rpc", "LLAMA_ARG_RPC")


def kept_off(service: Service, facts: ModelFacts, cards: int) -> str:
    """The setting of a service with so many `cards` that keeps a part of the model off them, and
    where that lies, in one clause; empty where nobody has to guess."""
    told = (*Flags(service.extra_args).words, *service.environment)
    elsewhere = next((name for name in _ELSEWHERE if name in told), "")
    if elsewhere and service.engine == "llama_cpp":
        return f"`{elsewhere}` leaves a part of the model to other machines"
    found = _kept_on_host(service, facts) or _overridden(service, facts, cards)
    if service.engine == "llama_cpp" and _MANAGED in service.environment:
        found = found or f"`{_MANAGED}`"
    return f"{found} leaves a part of the model in host memory" if found else ""


def _kept_on_host(service: Service, facts: ModelFacts) -> str:
    """llama.cpp counts the output matrix as one layer more."""
    flags, layers = Flags(service.extra_args), len(facts.layers)
    asked = service.gpu_layers if service.gpu_layers is not None else flags.whole(*_LAYERS)
    if asked is not None and asked <= layers:
        field = "gpu_layers" if service.gpu_layers is not None else "--n-gpu-layers"
        return f"`{field}: {asked}` of {layers + 1} (the output is one)"
    moved = (name for name in _COUNTS if flags.text(name) not in (None, "0"))
    given = (name for name in _SWITCHES if flags.given(name))
    said = (_COUNT,) if service.environment.get(_COUNT) not in (None, "0") else ()
    found = next((f"`{name}`" for names in (given, moved, said) for name in names), "")
    return found or _unloaded(service)


def _unloaded(service: Service) -> str:
    """The variable that keeps the cache off the cards; a flag that wants it there wins."""
    if not is_off(service, _OFFLOAD) or Flags(service.extra_args).given("-kvo", "--kv-offload"):
        return ""
    negated = _OFFLOAD.replace("ARG_", "ARG_NO_")
    return f"`{negated if negated in service.environment else _OFFLOAD}`"


def _overridden(service: Service, facts: ModelFacts, cards: int) -> str:
    """`--override-tensor` that takes more than experts, moves them between cards, or says nothing
    that is understood."""
    found = overrides_of(service)
    if found == ():
        return ""
    to_card = any(not each.on_host for each in found or ())
    # which of the two comes first decides
    moved = to_card and (cards > 1 or host_experts_of(service) > 0)
    unclear = found is None or moved or puts_table_on_card(found) or takes_more(found, facts)
    written = FLAGS[-1] if Flags(service.extra_args).given(*FLAGS) else VARIABLE
    return f"`{written}`" if unclear else ""
