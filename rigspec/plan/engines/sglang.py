"""The words after `sglang`, or `python3` in older images, in its container."""

from __future__ import annotations

from rigspec.catalog.flag_table import version_key
from rigspec.plan.engines.words import Words, served_names
from rigspec.spec.services import Service

ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "/cache/huggingface",
    "CUDA_CACHE_PATH": "/cache/cuda",
}
"""Weights are there, so no hub; beside these, the catalog's caches."""

KEY_FILE = "/run/secrets/sglang.yaml"
"""Where the container sees the key: SGLang reads it from no variable, only from a flag or here."""


FIRST_CLI = (0, 5, 5)
"""The first SGLang with a command of its own (sgl-project/sglang pull 11982, October 2025)."""


def _has_cli(service: Service) -> bool:
    version = version_key(service.engine_version or "")
    return not version or version >= FIRST_CLI


def entry_point(service: Service) -> str:
    """What the container starts."""
    return "sglang" if _has_cli(service) else "python3"


def argv(name: str, service: Service, weights: str, draft: str | None) -> tuple[str, ...]:
    """Subcommand, model folder and flags; `weights` and `draft` are paths inside the container."""
    words = Words("sglang", service)
    return (
        *(("serve",) if _has_cli(service) else ("-m", "sglang.launch_server")),
        *words.flag("model", weights),
        *words.flag("served_names", *served_names(name, service)[:1]),
        *words.flag("host", service.listen.address),
        *words.flag("port", service.listen.port),
        *words.parallel(),
        *words.limits(),
        *_speculative(words, service, draft),
        *words.flag("tool_call_parser", service.tool_call_parser),
        *words.flag("reasoning_parser", service.reasoning_parser),
        *words.switches(),
        *(words.flag("config", KEY_FILE) if service.api_key_env else ()),
        *service.extra_args,
    )


def _speculative(words: Words, service: Service, draft: str | None) -> tuple[str, ...]:
    wanted = service.speculative
    if wanted is None:
        return ()
    return (
        *words.flag("speculative_method", wanted.method.upper()),
        *words.flag("speculative_model", draft),
        *words.flag("speculative_tokens", wanted.tokens),
        *words.options("--speculative-", wanted.options),
    )
