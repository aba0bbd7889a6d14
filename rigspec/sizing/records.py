"""What one layer keeps of one token, or of one request, in bytes."""

from __future__ import annotations

import math

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Latent, Mamba
from rigspec.sizing.settings import Engine, EngineSettings

_SPARSE_RECORD = {"fp8": 656, "nvfp4": 352, "nf3": 304}
"""Bytes of one latent record for sparse attention (512 fp8 + 16 scales + 128 bf16 rope)."""
_INDEX_RECORD = 132
"""128 fp8 and one fp32 scale per token, on layers that own an indexer."""


def attention_token_bytes(facts: ModelFacts, a: Attention, settings: EngineSettings) -> float:
    """Cache bytes per token of one attention layer on one rank."""
    ranks = settings.attention_ranks
    heads = max(1, math.ceil(a.kv_heads / ranks))
    width, scales = _element_bytes(facts, settings)
    return heads * ((a.head_dim + a.v_dim) * width + 2 * scales)


def _element_bytes(facts: ModelFacts, settings: EngineSettings) -> tuple[float, int]:
    """Bytes per cached element, and bytes of scale per token and head."""
    kind = kv_kind(facts, settings)
    table = {
        "bf16": (2.0, 0),
        "fp32": (4.0, 0),
        "fp8": (1.0, 0),
        "int8": (1.0, 4),
        "nvfp4": (0.5625, 0),
        "int4": (0.5, 4),
        "3bit": (0.40625, 0),
    }
    return table.get(kind, (2.0, 0))


def kv_kind(facts: ModelFacts, settings: EngineSettings) -> str:
    """The cache type in one word; `auto` follows the checkpoint, then the model's dtype."""
    text = settings.kv_dtype.lower()
    if text in ("", "auto"):
        if facts.quantization.kv_fp8:
            return "fp8"
        return "fp32" if facts.dtype_bytes == 4 else "bf16"
    for word, kind in (
        ("int8", "int8"),
        ("int4", "int4"),
        ("fp4", "nvfp4"),  # SGLang's fp4_e2m1 has scales of 16 elements, too
        ("nf3", "nf3"),
        ("fp8", "fp8"),
        ("e4m3", "fp8"),
        ("e5m2", "fp8"),
        ("3bit", "3bit"),
        ("tq3", "3bit"),
        ("float32", "fp32"),
    ):
        if word in text:
            return kind
    return "bf16"


INDEX_SHARED = (0, 24)
"""Before, vLLM kept records for layers that take another's choice, too: 28.74 GiB of GLM-5.2 held
502,016 tokens in mid-2026, 8.25 GiB 164,160 on 0.25.1."""


def _unshared(m: Latent, settings: EngineSettings) -> bool:
    known = settings.engine is Engine.VLLM and settings.version is not None
    return known and m.index_topk > 0 and (settings.version or INDEX_SHARED) < INDEX_SHARED


def latent_token_bytes(facts: ModelFacts, m: Latent, settings: EngineSettings) -> float:
    """Cache bytes per token of one latent layer; the same on every rank."""
    kind = kv_kind(facts, settings)
    index = _INDEX_RECORD / facts.index_pool if m.index_heads or _unshared(m, settings) else 0
    sparse = m.index_topk > 0
    if sparse and kind in _SPARSE_RECORD:
        return _SPARSE_RECORD[kind] + index
    width = {"fp8": 1.0, "fp32": 4.0}.get(kind, 2.0)
    return m.record_width * width + index


def state_bytes(facts: ModelFacts, mixer: Delta | Mamba, settings: EngineSettings) -> int:
    """Bytes of recurrent and convolution state of one layer on one rank."""
    ranks = settings.attention_ranks
    drafts = settings.speculative.depth if settings.speculative else 0
    width_of_state = settings.state_bytes or facts.state_bytes
    if isinstance(mixer, Mamba):
        conv = (mixer.inner + 2 * mixer.groups * mixer.state) // ranks * (mixer.kernel - 1)
        recurrent = mixer.heads // ranks * mixer.head_dim * mixer.state
        return conv * 2 + recurrent * width_of_state
    width = 2 * mixer.key_heads * mixer.key_dim + mixer.value_heads * mixer.value_dim
    conv = width // ranks * (mixer.kernel - 1 + drafts)
    recurrent = max(1, mixer.value_heads // ranks) * mixer.value_dim * mixer.key_dim
    return conv * 2 + recurrent * width_of_state
