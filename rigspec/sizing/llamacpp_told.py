"""What llama.cpp alone is told by field, flag or environment; the flag wins over the variable."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from rigspec.catalog.flag_values import OFF, ON
from rigspec.sizing.flags import Flags
from rigspec.sizing.overrides import overrides_of
from rigspec.sizing.settings import EngineSettings
from rigspec.spec.services import Service


def told(settings: EngineSettings, service: Service) -> EngineSettings:
    """With cards, slots, batches, and what stays on the host."""
    slots = service.max_sequences or 1
    return replace(
        settings,
        split=_split(service),
        tensor_split=_tensor_split(service),
        main_gpu=_main_gpu(service),
        parallel=slots,
        slots=1 if is_unified(service) else slots,
        batch=_batch_of(service),
        ubatch=ubatch_of(service),
        host_experts=host_experts_of(service),
        overrides=overrides_of(service) or (),
        flash_attention=not without_flash_attention(service),
    )


def is_unified(service: Service) -> bool:
    """Whether all slots share one cache."""
    return Flags(service.extra_args).given("-kvu", "--kv-unified") or (
        is_on(service, "LLAMA_ARG_KV_UNIFIED")
    )


def _split(service: Service) -> Literal["layer", "row", "tensor"]:
    if service.split_mode == "row":
        return "row"
    return "tensor" if service.split_mode == "tensor" else "layer"


def _tensor_split(service: Service) -> tuple[float, ...]:
    """Empty: llama.cpp shares out by memory."""
    shares = shares_told(service) or ()
    return shares if any(shares) else ()


def _main_gpu(service: Service) -> int:
    """The first where nothing says."""
    said = main_gpu_of(service) or ""
    return int(said) if said.isdecimal() else 0


SPLIT_FLAGS, SPLIT_VARIABLE = ("-ts", "--tensor-split"), "LLAMA_ARG_TENSOR_SPLIT"
MAIN_FLAGS, MAIN_VARIABLE = ("-mg", "--main-gpu"), "LLAMA_ARG_MAIN_GPU"


def shares_told(service: Service) -> tuple[float, ...] | None:
    """The shares by card, `3,1` or `3/1`; empty where one is no number, None where none is told.

    Separators count once, and one at the end not at all (`std::regex` of `common/arg.cpp`).
    """
    flags = Flags(service.extra_args)
    text = flags.text(*SPLIT_FLAGS) or service.environment.get(SPLIT_VARIABLE)
    if service.engine != "llama_cpp" or not text:
        return None
    words = [word.strip() for word in re.split(r"[,/]+", text.rstrip(",/"))]
    known = all(re.fullmatch(r"(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?", word) for word in words)
    return tuple(float(word) for word in words) if known else ()


def main_gpu_of(service: Service) -> str | None:
    """What is written of the main GPU; None where nothing is."""
    if service.engine != "llama_cpp":
        return None
    flags = Flags(service.extra_args)
    return flags.text(*MAIN_FLAGS) or service.environment.get(MAIN_VARIABLE) or None


def _batch_of(service: Service) -> int:
    """Tokens that are handed over at once."""
    return service.max_batched_tokens or 2048


def ubatch_of(service: Service) -> int:
    """Tokens of one graph: 512 where nothing is told, the whole batch at 0, never more than it."""
    batch = _batch_of(service)
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
    if flags.given("-cmoe", "--cpu-moe") or is_on(service, "LLAMA_ARG_CPU_MOE"):
        return ALL_LAYERS
    told = service.environment.get("LLAMA_ARG_N_CPU_MOE", "")
    counts = (*flags.texts("-ncmoe", "--n-cpu-moe"), told)
    return max((int(text) for text in counts if re.fullmatch(r"[0-9]{1,9}", text)), default=0)


def _tokens(service: Service, names: tuple[str, ...], variable: str) -> int | None:
    found, told = Flags(service.extra_args).whole(*names), service.environment.get(variable, "")
    return int(told) if found is None and told.isdecimal() else found


def is_on(service: Service, variable: str) -> bool:
    """Whether a variable of its environment turns a switch on; any other word turns nothing."""
    return service.environment.get(variable) in ON


def is_off(service: Service, variable: str) -> bool:
    """Whether its environment turns off what is on else: `LLAMA_ARG_NO_…` does whatever it holds,
    and before the other is looked at (`get_value_from_env` of `common/arg.cpp`)."""
    negated = variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
    return negated in service.environment or service.environment.get(variable) in OFF


def without_flash_attention(service: Service) -> str:
    """The setting that tells it to do without; empty where none does."""
    flag = Flags(service.extra_args).text("-fa", "--flash-attn")
    if flag is not None:
        return f"--flash-attn {flag}" if flag in OFF else ""
    said = service.environment.get("LLAMA_ARG_FLASH_ATTN", "")
    return f"LLAMA_ARG_FLASH_ATTN={said}" if said in OFF else ""
