"""The rotary tables that engines build at load.

vLLM keeps one row of cosines and sines per position in the model's dtype; linear scaling stretches
the table by its factor (Gemma 3: 131,072 × 8 positions × 256 × 2 B = 512 MiB, which is the gap
between its checkpoints and their printed loads). Positions of images and videos get four times the
rows (`MRotaryEmbedding`: Qwen2-VL to Qwen3.8; Qwen3-VL-8B, 30B and Qwen2.5-VL-7B print 0.1 to 0.25
GiB more for it).
"""

from __future__ import annotations

from collections.abc import Iterable

from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_parts import Attention, Latent, Layer

_SEPARATE_LOCAL = ("gemma3", "gemma4")
"""Families whose window layers have a table of their own."""


def rotary_bytes(keys: Keys, layers: Iterable[Layer]) -> int:
    """Bytes of all tables on one rank; 0 when the config states no maximum."""
    positions = (keys.whole("max_position_embeddings") or 0) * _videos(keys)
    scaling = keys.section("rope_scaling", "rope_parameters")
    inner = scaling.number("partial_rotary_factor") if scaling else None
    share = keys.number("partial_rotary_factor") or inner or 1.0
    full, local = 0, 0
    for layer in layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            if mixer.window:
                local = max(local, mixer.head_dim)
            else:
                full = max(full, mixer.head_dim)
        elif isinstance(mixer, Latent):
            full = max(full, mixer.rope_dim)
    apart = (keys.text("model_type") or "").startswith(_SEPARATE_LOCAL)
    tables = [full, local] if apart else [max(full, local)]
    stretched = int(tables[0] * share) * positions * _stretch(keys)
    return int(2 * (stretched + sum(int(t * share) * positions for t in tables[1:])))


_VIDEO_ROWS = 4


def _videos(keys: Keys) -> int:
    scaling = keys.section("rope_scaling", "rope_parameters")
    sections = scaling is not None and scaling.items("mrope_section")
    named = "_vl" in (keys.text("model_type") or "")
    return _VIDEO_ROWS if sections or named else 1


def _stretch(keys: Keys) -> float:
    scaling = keys.section("rope_scaling", "rope_parameters")
    if scaling is None or (scaling.text("rope_type", "type") or "") != "linear":
        return 1.0
    return max(1.0, scaling.number("factor") or 1.0)
