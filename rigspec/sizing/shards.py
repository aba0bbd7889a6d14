"""Scales of quantized weights against tensor parallelism: a rank's shard holds whole groups.

Scales of groups lie along the rows that a matrix multiplies. Only `o_proj` and `down_proj` are cut
along them, as each rank multiplies its own heads and its own part of the feed-forward width; every
other matrix is cut across. Routed experts are left out: their kernels take smaller groups
(`moe_wna16.py`). Scales of 8-bit blocks lie both ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Latent, Layer
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import matrices
from rigspec.sizing.refusal import Refusal
from rigspec.sizing.settings import Engine, EngineSettings

GROUPED = (Scheme.INT4, Scheme.INT4_ZERO, Scheme.INT8)
NOT_ALONG_ROWS = ("bitsandbytes", "")
"""Methods whose blocks are counted over the flat shard, and a format of which no record states the
group."""


def cut_group(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    """The first shard that cuts a group of integer weights, as `WIDTH / TP N = SHARD, …`.

    vLLM says "not divisible by group_size" (`marlin_utils.py`) or "the input size is not aligned
    with the quantized weight shape" (`awq.py`, `gptq.py`, also SGLang's), since 0.2 and up to 0.33.
    """
    weights = facts.quantization
    if weights.scheme not in GROUPED or weights.group <= 0 or weights.method in NOT_ALONG_ROWS:
        return
    for index, layer in enumerate(facts.layers):
        for name, width in _cut_along_scales(layer):
            ranks = settings.attention_ranks if "attn" in name else settings.tensor_parallel
            kept = weights.scheme_of(f"layers.{index}.{name}", plain_by_habit=False)
            cut = width % ranks or (width // ranks) % weights.group
            if kept in GROUPED and ranks > 1 and cut:
                yield Refusal(
                    "groups",
                    f"{name.rpartition('.')[2]} width {width} / TP {ranks} = {width / ranks:g}, "
                    f"not a multiple of its group size {weights.group}",
                )
                return


NARROW = 16
"""Values under one scale of NVFP4."""


def cut_narrow(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    """The first shard that cuts a group of NVFP4.

    vLLM refuses dense ones ("in features size is not multiple of 16", `modelopt.py`); of experts it
    found out in the first step (Nemotron-3-Nano at TP 8 on H100, July 2026: 1,856 / 8 = 232), and
    nobody has tried them on cards with kernels of their own.
    """
    for name, width, whose in _nvfp4_widths(facts):
        ranks = settings.expert_shards if whose == "expert-groups" else settings.tensor_parallel
        ranks = settings.attention_ranks if name == "o_proj" else ranks
        if width % ranks or (width // ranks) % NARROW:
            yield Refusal(
                whose,
                f"{name} width {width} / {ranks} ranks = {width / ranks:g}, not a multiple of "
                f"{NARROW}, the group of NVFP4",
                whose == "groups",
            )
            return


@lru_cache(maxsize=16)  # every remedy asks again
def _nvfp4_widths(facts: ModelFacts) -> tuple[tuple[str, int, str], ...]:
    """Widths that ranks cut, the dense ones first, and the rule that they may break."""
    dense = (
        (name.rpartition(".")[2], width, "groups")
        for index, layer in enumerate(facts.layers)
        for name, width in _cut_along_scales(layer)
        if facts.quantization.scheme_of(f"layers.{index}.{name}", plain_by_habit=False)
        is Scheme.NVFP4
    )
    experts = (
        ("experts'", m.width, "expert-groups")
        for m in matrices(facts)
        if m.expert and m.scheme is Scheme.NVFP4 and m.width
    )
    return tuple(dict.fromkeys((*dense, *experts)))


def _cut_along_scales(layer: Layer) -> Iterator[tuple[str, int]]:
    yield from _dense(layer)
    if isinstance(layer.mixer, (Attention, Latent)):
        yield "self_attn.o_proj", layer.mixer.heads * layer.mixer.v_dim


def _dense(layer: Layer) -> Iterator[tuple[str, int]]:
    """Feed-forward matrices that every rank holds a part of, whole experts or not: shared experts
    are cut under expert parallelism, too (SGLang 10852 and 26107, vLLM 42384)."""
    if layer.mlp is not None:
        yield "mlp.down_proj", layer.mlp.width
    if layer.experts is not None and layer.experts.shared_width:
        yield "mlp.shared_experts.down_proj", layer.experts.shared_width


SMALLER_SINCE, LEAST_BLOCK, MULTIPLIES = (0, 29), 32, (8, 9)
"""vLLM that cuts the blocks of experts smaller where a shard needs it, down to this, for Triton's
kernels on cards that multiply in 8-bit floats (`refine_fp8_moe_block_shape` of 0.29.0 to 0.33.0;
0.28.0 has none). Dense layers it refuses still (`validate_fp8_block_shape`)."""


def cut_block(facts: ModelFacts, settings: EngineSettings, card: Card) -> Iterator[Refusal]:
    """The first shard that cuts an 8-bit block; one that is surely refused before one that may be.

    vLLM up to 0.33 and SGLang up to 0.5.23 say "not divisible by weight quantization block_n".
    """
    if facts.quantization.scheme is not Scheme.FP8_BLOCK:
        return
    block = facts.quantization.group
    cuts = {*_dense_cuts(facts, settings), *_expert_cuts(facts, settings, card)}
    found = [
        Refusal(
            "fp8-block",
            f"feed-forward width {cut.width} / {cut.parts} = {cut.width / cut.shards:g}, not a "
            f"multiple of {block}",
            cut.needs_whole,
        )
        for cut in sorted(cuts)
        if cut.width % cut.shards or (cut.width // cut.shards) % block
    ]
    yield from sorted(found, key=lambda refusal: not refusal.surely)[:1]


class _Cut(NamedTuple):
    """A feed-forward width of 8-bit blocks that is cut by rank."""

    width: int
    shards: int
    parts: str
    needs_whole: bool
    """Whether a shard surely must hold whole blocks."""


def _dense_cuts(facts: ModelFacts, settings: EngineSettings) -> Iterator[_Cut]:
    """vLLM pads what it quantizes itself (pull 44763); and an owner's word does not tell what a
    record leaves in 16 bits, as it often does with shared experts."""
    weights, ranks = facts.quantization, max(1, settings.tensor_parallel)
    for index, layer in enumerate(facts.layers):
        for name, width in _dense(layer):
            kept = weights.scheme_of(f"layers.{index}.{name}", plain_by_habit=False)
            recorded = bool(weights.method) or "shared" not in name
            if kept is Scheme.FP8_BLOCK:
                yield _Cut(width, ranks, f"TP {ranks}", recorded and not weights.at_load)


def _expert_cuts(facts: ModelFacts, settings: EngineSettings, card: Card) -> Iterator[_Cut]:
    ranks, shards = max(1, settings.tensor_parallel), settings.expert_shards
    parts = f"(TP {ranks} × DP {shards // ranks})" if shards > ranks else f"TP {ranks}"
    for layer in facts.layers:
        if layer.experts is not None and not settings.expert_parallel:
            width = layer.experts.width
            smaller = facts.quantization.at_load or _takes_smaller(facts, settings, card, width)
            yield _Cut(width, shards, parts, not smaller)


def _takes_smaller(facts: ModelFacts, settings: EngineSettings, card: Card, width: int) -> bool:
    version, shards = settings.version, settings.expert_shards
    if settings.engine is not Engine.VLLM or width % shards:
        return False
    if version is not None and version < SMALLER_SINCE:
        return False
    multiplies = card.compute is None or card.compute >= MULTIPLIES
    return (
        multiplies
        and math.gcd(facts.quantization.group, width // shards, facts.hidden) >= LEAST_BLOCK
    )
