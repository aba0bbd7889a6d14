"""What llama.cpp is told by flag or environment of cards, batches, attention; the flag wins."""

from __future__ import annotations

import re

from rigspec.sizing.flags import Flags
from rigspec.spec.services import Service

_OFF = ("off", "0", "false", "disabled")


def shares_told(service: Service) -> tuple[float, ...] | None:
    """The shares by card, `3,1` or `3/1`; empty where one is no number, None where none is told."""
    flags = Flags(service.extra_args)
    text = flags.text("-ts", "--tensor-split") or service.environment.get("LLAMA_ARG_TENSOR_SPLIT")
    if service.engine != "llama_cpp" or not text:
        return None
    words = [word.strip() for word in re.split(r"[,/]", text)]
    known = all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) for word in words)
    return tuple(float(word) for word in words) if known else ()


def main_gpu_of(service: Service) -> str | None:
    """What is written of the main GPU; None where nothing is."""
    if service.engine != "llama_cpp":
        return None
    flags = Flags(service.extra_args)
    return flags.text("-mg", "--main-gpu") or service.environment.get("LLAMA_ARG_MAIN_GPU") or None


def batch_of(service: Service) -> int:
    """Tokens that are handed over at once."""
    return _tokens(service, ("-b", "--batch-size"), "LLAMA_ARG_BATCH") or 2048


def ubatch_of(service: Service) -> int:
    """Tokens of one graph: 512 where nothing is told, the whole batch at 0, never more than it."""
    batch = batch_of(service)
    asked = _tokens(service, ("-ub", "--ubatch-size"), "LLAMA_ARG_UBATCH")
    return min(batch, 512 if asked is None else asked or batch)


ALL_LAYERS = 1 << 20
"""More than any model has."""


def host_experts_of(service: Service) -> int:
    """The first layers whose experts it keeps in host memory; `--n-cpu-moe` may say more than there
    are, `--cpu-moe` means all. Each adds to the others, the environment too (`common/arg.cpp`)."""
    if service.engine != "llama_cpp":
        return 0
    flags = Flags(service.extra_args)
    if flags.given("-cmoe", "--cpu-moe") or is_set(service, "LLAMA_ARG_CPU_MOE"):
        return ALL_LAYERS
    told = service.environment.get("LLAMA_ARG_N_CPU_MOE", "")
    counts = (*flags.texts("-ncmoe", "--n-cpu-moe"), told)
    return max((int(text) for text in counts if re.fullmatch(r"[0-9]{1,9}", text)), default=0)


def _tokens(service: Service, names: tuple[str, ...], variable: str) -> int | None:
    found, told = Flags(service.extra_args).whole(*names), service.environment.get(variable, "")
    return int(told) if found is None and told.isdecimal() else found


def is_set(service: Service, name: str) -> bool:
    """Whether a variable of its environment turns something on, or names a file."""
    return service.environment.get(name, "").lower() not in ("", *_OFF)


def without_flash_attention(service: Service) -> str:
    """The setting that tells it to do without; empty where none does."""
    flag = Flags(service.extra_args).text("-fa", "--flash-attn")
    if flag is not None:
        return f"--flash-attn {flag}" if flag in _OFF else ""
    said = service.environment.get("LLAMA_ARG_FLASH_ATTN", "")
    return f"LLAMA_ARG_FLASH_ATTN={said}" if said in _OFF else ""
