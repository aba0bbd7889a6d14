"""What a config cannot mean: impossible figures are refused, contradictions are doubts.

A refusal is a sentence with the key, what it says and what it may say. A doubt leaves the estimate
standing as a bound: the engine may read the file another way than we do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from rigspec.catalog.model_keys import Keys


class UnusableModel(ValueError):
    """A model's file that no engine could load either: cut short, impossible, contradictory."""


_LARGEST: Mapping[str, int] = {
    "hidden_size": 1 << 18,
    "vocab_size": 1 << 24,
    "num_hidden_layers": 4096,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 14,
    "intermediate_size": 1 << 22,
    "moe_intermediate_size": 1 << 22,
    "num_experts": 1 << 16,
    "num_local_experts": 1 << 16,
    "n_routed_experts": 1 << 16,
    "num_experts_per_tok": 1 << 16,
    "kv_lora_rank": 1 << 16,
    "q_lora_rank": 1 << 16,
    "sliding_window": 1 << 30,
}
"""Ten times and more beyond any published model: what is larger is a slip."""

_NEEDED = ("hidden_size", "vocab_size", "num_hidden_layers")
"""Zero means "none" for the others, for example `num_experts: 0` in a dense model."""


def refuse_impossible(keys: Keys) -> None:
    """Raise UnusableModel for a size that is negative, zero, no number or absurd."""
    for name, most in _LARGEST.items():
        for section in keys.sections:
            problem = _problem(section.get(name), most, needed=name in _NEEDED)
            if problem:
                raise UnusableModel(f"`{name}` is {problem}")


def _problem(value: object, most: int, *, needed: bool) -> str:
    """Why a figure cannot be; empty when it can, or where nothing is stated."""
    if isinstance(value, str):
        fine = not value.strip() or _is_number(value)
        return "" if fine else f"`{value[:40]}`, which is no number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not math.isfinite(value):
        return f"{value}, which is no size"
    if value < 0 or (needed and value == 0):
        return f"{value:g}, a size is {'at least 1' if needed else 'never negative'}"
    if value > most:
        return f"{value:,.0f}, no model is beyond {most:,}: is a digit too many?"
    return ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def contradictions(keys: Keys) -> Iterator[str]:
    """Figures that cannot all be true."""
    yield from _heads(keys)
    experts = keys.whole("n_routed_experts", "num_experts", "num_local_experts") or 0
    active = keys.whole("num_experts_per_tok", "num_experts_per_token", "top_k_experts") or 0
    if experts > 1 and active > experts:
        yield f"it states {active} experts per token of {experts}"
    kinds, layers = len(keys.items("layer_types")), keys.whole("num_hidden_layers") or 0
    if kinds and layers and (kinds > layers or layers % kinds):
        yield f"`layer_types` names {kinds} layers, `num_hidden_layers` says {layers}"
    reach = keys.number("max_position_embeddings")
    if reach is not None and reach <= 0:
        yield f"`max_position_embeddings` is {reach:g}: the longest context is not known"


def _heads(keys: Keys) -> Iterator[str]:
    heads, hidden = keys.whole("num_attention_heads") or 0, keys.whole("hidden_size") or 0
    if not heads or keys.whole("kv_lora_rank"):
        return
    kv_heads = keys.whole("num_key_value_heads")
    if kv_heads == 0:
        yield f"it states no key/value heads for {heads} attention heads"
    elif kv_heads is not None and heads % kv_heads:
        yield f"{heads} attention heads cannot share {kv_heads} key/value heads evenly"
    if not keys.whole("head_dim", "attention_head_dim") and hidden % heads:
        yield f"{heads} attention heads do not divide the width of {hidden}"
