"""What loading adds to the stored bytes: tables, the allocator's rounding, kernels' own layouts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, about, exact, within
from rigspec.sizing.matrices import Matrix
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.tiles import wider_tiles
from rigspec.units import GIB, MIB

LOADED_EXTRA_GIB = 0.003
"""What is left of 50 printed loads (0.19) after rotary tables and allocator rounding."""

BUFFERS_IN_LOAD, BUFFERS_GIB = (0, 22), 0.1
"""From here on a load may print this much more (0.22.0 and 0.27.1: 0.04 with Qwen2.5-7B, 0.28.0:
0.09 with 1.5B); rotary tables are in some prints and not in others (Llama-3.1-8B
prints 14.96 and 14.99, with tables of 0.03)."""

SGLANG_EXTRA_GIB, SGLANG_MOST_GIB = 0.04, 0.15
"""SGLang measures free memory before and after, so a part of its own start-up may be inside: 0.01
to 0.14 in 16 loads of plain models of 0.6B to 72B, half of them below 0.05."""

SGLANG_REPACKED = (0.25, 0.0, 1.05)
"""Share of packed integers, experts apart, that SGLang counts twice: the originals stay in
PyTorch's cache until graphs are captured (AWQ on 3090 pairs: Gemma 4 31B 0.23, Devstral 0.95)."""

MARLIN_EXTRA = (0.008, 0.0, 0.035)
"""Of 4-bit weights in the kernel's order, beside what is stored: twelve official AWQ and GPTQ files
of 7B to 70B load 0 to 1.5 % more, Qwen3-8B-AWQ once 2.5 (5.68 → 5.82 GiB)."""

BLOCKS_LOADED = 0.03
"""What 8-bit blocks may take more than stored: Marlin keeps a scale for each 128 weights of every
column, not one per block (31B on 3090s 2.5 %, 0.21; GLM-5.3-Flash on H100 and H200 2.3 to 3.9)."""


_FUSED = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "up", "up_proj": "up"}
"""Matrices that engines keep as one tensor."""


def allocator_waste(held: Iterable[tuple[Matrix, float]]) -> float:
    """Bytes lost to PyTorch's allocator: tensors above 10 MiB take whole 2 MiB steps, and a rest of
    up to 1 MiB is never given to another tensor (Qwen2.5-72B: 78 MiB at TP 2, 120 MiB at TP 4)."""
    fused: dict[tuple[int | None, str], float] = {}
    for matrix, size in held:
        head, _, name = matrix.name.rpartition(".")
        key = (matrix.layer, f"{head}.{_FUSED.get(name, name)}")
        fused[key] = fused.get(key, 0.0) + size
    rests = (-size % (2 * MIB) for size in fused.values() if size > 10 * MIB)
    return sum(rest for rest in rests if rest <= MIB)


def load_extra(
    facts: ModelFacts, settings: EngineSettings, kept: tuple[Matrix, ...], waste: float
) -> Amount:
    """What loading adds to the stored bytes, GiB; `waste` is the allocator's."""
    ranks = max(1, settings.tensor_parallel)
    is_sglang = settings.engine is Engine.SGLANG
    own, beyond = LOADED_EXTRA_GIB, _late_buffers_gib(settings)
    if is_sglang:
        own, beyond = SGLANG_EXTRA_GIB, SGLANG_MOST_GIB - SGLANG_EXTRA_GIB
    rotary = facts.rotary_bytes / GIB
    if settings.engine is Engine.LLAMA_CPP:  # computes them as it goes, into buffers of its own
        rotary = waste = 0.0
    most = own + waste + rotary
    doubt = 0.009 + 0.004 * math.log2(ranks)
    # expandable segments (PYTORCH_CUDA_ALLOC_CONF, some images' default) round nothing up
    least = (0.0 if is_sglang else own) - doubt
    extra = Amount(most, least, most + doubt + beyond)
    extra = extra + _deep_outputs(facts, settings)
    if facts.has_states:
        extra = extra + about(0.0, 0.15)
    if facts.is_latent:
        absorbed = sum(
            layer.mixer.kv_rank * layer.mixer.heads * (layer.mixer.nope_dim + layer.mixer.v_dim)
            for layer in facts.layers
            if isinstance(layer.mixer, Latent)
        )
        extra = extra + _absorbed(facts, settings, absorbed * 2 / settings.attention_ranks / GIB)
        if ranks > 1:  # many tensors of 1–10 MiB packed into 20 MiB segments
            extra = extra + about(0.05, 0.05)
    return (
        extra
        + _repacking(settings, kept)
        + _spread_scales(settings, kept)
        + wider_tiles(facts.hidden, settings, kept)
    )


ABSORBED_VIEWS = (0, 27)
"""From here on vLLM turns latent projections in 16 bits without a copy: GLM-4.7-Flash loads 55.87
GiB (0.27 and 0.29), DeepSeek-V2-Lite 29.32 (0.29) where 0.19 had 29.43; quantized ones are kept
twice in every release."""


def _absorbed(facts: ModelFacts, settings: EngineSettings, gib: float) -> Amount:
    """GiB of latent projections once more, turned for decoding."""
    twice = within(gib, 0.3)
    plain = facts.quantization.scheme is Scheme.PLAIN and settings.engine is Engine.VLLM
    if not plain or (settings.version is not None and settings.version < ABSORBED_VIEWS):
        return twice
    return Amount(0.0 if settings.is_since(ABSORBED_VIEWS) else gib, 0.0, twice.high)


DEEP_TOKENS = (2048, 8192)
"""Rows of the buffers where no batch is stated: vLLM's defaults, by card."""


def _deep_outputs(facts: ModelFacts, settings: EngineSettings) -> Amount:
    """GiB of vLLM's buffers for inner outputs of a vision tower, a row for each token of a batch
    (`deepstack_input_embeds` of Qwen3-VL)."""
    levels = facts.vision.deep_outputs if facts.vision and not settings.language_only else 0
    if not levels or settings.engine is not Engine.VLLM:
        return exact(0.0)
    stated = settings.max_batched_tokens
    few, many = (stated, stated) if stated else DEEP_TOKENS
    row = levels * facts.hidden * facts.dtype_bytes / GIB
    return Amount(few * row, few * row, many * row)


def _late_buffers_gib(settings: EngineSettings) -> float:
    """GiB of tables that an engine may make while it loads, or later, by version."""
    newer = settings.version is None or settings.version >= BUFFERS_IN_LOAD
    return BUFFERS_GIB if newer and settings.engine is Engine.VLLM else 0.0


def _spread_scales(settings: EngineSettings, kept: tuple[Matrix, ...]) -> Amount:
    """What 8-bit blocks may take more once a kernel has put their scales in order, GiB."""
    blocks = sum(m.stored_bytes for m in kept if m.scheme is Scheme.FP8_BLOCK)
    most = blocks * BLOCKS_LOADED / max(1, settings.ranks) / GIB
    return Amount(0.0, 0.0, most if settings.engine is Engine.VLLM else 0.0)


def _repacking(settings: EngineSettings, kept: tuple[Matrix, ...]) -> Amount:
    """What turning packed 4-bit integers into the kernel's order adds, GiB."""
    packed = (m for m in kept if m.scheme in (Scheme.INT4, Scheme.INT4_ZERO) and not m.expert)
    size = sum(m.stored_bytes for m in packed) / max(1, settings.tensor_parallel) / GIB
    shares = {Engine.SGLANG: SGLANG_REPACKED, Engine.VLLM: MARLIN_EXTRA}
    value, low, high = (share * size for share in shares.get(settings.engine, (0.0, 0.0, 0.0)))
    return Amount(value, low, high)
