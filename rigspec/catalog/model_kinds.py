"""Which kind each layer is: full, window, linear, mamba, moe or mlp.

Families say it in ten different ways; `layer_kinds` tries them from the most explicit to the
least. Sources: the configs of the families named beside each rule.
"""

from __future__ import annotations

from typing import Literal

from rigspec.catalog.model_keys import Keys

Kind = Literal["full", "window", "linear", "mamba", "conv", "mlp", "moe", "unknown"]

_WINDOW_PERIOD = {
    "gpt_oss": 2,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3_text": 6,
    "cohere2": 4,
    "llama4_text": 4,
}
"""Every n-th layer is full; the transformers class default when the config does not say."""

MOST_LAYERS = 4096
"""A config that states more is broken."""

_FULL_WORDS = ("attention", "full", "global", "self", "softmax", "sparse", "deepseek_sparse", "mla")
"""Layer types that cache every token, with or without `_attention` behind."""
_FULL: Kind = "full"
_WINDOW: Kind = "window"
_PATTERN: dict[str, Kind] = {"M": "mamba", "E": "moe", "*": "full", "-": "mlp"}


def layer_kinds(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    """One kind per layer, in order; empty when even the number of layers is not stated."""
    if (keys.whole("num_hidden_layers", "n_layer", "num_layers") or 0) > MOST_LAYERS:
        return ()
    for rule in (_named, _nemotron, _linear_lists, _convolved, _intervals, _windows):
        kinds = rule(keys, model_type)
        if kinds:
            return kinds
    count = keys.whole("num_hidden_layers", "n_layer", "num_layers") or 0
    return tuple(_FULL for _ in range(count))


def _named(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    names = [str(name) for name in keys.items("layer_types")]
    count = keys.whole("num_hidden_layers") or len(names)
    if not names:
        return ()
    names = (names * (count // len(names) + 1))[:count]
    return tuple(_kind_of(name) for name in names)


def _kind_of(name: str) -> Kind:
    text = name.lower()
    if any(word in text for word in ("linear", "delta", "kda", "gdn", "recurrent")):
        return "linear"
    if any(word in text for word in ("sliding", "window", "chunk", "local")):
        return "window"
    if "mamba" in text or "ssm" in text:
        return "mamba"
    if "conv" in text:
        return "conv"
    if "moe" in text:
        return "moe"
    if text == "mlp":
        return "mlp"
    return "full" if text.removesuffix("_attention") in _FULL_WORDS else "unknown"


def _nemotron(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    names = keys.items("layers_block_type")
    if names:
        return tuple(_kind_of(str(name)) for name in names)
    pattern = keys.text("hybrid_override_pattern")
    return tuple(_PATTERN.get(letter, "unknown") for letter in pattern) if pattern else ()


def _linear_lists(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    lists = keys.section("linear_attn_config")
    count = keys.whole("num_hidden_layers") or 0
    full = {int(n) for n in lists.items("full_attn_layers") if isinstance(n, int)} if lists else ()
    if not full or not count:
        return ()
    first = 1 if max(full) >= count else 0  # Kimi counts from 1, GLM from 0
    return tuple("full" if index + first in full else "linear" for index in range(count))


def _convolved(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    full = keys.items("full_attn_idxs")  # LFM2
    count = keys.whole("num_hidden_layers") or 0
    return tuple("full" if index in full else "conv" for index in range(count if full else 0))


def _intervals(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    count = keys.whole("num_hidden_layers") or 0
    every = keys.whole("full_attention_interval")
    if every and count and keys.has("linear_num_value_heads", "linear_key_head_dim"):
        return tuple("full" if (i + 1) % every == 0 else "linear" for i in range(count))
    marks = keys.items("hybrid_layer_pattern")  # MiMo: 1 is a window layer
    if marks and all(isinstance(mark, int) for mark in marks):
        return tuple("window" if mark else "full" for mark in marks)
    sliding, full = keys.whole("num_sliding_layers"), keys.whole("num_full_layers")
    if sliding is not None and full:  # Muse: only the two numbers are published
        period = (sliding + full) // full
        return tuple("full" if (i + 1) % period == 0 else "window" for i in range(sliding + full))
    return ()


def _windows(keys: Keys, model_type: str) -> tuple[Kind, ...]:
    count = keys.whole("num_hidden_layers") or 0
    window = keys.whole("sliding_window", "attention_chunk_size")
    if not window or keys.flag("use_sliding_window") is False:
        return ()
    period = keys.whole("sliding_window_pattern", "no_rope_layer_interval")
    period = period or _WINDOW_PERIOD.get(model_type)
    if period:
        return tuple("full" if (i + 1) % period == 0 else "window" for i in range(count))
    reach = keys.whole("max_position_embeddings")
    if reach and window >= reach:
        return ()
    if model_type not in ("mistral", "mixtral", "phi3"):
        return ()
    return tuple(_WINDOW for _ in range(count))
