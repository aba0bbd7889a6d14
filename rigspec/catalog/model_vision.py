"""The vision tower by its size; towers that a config leaves out take their class's default.

Formulas: Qwen3-VL style (patch, positions, blocks, mergers), SigLIP (Gemma 3 and 4), Pixtral
(Mistral 3), MoonViT (Kimi), CLIP style otherwise; all follow the transformers model classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rigspec.catalog.model_keys import Keys, language_keys
from rigspec.catalog.model_parts import Vision

_DEFAULT_TOWER: Mapping[str, tuple[int, int, int]] = {
    "gemma3": (27, 1152, 4304),
    "mistral3": (24, 1024, 4096),
    "llama4": (34, 1408, 5632),
    "pixtral": (24, 1024, 4096),
}
"""Depth, width and feed-forward width of the class's tower."""

_GATED_TOWERS = ("pixtral", "mistral3", "qwen2_5_vl", "gemma4")
_TWO_TABLES = ("gemma4",)
"""Rows and columns of patches have a table of positions each."""


FRAMES, FRAME_TOKENS = 32, 70 + 2 + 6
"""Of a video as vLLM gives it to Gemma 4: patches, marks at both ends and a time for each frame
(`gemma4_mm.py` of 0.22.0 to 0.33.0)."""


def vision_of(config: Mapping[str, object], text_hidden: int) -> Vision | None:
    """The tower of a vision-language model; None for text models."""
    found = _tower_of(config, text_hidden)
    if found is None:
        return None
    whole = language_keys(config).text("use_bidirectional_attention") == "vision"
    section = Keys((config,)).section("vision_config") or Keys(({},))
    return replace(
        found,
        layers=section.whole("num_hidden_layers") or found.layers,
        width=section.whole("hidden_size") or found.width,
        whole_item=FRAMES * FRAME_TOKENS if whole else 0,
    )


def _tower_of(config: Mapping[str, object], text_hidden: int) -> Vision | None:
    top = Keys((config,))
    outer = top.text("model_type") or ""
    section = top.section("vision_config")
    if section is None or not section.sections[0]:
        shape = _DEFAULT_TOWER.get(outer)
        if shape is None:
            return None
        return _tower(outer, shape, text_hidden, Keys(({},)), stated=False)
    depth = section.whole("depth", "num_hidden_layers", "vt_num_hidden_layers") or 0
    width = section.whole("hidden_size", "vt_hidden_size") or 0
    feed = section.whole("intermediate_size", "vt_intermediate_size") or 4 * width
    if not depth or not width:
        shape = _DEFAULT_TOWER.get(outer)
        if shape is None:
            return Vision(elements=0, replicated=False, stated=False)
        return _tower(outer, shape, text_hidden, section, stated=False)
    return _tower(outer, (depth, width, feed), text_hidden, section, stated=True)


def _tower(
    outer: str, shape: tuple[int, int, int], text_hidden: int, section: Keys, *, stated: bool
) -> Vision:
    depth, width, feed = shape
    gated = outer.startswith(_GATED_TOWERS)
    block = 4 * width * width + (3 if gated else 2) * width * feed + 9 * width + feed
    patch = section.whole("patch_size") or 14
    frames = section.whole("temporal_patch_size") or 1
    elements = depth * block + width * (3 * frames * patch * patch + 1)
    positions = section.whole("num_position_embeddings", "position_embedding_size")
    tables = 2 if outer.startswith(_TWO_TABLES) else 1
    elements += width * tables * (positions or (4096 if outer == "gemma3" else 2304))
    elements += _joiner(outer, section, width, text_hidden)
    heads = section.whole("num_heads", "num_attention_heads", "vt_num_attention_heads") or 16
    return Vision(
        elements=elements,
        replicated=outer in ("mistral3", "llama4"),
        stated=stated,
        heads=heads,
        deep_outputs=len(section.items("deepstack_visual_indexes")),
    )


def _joiner(outer: str, section: Keys, width: int, text_hidden: int) -> int:
    """What maps tower width to the model's: a merger, a projector or a single matrix."""
    if outer.startswith("gemma"):
        return width * text_hidden
    merge = section.whole("spatial_merge_size") or 2
    inner = width * merge * merge
    out = section.whole("out_hidden_size") or text_hidden
    merger = inner * inner + inner * out + 4 * inner + out
    return merger * (1 + len(section.items("deepstack_visual_indexes")))
