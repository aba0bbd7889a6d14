"""Every weight matrix of a model: elements, how it is cut over ranks, how it is stored.

Element counts follow the model classes; with the configs at hand they reproduce the header totals
of 15 published checkpoints (`tests/unit/sizing/test_sizing_weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import (
    Attention,
    Compressed,
    Delta,
    Experts,
    Latent,
    Layer,
    Mamba,
    Mixer,
    Mlp,
    ShortConv,
)
from rigspec.catalog.model_quant import Scheme


class Cut(StrEnum):
    """How tensor parallelism divides a matrix."""

    WIDTH = "width"
    KV = "kv-heads"
    WHOLE = "replicated"
    VOCAB = "vocabulary"
    EXPERTS = "experts"
    VISION = "vision"


class Part(StrEnum):
    """What a matrix belongs to; decides when it is loaded and how much of it a step reads."""

    MIXER = "attention"
    MLP = "mlp"
    EXPERTS = "experts"
    NORM = "norms"
    EMBEDDING = "embedding"
    HEAD = "head"
    VISION = "vision"
    DRAFT = "draft"
    TABLE = "table"


class Matrix(NamedTuple):
    """One stored matrix (all experts of a layer count as one)."""

    name: str
    elements: int
    cut: Cut
    part: Part
    layer: int | None = None
    plain: bool = False
    """Quantizers leave it alone unless the checkpoint's record says otherwise."""
    kv_heads: int = 0
    expert: bool = False
    active_fraction: float = 1.0
    """Share of the matrix one token uses."""
    width: int = 0
    """The dimension that tensor parallelism cuts, for expert matrices."""
    scheme: Scheme = Scheme.PLAIN
    """How this checkpoint stores it."""
    stored_bytes: float = 0.0
    """Bytes on disk, scales included."""


@lru_cache(maxsize=16)
def matrices(facts: ModelFacts) -> tuple[Matrix, ...]:
    """All matrices of a checkpoint, draft layers and vision tower included."""
    found = [
        Matrix("embed_tokens", facts.vocab * facts.hidden, Cut.VOCAB, Part.EMBEDDING, plain=True),
        Matrix("norm", facts.hidden, Cut.WHOLE, Part.NORM, plain=True),
    ]
    if not facts.tied:
        found.append(
            Matrix("lm_head", facts.vocab * facts.hidden, Cut.VOCAB, Part.HEAD, plain=True)
        )
    for index, layer in enumerate(facts.layers):
        found += _layer(facts, layer, index, f"layers.{index}.")
    found += _draft(facts)
    if facts.vision is not None:
        found.append(Matrix("visual", facts.vision.elements, Cut.VISION, Part.VISION, plain=True))
    if facts.extra_elements:
        found.append(Matrix("tables", facts.extra_elements, Cut.VOCAB, Part.TABLE, plain=True))
    return tuple(_stored(facts, matrix) for matrix in found)


def _stored(facts: ModelFacts, matrix: Matrix) -> Matrix:
    scheme = facts.quantization.scheme_of(
        matrix.name,
        plain_by_habit=matrix.plain,
        expert=matrix.expert,
        mixer=matrix.part is Part.MIXER,
        draft=matrix.part is Part.DRAFT and not facts.draft.vocab_copies,
    )
    width = facts.quantization.bytes_per_element(scheme, facts.dtype_bytes)
    if scheme is Scheme.GGUF:
        is_output = matrix.part is (Part.EMBEDDING if facts.tied else Part.HEAD)
        width = _in_a_mix(width, is_output=is_output)
    return matrix._replace(scheme=scheme, stored_bytes=matrix.elements * width)


OUTPUT_WIDTH = 6.5625 / 8
"""Bytes per weight of the output in a GGUF that is narrower elsewhere: Q6_K (`llama-quant.cpp`)."""
OUTPUT_SHARE = 0.065
"""Of the weights of Llama-3.1-8B, by whose files a type's average is known."""


def _in_a_mix(average: float, *, is_output: bool) -> float:
    """Bytes per weight of the output, or of the rest, where the average over a file is known: less
    of a large model is output. The average alone gives 2.0 bits for DeepSeek-R1 in `IQ1_S`, which
    has 1.7, and 4.9 for Gemma 2 2B in `Q4_K_M`, which has 5.2."""
    if average >= OUTPUT_WIDTH:
        return average
    rest = (average - OUTPUT_SHARE * OUTPUT_WIDTH) / (1 - OUTPUT_SHARE)
    return OUTPUT_WIDTH if is_output else rest


def _draft(facts: ModelFacts) -> list[Matrix]:
    found = []
    for offset, layer in enumerate(facts.draft.layers):
        index = len(facts.layers) + offset
        own = _layer(facts, layer, index, f"layers.{index}.")
        found += [_as_draft(matrix) for matrix in own]
    wide = facts.hidden * facts.hidden
    if facts.draft.layers:
        joiners = 2 * wide * facts.draft.joiners
        found.append(Matrix("mtp.fc", joiners, Cut.WHOLE, Part.DRAFT, plain=True))
    if facts.draft.vocab_copies:
        copies = facts.draft.vocab_copies * facts.vocab * facts.hidden
        found.append(Matrix("mtp.vocab", copies, Cut.VOCAB, Part.DRAFT, plain=True))
    return found


def _as_draft(matrix: Matrix) -> Matrix:
    return matrix._replace(part=Part.DRAFT)


def _layer(facts: ModelFacts, layer: Layer, index: int, prefix: str) -> list[Matrix]:
    parts = sum(part is not None for part in (layer.mixer, layer.mlp or layer.experts))
    sandwich = 2 if facts.model_type.startswith("gemma") else 1
    norms = facts.hidden * parts * sandwich
    found = [Matrix(prefix + "norm", norms, Cut.WHOLE, Part.NORM, index, plain=True)]
    mixer = prefix + ("mixer." if facts.naming == "mixer" else "self_attn.")
    if isinstance(layer.mixer, Delta) and facts.naming == "standard":
        mixer = prefix + "linear_attn."
    mlp = prefix + ("mixer." if facts.naming == "mixer" else "mlp.")
    if layer.mixer is not None:
        found += [_at(m, index, mixer) for m in _mixer(layer.mixer, facts.hidden)]
    if layer.mlp is not None:
        found += [_at(m, index, mlp) for m in _mlp(layer.mlp, facts.hidden)]
    if layer.experts is not None:
        # beside an MLP of the layer's own, experts and router hang off the layer (Gemma 4)
        holder = prefix if layer.mlp is not None else mlp
        found += [_at(m, index, holder) for m in _experts(layer.experts, facts.hidden)]
    return found


def _at(matrix: Matrix, layer: int, prefix: str) -> Matrix:
    return matrix._replace(name=prefix + matrix.name, layer=layer)


def _mixer(mixer: Mixer, hidden: int) -> Iterator[Matrix]:
    if isinstance(mixer, Attention):
        return _attention(mixer, hidden)
    if isinstance(mixer, Latent):
        return _latent(mixer, hidden)
    if isinstance(mixer, Compressed):
        return _compressed(mixer, hidden)
    if isinstance(mixer, Delta):
        return _delta(mixer, hidden)
    if isinstance(mixer, Mamba):
        return _mamba(mixer, hidden)
    return _conv(mixer, hidden)


def _attention(a: Attention, hidden: int) -> Iterator[Matrix]:
    query, key = a.heads * a.head_dim, a.kv_heads * a.head_dim
    value = 0 if a.keys_are_values else a.kv_heads * a.v_dim
    yield Matrix("q_proj", query * hidden * (2 if a.gated else 1), Cut.WIDTH, Part.MIXER)
    if not a.shares_cache:
        yield Matrix("k_proj", key * hidden, Cut.KV, Part.MIXER, kv_heads=a.kv_heads)
        yield Matrix("v_proj", value * hidden, Cut.KV, Part.MIXER, kv_heads=a.kv_heads)
    yield Matrix("o_proj", a.heads * a.v_dim * hidden, Cut.WIDTH, Part.MIXER)
    if a.bias:
        yield Matrix("bias", query + key + value, Cut.WIDTH, Part.MIXER, plain=True)


def _latent(m: Latent, hidden: int) -> Iterator[Matrix]:
    wide = m.heads * (m.nope_dim + m.rope_dim)
    if m.q_rank:
        yield Matrix("q_a_proj", hidden * m.q_rank, Cut.WHOLE, Part.MIXER)
        yield Matrix("q_b_proj", m.q_rank * wide, Cut.WIDTH, Part.MIXER)
    else:
        yield Matrix("q_proj", hidden * wide, Cut.WIDTH, Part.MIXER)
    yield Matrix("kv_a_proj_with_mqa", hidden * m.record_width, Cut.WHOLE, Part.MIXER)
    absorbed = m.kv_rank * m.heads * (m.nope_dim + m.v_dim)
    yield Matrix("kv_b_proj", absorbed, Cut.WIDTH, Part.MIXER)
    yield Matrix("o_proj", m.heads * m.v_dim * hidden, Cut.WIDTH, Part.MIXER)
    yield Matrix("a_layernorm", m.q_rank + m.kv_rank, Cut.WHOLE, Part.NORM, plain=True)
    if m.index_heads:
        query = (m.q_rank or hidden) * m.index_heads * m.index_dim
        yield Matrix("indexer.wq_b", query, Cut.WHOLE, Part.MIXER)
        rest = hidden * m.index_dim + 2 * m.index_dim + hidden * m.index_heads
        yield Matrix("indexer.wk", rest, Cut.WHOLE, Part.MIXER, plain=True)


def _compressed(c: Compressed, hidden: int) -> Iterator[Matrix]:
    yield Matrix("wq_a", hidden * c.q_rank, Cut.WHOLE, Part.MIXER)
    yield Matrix("wq_b", c.q_rank * c.heads * c.head_dim, Cut.WIDTH, Part.MIXER)
    yield Matrix("wkv", hidden * c.head_dim, Cut.WHOLE, Part.MIXER)
    yield Matrix("wo_a", c.heads * c.head_dim * c.o_rank, Cut.WIDTH, Part.MIXER)
    yield Matrix("wo_b", c.o_groups * c.o_rank * hidden, Cut.WIDTH, Part.MIXER)
    if c.ratio:
        doubled = 2 if c.ratio < 16 else 1
        yield Matrix(
            "compressor", 2 * doubled * hidden * c.head_dim, Cut.WHOLE, Part.MIXER, plain=True
        )
        if doubled == 2:
            query = c.q_rank * c.index_heads * c.index_dim + hidden * c.index_heads
            yield Matrix("indexer", query + 4 * hidden * c.index_dim, Cut.WHOLE, Part.MIXER)


def _delta(d: Delta, hidden: int) -> Iterator[Matrix]:
    key, value = d.key_heads * d.key_dim, d.value_heads * d.value_dim
    yield Matrix("in_proj_qkv", hidden * (2 * key + value), Cut.WIDTH, Part.MIXER)
    yield Matrix("in_proj_z", hidden * value, Cut.WIDTH, Part.MIXER)
    yield Matrix("in_proj_ba", 2 * hidden * d.value_heads, Cut.WIDTH, Part.MIXER, plain=True)
    yield Matrix("conv1d", (2 * key + value) * d.kernel, Cut.WIDTH, Part.MIXER, plain=True)
    yield Matrix("out_proj", value * hidden, Cut.WIDTH, Part.MIXER)
    small = 2 * d.value_heads + d.value_dim
    yield Matrix("A_log", small, Cut.WIDTH, Part.MIXER, plain=True)


def _mamba(m: Mamba, hidden: int) -> Iterator[Matrix]:
    state = m.groups * m.state
    yield Matrix("in_proj", hidden * (2 * m.inner + 2 * state + m.heads), Cut.WIDTH, Part.MIXER)
    conv = (m.inner + 2 * state) * (m.kernel + 1)
    yield Matrix("conv1d", conv, Cut.WIDTH, Part.MIXER, plain=True)
    yield Matrix("out_proj", m.inner * hidden, Cut.WIDTH, Part.MIXER)
    yield Matrix("A_log", 3 * m.heads + m.inner, Cut.WIDTH, Part.MIXER, plain=True)


def _conv(c: ShortConv, hidden: int) -> Iterator[Matrix]:
    yield Matrix("in_proj", 3 * hidden * c.width, Cut.WIDTH, Part.MIXER)
    yield Matrix("conv", c.width * c.kernel, Cut.WIDTH, Part.MIXER, plain=True)
    yield Matrix("out_proj", c.width * hidden, Cut.WIDTH, Part.MIXER)


def _mlp(m: Mlp, hidden: int) -> Iterator[Matrix]:
    if m.gated:
        yield Matrix("gate_proj", hidden * m.width, Cut.WIDTH, Part.MLP)
    yield Matrix("up_proj", hidden * m.width, Cut.WIDTH, Part.MLP)
    yield Matrix("down_proj", hidden * m.width, Cut.WIDTH, Part.MLP)


def _experts(e: Experts, hidden: int) -> Iterator[Matrix]:
    inner, share = e.latent or hidden, e.active / e.count
    for name in ("gate_proj", "up_proj", "down_proj") if e.gated else ("up_proj", "down_proj"):
        yield Matrix(
            f"experts.0.{name}",
            inner * e.width * e.count,
            Cut.EXPERTS,
            Part.EXPERTS,
            expert=True,
            active_fraction=share,
            width=e.width,
        )
    if e.bias:
        biases = e.count * (2 * e.width + hidden)
        yield Matrix(
            "experts.bias", biases, Cut.EXPERTS, Part.EXPERTS, plain=True, active_fraction=share
        )
    yield Matrix("gate", hidden * e.count, Cut.WHOLE, Part.MLP, plain=True)
    if e.latent:
        yield Matrix("latent_proj", 2 * hidden * e.latent, Cut.WHOLE, Part.MLP, plain=True)
    if e.shared_width:
        for name in ("gate_proj", "up_proj", "down_proj") if e.gated else ("up_proj", "down_proj"):
            yield Matrix(f"shared_experts.{name}", hidden * e.shared_width, Cut.WIDTH, Part.MLP)
    if e.shared_gate:
        yield Matrix("shared_expert_gate", hidden, Cut.WHOLE, Part.MLP, plain=True)
