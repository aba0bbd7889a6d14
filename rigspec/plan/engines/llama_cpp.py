"""The words after `llama-server`, which is the entry point of its images."""

from __future__ import annotations

from rigspec.plan.engines.words import Words, served_names
from rigspec.spec.services import Service

ENTRYPOINT = None

ENVIRONMENT = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_CACHE_PATH": "/cache/cuda"}


def argv(name: str, service: Service, weights: str, draft: str | None) -> tuple[str, ...]:
    """Model file and flags; `weights` and `draft` are paths inside the container."""
    words = Words("llama_cpp", service)
    layers = "all" if service.gpu_layers is None else service.gpu_layers
    return (
        *words.flag("model", weights),
        *words.flag("served_names", ",".join(served_names(name, service))),
        *words.flag("host", service.listen.address),
        *words.flag("port", service.listen.port),
        *words.flag("gpu_layers", layers),
        *words.flag("fit", "off"),  # else it shrinks context and layers by itself
        *words.flag("split_mode", service.split_mode),
        *words.flag("context_length", _total_context(service)),
        *words.flag("max_sequences", service.max_sequences),
        *words.flag("max_batched_tokens", service.max_batched_tokens),
        *words.flag("kv_cache_dtype", service.kv_cache_dtype),
        *words.flag("kv_cache_dtype_v", service.kv_cache_dtype),
        *_speculative(words, service, draft),
        *service.extra_args,
    )


def _total_context(service: Service) -> int | None:
    """`--ctx-size` is shared out among the slots; the spec's length is that of one sequence."""
    if service.context_length is None:
        return None
    return service.context_length * (service.max_sequences or 1)


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
