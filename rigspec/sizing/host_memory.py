"""What keeps a part of a model off the cards, in host memory, so that nobody can size the rest.

Experts of whole layers are no such part (`llamacpp_told.host_experts_of`): it is known which they
are.
"""

from __future__ import annotations

from rigspec.sizing.flags import Flags
from rigspec.sizing.llamacpp_told import is_set
from rigspec.spec.services import Service

_LAYERS = ("-ngl", "--gpu-layers", "--n-gpu-layers")
_COUNTS = ("--cpu-offload-gb", "-ncffn", "--n-cpu-ffn")
"""Flags that move as much as they say; 0 moves nothing."""
_SWITCHES = ("-ot", "--override-tensor", "-nkvo", "--no-kv-offload")
_ENVIRONMENT = ("LLAMA_ARG_OVERRIDE_TENSOR", "LLAMA_ARG_NO_KV_OFFLOAD", "LLAMA_ARG_N_CPU_FFN")


def kept_on_host(service: Service, layers: int) -> str:
    """Setting by which a part of the model's `layers` lies in host memory; empty where all fit.

    llama.cpp counts the output matrix as one layer more.
    """
    flags = Flags(service.extra_args)
    asked = service.gpu_layers if service.gpu_layers is not None else flags.whole(*_LAYERS)
    if asked is not None and asked <= layers:
        field = "gpu_layers" if service.gpu_layers is not None else "--n-gpu-layers"
        return f"`{field}: {asked}` of {layers + 1} (the output is one)"
    moved = (name for name in _COUNTS if flags.text(name) not in (None, "0"))
    given = (name for name in _SWITCHES if flags.given(name))
    said = (name for name in _ENVIRONMENT if is_set(service, name))
    return next((f"`{name}`" for names in (given, moved, said) for name in names), "")
