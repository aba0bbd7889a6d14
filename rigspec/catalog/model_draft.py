"""The multi-token-prediction layers a checkpoint stores, whether or not an engine loads them."""

from __future__ import annotations

from rigspec.catalog.model_keys import DRAFTS, Keys
from rigspec.catalog.model_parts import Attention, Draft, Layer

_COPIES_VOCABULARY = ("deepseek", "glm", "kimi", "minimax", "step")
"""Families whose draft layer stores its own copies of embedding and head (header sizes)."""


DRAFTLESS = frozenset({
    "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma2", "gemma3",
    "gemma3_text", "phi3", "gpt_oss",
})  # fmt: skip
"""Model types that vLLM knows no prediction layers of (`hf_config_override` of its
`config/speculative.py`, 0.11 to 0.30). Others may store some that their config does not count, as
Qwen3-Next does."""


def draft_of(keys: Keys, model_type: str, layers: tuple[Layer, ...]) -> Draft:
    """The draft layers, shaped like the model's last layers."""
    stated = keys.whole(*DRAFTS)
    count = stated or 0
    if not count or not layers:
        return Draft(stated_none=stated == 0)
    if keys.items("mtp_layers_block_type") or keys.text("mtp_hybrid_override_pattern"):
        return Draft(_one_of_each(layers), vocab_copies=0, joiners=count)
    full = [layer for layer in layers if not _is_window_or_state(layer)]
    template = full[-1] if full else layers[-1]
    copies = 2 if model_type.startswith(_COPIES_VOCABULARY) else 0
    return Draft((template,) * count, vocab_copies=copies * count, joiners=count)


def _is_window_or_state(layer: Layer) -> bool:
    mixer = layer.mixer
    if isinstance(mixer, Attention):
        return mixer.window > 0
    return mixer is None or not hasattr(mixer, "kv_rank")


def _one_of_each(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """One attention and one expert layer (Nemotron's draft)."""
    attention = [layer for layer in layers if isinstance(layer.mixer, Attention)]
    experts = [layer for layer in layers if layer.experts]
    return (*attention[-1:], *experts[-1:])
