"""The words after `vllm` in its container."""

from __future__ import annotations

import json

from rigspec.plan.engines.words import Words, served_names
from rigspec.spec.services import Service

ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "/cache/huggingface",
    "CUDA_CACHE_PATH": "/cache/cuda",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Weights are there, so no hub; no telemetry; beside these, the catalog's caches."""


def entry_point(service: Service) -> str:
    """Images of every age have it; their own entry points differ (`vllm serve`, `api_server`)."""
    return "vllm"


def argv(name: str, service: Service, weights: str, draft: str | None) -> tuple[str, ...]:
    """Subcommand, model folder and flags; `weights` and `draft` are paths inside the container."""
    words = Words("vllm", service)
    return (
        "serve",
        weights,
        *words.flag("served_names", *served_names(name, service)),
        *words.flag("host", service.listen.address),
        *words.flag("port", service.listen.port),
        *words.parallel(),
        *words.limits(),
        *_speculative(words, service, draft),
        *_tools(words, service),
        *words.switches(),
        *service.extra_args,
    )


def _speculative(words: Words, service: Service, draft: str | None) -> tuple[str, ...]:
    wanted = service.speculative
    if wanted is None:
        return ()
    config: dict[str, object] = {"method": wanted.method, "num_speculative_tokens": wanted.tokens}
    if draft is not None:
        config["model"] = draft
    return words.flag("speculative", json.dumps(config | wanted.options, ensure_ascii=False))


def _tools(words: Words, service: Service) -> tuple[str, ...]:
    choice = words.switch("auto_tool_choice") if service.tool_call_parser else ()
    return (
        *choice,
        *words.flag("tool_call_parser", service.tool_call_parser),
        *words.flag("reasoning_parser", service.reasoning_parser),
    )
