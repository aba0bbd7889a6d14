"""The words after `llama-server`, which is the entry point of its images."""

from __future__ import annotations

import re

from rigspec.plan.engines.words import Words, served_names
from rigspec.sizing.llamacpp_told import is_unified
from rigspec.spec.services import Service

FIRST_FIT = 7407
"""The build that brought `--fit` (ggml-org/llama.cpp pull 16653, December 2025)."""
MANY = 999
"""More layers than any model has: what older builds take for all of them."""

ENVIRONMENT = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_CACHE_PATH": "/cache/cuda"}


def entry_point(service: Service) -> None:
    """The image's own."""


def argv(name: str, service: Service, weights: str, draft: str | None) -> tuple[str, ...]:
    """Model file and flags; `weights` and `draft` are paths inside the container."""
    words = Words("llama_cpp", service)
    fits = _fits_by_itself(service)
    layers = service.gpu_layers if service.gpu_layers is not None else "all" if fits else MANY
    return (
        *words.flag("model", weights),
        *words.flag("served_names", ",".join(served_names(name, service))),
        *words.flag("host", service.listen.address),
        *words.flag("port", service.listen.port),
        *words.flag("gpu_layers", layers),
        # else it shrinks context and layers by itself
        *(words.flag("fit", "off") if fits and "--fit" not in service.extra_args else ()),
        *words.flag("split_mode", service.split_mode),
        *words.flag("context_length", _total_context(service)),
        # else the server takes four slots that share one cache
        *words.flag("max_sequences", service.max_sequences or 1),
        *words.flag("max_batched_tokens", service.max_batched_tokens),
        *words.flag("kv_cache_dtype", service.kv_cache_dtype),
        *words.flag("kv_cache_dtype_v", service.kv_cache_dtype),
        *_speculative(words, service, draft),
        *service.extra_args,
    )


def _total_context(service: Service) -> int | None:
    """`--ctx-size` is shared out among the slots; the spec's length is that of one sequence.

    With a unified cache it is not: all slots use one pool.
    """
    if service.context_length is None or is_unified(service):
        return service.context_length
    return service.context_length * (service.max_sequences or 1)


def _fits_by_itself(service: Service) -> bool:
    """Whether the build has `--fit`, and `all` as a number of layers."""
    built = re.fullmatch(r"b(\d+)", service.engine_version or "")
    return built is None or int(built[1]) >= FIRST_FIT


def _speculative(words: Words, service: Service, draft: str | None) -> tuple[str, ...]:
    wanted = service.speculative
    if wanted is None:
        return ()
    return (
        *words.flag("speculative_method", wanted.method),
        *words.flag("speculative_model", draft),
        *words.flag("speculative_tokens", wanted.tokens),
        *words.options("--spec-", wanted.options),
    )
