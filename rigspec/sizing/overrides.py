"""llama.cpp's `--override-tensor`: which matrices an expression takes off the cards.

The first expression that is found anywhere in a matrix's name decides (`llama-model-loader.cpp`);
`--n-cpu-moe` and `--cpu-moe` are written with the same means. What is sized are expressions that
take experts, and of the rest nothing that weighs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Layer
from rigspec.catalog.override_words import FLAGS, HOST, VARIABLE, card, words
from rigspec.sizing.flags import Flags
from rigspec.spec.services import Service

_CARD = card(0)
"""The first of a service's; what goes to another is not followed."""
_MOST, _LONGEST, _MOST_REPEATS = 1000, 400, 4
"""What is more is not tried: an expression that repeats repeats may run for years."""
_ELSEWHERE = re.compile(r"\)[*+{]|\(\?[^:=!]|\[\[|\\[1-9AZ]")
"""Repeated groups, and what Python reads otherwise than ECMAScript."""

_ATTENTION = (
    "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_gate", "attn_q_a", "attn_q_b",
    "attn_kv_a_mqa", "attn_kv_b", "attn_k_b", "attn_v_b", "ssm_in", "ssm_out", "ssm_conv1d",
    "ssm_ba", "ssm_alpha", "ssm_beta", "indexer.attn_q_b", "indexer.attn_k",
)  # fmt: skip
_GATES = ("gate", "up", "down")
_TABLES = ("token_embd.weight", "per_layer_token_embd.weight")
_VECTORS = (
    "attn_norm", "attn_q_norm", "attn_k_norm", "attn_q_a_norm", "attn_kv_a_norm", "attn_sinks",
    "post_attention_norm", "ffn_norm", "post_ffw_norm", "ffn_gate_inp",
    "exp_probs_b", "layer_output_scale", "ssm_norm", "ssm_dt", "ssm_a", "ssm_d",
)  # fmt: skip
"""What weighs nothing, and yet is a name that an expression may be meant for."""


class Override(NamedTuple):
    """One expression, and whether what it finds lies in host memory."""

    pattern: str
    on_host: bool


def overrides_of(service: Service) -> tuple[Override, ...] | None:
    """In the order in which they are tried; None where one is not understood."""
    if service.engine != "llama_cpp":
        return ()
    told = (service.environment.get(VARIABLE, ""), *Flags(service.extra_args).texts(*FLAGS))
    return overrides_in(",".join(text for text in told if text))


def overrides_in(text: str) -> tuple[Override, ...] | None:
    """Of one line, `expression=buffer` with commas between; None where one is not understood."""
    told = words(text) if text else ()
    if len(told) > _MOST or any(buffer not in (HOST, _CARD) for _, _, buffer in told):
        return None
    if not all(_is_plain(pattern) for pattern, _, _ in told):
        return None
    return tuple(Override(pattern, buffer == HOST) for pattern, _, buffer in told)


def _is_plain(pattern: str) -> bool:
    repeats = sum(pattern.count(sign) for sign in "*+{?") - pattern.count("(?")
    if len(pattern) > _LONGEST or repeats > _MOST_REPEATS or _ELSEWHERE.search(pattern):
        return False
    try:
        _compiled(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


@lru_cache(maxsize=_MOST)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Kept for more than Python itself keeps: every one is tried at every matrix."""
    return re.compile(pattern)


@lru_cache(maxsize=65536)
def is_moved(overrides: tuple[Override, ...], name: str) -> bool:
    """Whether the matrix of that name lies in host memory."""
    return next((each.on_host for each in overrides if _compiled(each.pattern).search(name)), False)


def puts_table_on_card(overrides: tuple[Override, ...]) -> bool:
    """Whether a table of words, which lies in host memory else, goes to a card."""
    for table in _TABLES:
        first = next((each for each in overrides if _compiled(each.pattern).search(table)), None)
        if first is not None and not first.on_host:
            return True
    return False


def finds_nothing(pattern: str, facts: ModelFacts) -> bool:
    """Whether an expression is in the name of no matrix or vector of a model."""
    return not any(_compiled(pattern).search(name) for name in _names(facts))


def _names(facts: ModelFacts) -> Iterator[str]:
    """What a GGUF of the model may hold, by name; some of it only some releases write."""
    stems = [*_others(facts), "token_embd", "per_layer_token_embd", "output_norm", "rope_freqs"]
    for number, layer in enumerate((*facts.layers, *facts.draft.layers)):
        stems += (f"blk.{number}.{part}" for part in (*_VECTORS, *_routed(layer)))
    return (f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias"))


def _routed(layer: Layer) -> Iterator[str]:
    if layer.experts is not None:
        yield from (f"ffn_{gate}_exps" for gate in (*_GATES, "gate_up"))
        yield from ("ffn_gate_inp_shexp",) if layer.experts.shared_width else ()


def takes_more(overrides: tuple[Override, ...], facts: ModelFacts) -> bool:
    """Whether some leave their card that weigh and are no experts of a layer."""
    return any(is_moved(overrides, f"{name}.weight") for name in _others(facts))


def _others(facts: ModelFacts) -> Iterator[str]:
    yield "output"
    if facts.tied:
        yield "token_embd"  # else it lies there anyway
    for number, layer in enumerate((*facts.layers, *facts.draft.layers)):
        yield from (f"blk.{number}.{part}" for part in _parts(layer))


def _parts(layer: Layer) -> Iterator[str]:
    if layer.mixer is not None:
        yield from _ATTENTION
    if layer.mlp is not None:
        yield from (f"ffn_{gate}" for gate in _GATES)
    if layer.experts is not None and layer.experts.shared_width:
        yield from (f"ffn_{gate}_shexp" for gate in _GATES)


def name_of_experts(layer: int, part: str) -> str:
    """A matrix of a layer's experts as a GGUF calls it; `part` is `gate_proj`, `up_proj`, `bias`"""
    gate, _, rest = part.partition("_")
    return f"blk.{layer}.ffn_{gate}_exps.weight" if rest else f"blk.{layer}.ffn_down_exps.bias"
