"""Weight bytes per GPU: what is cut, what every rank repeats, what loading changes.

Cutting rules are those of vLLM 0.33 (SGLang alike). Checked against 160 printed loads; the error
table is in docs/sizing.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.model_sizes import ROUNDED_ERROR
from rigspec.sizing.amount import Amount, about, total, within
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.llamacpp import on_card
from rigspec.sizing.matrices import Cut, Matrix, Part, matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import fullest_stage
from rigspec.units import GIB, MIB, text_gib

MXFP4_TILE, MXFP4_HIDDEN = 128, 256
"""Marlin pads a rank's expert width and the hidden width of MXFP4 experts to these: gpt-oss-20b
loads 13.72 GiB, gpt-oss-120b 65.97 and at TP 4 17.22 (six boots of vLLM 0.10 to 0.19)."""

MXFP4_KERNELS = 0.025
"""Triton's kernels on Hopper pad otherwise: 13.47 and 64.6; 3.63 at TP 4, 3.56 by the rule."""

LOADED_EXTRA_GIB = 0.003
"""What is left of 50 printed loads (0.19) after rotary tables and allocator rounding."""

BUFFERS_IN_LOAD, BUFFERS_GIB = (0, 22), 0.1
"""From here on a load may print this much more (0.22.0 and 0.27.1: 0.04 with Qwen2.5-7B, 0.28.0:
0.09 with 1.5B); rotary tables are in some prints and not in others (Llama-3.1-8B
prints 14.96 and 14.99, with tables of 0.03)."""

SGLANG_EXTRA_GIB = 0.15
"""SGLang measures free memory before and after, so its own start-up may be inside (two boots)."""

SGLANG_REPACKED = (0.25, 0.0, 1.05)
"""Share of packed integers, experts apart, that SGLang counts twice: the originals stay in
PyTorch's cache until graphs are captured (AWQ on 3090 pairs: Gemma 4 31B 0.23, Devstral 0.95)."""

SGLANG_KERNEL_COPIES = 0.03
"""Relative doubt of quantized weights in SGLang, which shuffles them for its kernels: 2.5 and
2.9 % more than stored (DeepSeek-V3-FP4 and Kimi-K2.5 on 4 and 8 GPUs)."""

MARLIN_EXTRA = 0.03
"""Repacked 4-bit weights take 2–4 % more than stored (Qwen3-8B-AWQ: 5.68 → 5.82 GiB)."""


BLOCKS_LOADED = 0.03
"""What 8-bit blocks may take more than stored: Marlin keeps a scale for each 128 weights of every
column, not one per block (31B on 3090s 2.5 %, 0.21; GLM-5.3-Flash on H100 and H200 2.3 to 3.9)."""

MADE_BY_SOMEBODY = 0.05
"""Above this doubt of the dimensions a page's rounded figure is not taken alone: one calls an AWQ
of 27B 17 GB that loads 19.8 (two other pages, of NVFP4 files, are 1 and 5 % low)."""

UNKNOWN_CUT = 0.08
"""Of an architecture that is not known nobody can say what every rank repeats."""


@dataclass(frozen=True)
class RankWeights:
    """Weights of the fullest rank, in GiB."""

    amount: Amount
    replicated_gib: float
    basis: str


def loaded(facts: ModelFacts, settings: EngineSettings) -> tuple[Matrix, ...]:
    """The matrices the engine loads: drafts only with speculation, vision unless text-only."""
    skip = set()
    speculative = settings.speculative
    if speculative is None or speculative.method not in ("mtp", "unstated"):
        skip.add(Part.DRAFT)
    llama = settings.engine is Engine.LLAMA_CPP
    if settings.language_only or llama:
        skip.add(Part.VISION)
    if llama and not facts.tied:
        skip.add(Part.EMBEDDING)  # looked up on the CPU; a tied table is the output matrix too
    shares = settings.engine is Engine.VLLM
    return tuple(
        m for m in matrices(facts) if m.part not in skip and not (shares and m.name == "mtp.vocab")
    )


def rank_weights(facts: ModelFacts, settings: EngineSettings) -> RankWeights:
    """GiB of weights on the fullest rank."""
    return weights_as_loaded(facts, settings.of_loading)


@lru_cache(maxsize=64)  # each remedy asks again, with another context or batch
def weights_as_loaded(facts: ModelFacts, settings: EngineSettings) -> RankWeights:
    """`rank_weights` for settings that differ in nothing but how weights are loaded."""
    kept = loaded(facts, settings)
    scale, basis, error = calibration(facts)
    if settings.engine is Engine.SGLANG and facts.quantization.scheme is not Scheme.PLAIN:
        error = max(error, SGLANG_KERNEL_COPIES)
    if facts.is_novel and facts.sizes is not None:
        basis += ", as stored"
        if settings.ranks > 1:
            error, basis = max(error, UNKNOWN_CUT), f"{basis}; how they are cut is not known"
    there = on_card(fullest_stage(kept, facts, settings), facts, settings)
    held = [(m, _rank_bytes(facts, settings, m)) for m in there]
    replicated = sum(m.stored_bytes for m in kept if m.cut is Cut.WHOLE and m.part is not Part.NORM)
    stored = sum(scale * size for _, size in held) / GIB
    extra = _load_extra(facts, settings, kept, _allocator_waste(held) / GIB)
    amount = total((within(stored, error), drafter_gib(facts, settings), extra))
    return RankWeights(amount, replicated / GIB, basis)


@lru_cache(maxsize=16)
def calibration(facts: ModelFacts) -> tuple[float, str, float]:
    """How far the formulas are from known sizes, what the figure rests on, and its doubt."""
    formula = formula_bytes(facts)
    if facts.sizes is None or formula <= 0:
        return 1.0, "formulas over config.json", formula_doubt(facts)
    tied_copy = facts.vocab * facts.hidden * facts.dtype_bytes if facts.tied else 0
    stored = facts.sizes.total_bytes
    nearest = min((formula, formula + tied_copy), key=lambda size: abs(size - stored))
    mixed_in = 0.03 if facts.hyper_streams > 1 else 0.0003
    if size_doubt(facts):
        mixed_in = max(mixed_in, 0.1)
    if facts.quantization.scheme is Scheme.MXFP4 and facts.has_experts:
        mixed_in = max(mixed_in, MXFP4_KERNELS)
    ratio, rounded = stored / nearest, facts.sizes.relative_error
    if rounded >= ROUNDED_ERROR and formula_doubt(facts) > MADE_BY_SOMEBODY:
        ratio = math.sqrt(ratio)  # neither knows better: the middle, with both in the band
        mixed_in += abs(ratio - 1)
    return ratio, facts.sizes.source, mixed_in + rounded


@lru_cache(maxsize=16)
def formula_bytes(facts: ModelFacts) -> float:
    """Bytes of a checkpoint by its dimensions and its quantization record."""
    return sum(m.stored_bytes for m in matrices(facts))


def size_doubt(facts: ModelFacts) -> str:
    """Why dimensions and bytes cannot be of one checkpoint; empty when they can.

    Files on disk may hold a second head or a draft nobody counts; a third more or less is a lie
    about the layers or about the format.
    """
    if facts.sizes is None or facts.quantization.scheme is Scheme.GGUF or not facts.known:
        return ""
    formula, stored = formula_bytes(facts), facts.sizes.total_bytes
    copy = facts.vocab * facts.hidden * facts.dtype_bytes
    if 0.75 * formula <= stored <= 1.35 * (formula + copy):
        return ""
    return (
        f"its dimensions and quantization give {text_gib(formula)} of weights, "
        f"{facts.sizes.source} {text_gib(stored)}: one of them is of another checkpoint"
    )


def formula_doubt(facts: ModelFacts) -> float:
    """Relative doubt of weights computed from dimensions alone, by what is not known of them."""
    found = [0.001, facts.weights_doubt]
    if not facts.known:
        found.append(0.10)
    if facts.vision is not None:
        found.append(0.018 if facts.vision.stated else 0.008)
    scheme, listed = facts.quantization.scheme, facts.quantization.has_list
    if scheme is Scheme.MXFP4 and facts.has_experts:
        found.append(MXFP4_KERNELS)
    elif scheme.is_four_bit and not listed:
        found.append(0.045 if facts.has_experts else 0.12)
        found.append(_habit_doubt(facts))
    if facts.is_latent:
        found.append(0.03 if facts.hyper_streams > 1 else 0.003)
    if facts.quantization.scheme is Scheme.GGUF:
        found.append(0.05)
    return max(found)


def _habit_doubt(facts: ModelFacts) -> float:
    """How far an unlisted 4-bit float checkpoint may be from the habit assumed for it.

    Some publishers quantize every matrix, some leave all attention alone: GLM-4.7-NVFP4 loads
    10 % less than experts alone would give, Qwen3.6-27B-NVFP4 18 % less than 8-bit attention.
    """
    found = facts.quantization
    if found.scheme not in (Scheme.NVFP4, Scheme.MXFP4):
        return 0.0
    here = formula_bytes(facts)
    every = replace(found, experts_only=False, mixer_scheme=None)
    least = replace(found, experts_only=facts.has_experts, mixer_scheme=Scheme.PLAIN)
    others = (formula_bytes(replace(facts, quantization=each)) for each in (every, least))
    return max(abs(other - here) for other in others) / here


def _rank_bytes(facts: ModelFacts, settings: EngineSettings, matrix: Matrix) -> float:
    ranks, stored = max(1, settings.tensor_parallel), matrix.stored_bytes
    if settings.engine is Engine.LLAMA_CPP:
        return stored * (settings.portion.rows if settings.portion else settings.fullest_share)
    if matrix.cut is Cut.WHOLE:
        return stored
    if matrix.cut is Cut.KV and matrix.kv_heads:
        return stored * max(1, math.ceil(matrix.kv_heads / ranks)) / matrix.kv_heads
    if matrix.cut is Cut.VISION and facts.vision is not None:
        whole = facts.vision.replicated and facts.quantization.scheme is Scheme.PLAIN
        return stored if whole or facts.vision.heads % ranks else stored / ranks
    if matrix.cut is Cut.EXPERTS:
        return _expert_bytes(facts, settings, matrix, stored)
    return stored / ranks


def _expert_bytes(
    facts: ModelFacts, settings: EngineSettings, matrix: Matrix, stored: float
) -> float:
    ranks = max(1, settings.tensor_parallel)
    if settings.expert_parallel or settings.data_parallel > 1:
        return stored / (ranks * max(1, settings.data_parallel))
    width = matrix.width
    if width and matrix.scheme is Scheme.MXFP4 and settings.engine is Engine.VLLM:
        cut = width / ranks
        return stored / ranks * _padded(cut, MXFP4_TILE) * _padded(facts.hidden, MXFP4_HIDDEN)
    return stored / ranks


def _padded(width: float, tile: int) -> float:
    """How much wider a matrix is once its width is a multiple of a tile."""
    return math.ceil(width / tile) * tile / width


_FUSED = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "up", "up_proj": "up"}
"""Matrices that engines keep as one tensor."""


def _allocator_waste(held: Iterable[tuple[Matrix, float]]) -> float:
    """Bytes lost to PyTorch's allocator: tensors above 10 MiB take whole 2 MiB steps, and a rest of
    up to 1 MiB is never given to another tensor (Qwen2.5-72B: 78 MiB at TP 2, 120 MiB at TP 4)."""
    fused: dict[tuple[int | None, str], float] = {}
    for matrix, size in held:
        head, _, name = matrix.name.rpartition(".")
        key = (matrix.layer, f"{head}.{_FUSED.get(name, name)}")
        fused[key] = fused.get(key, 0.0) + size
    rests = (-size % (2 * MIB) for size in fused.values() if size > 10 * MIB)
    return sum(rest for rest in rests if rest <= MIB)


def _load_extra(
    facts: ModelFacts, settings: EngineSettings, kept: tuple[Matrix, ...], waste: float
) -> Amount:
    """What loading adds to the stored bytes, GiB; `waste` is the allocator's."""
    ranks = max(1, settings.tensor_parallel)
    own = SGLANG_EXTRA_GIB if settings.engine is Engine.SGLANG else LOADED_EXTRA_GIB
    rotary = facts.rotary_bytes / GIB
    most = own + waste + rotary
    start = SGLANG_EXTRA_GIB if settings.engine is Engine.SGLANG else 0.0
    doubt = 0.009 + 0.004 * math.log2(ranks)
    extra = Amount(most, most - rotary - start - doubt, most + doubt + _late_buffers_gib(settings))
    if facts.has_states:
        extra = extra + about(0.0, 0.15)
    if facts.is_latent:
        absorbed = sum(
            layer.mixer.kv_rank * layer.mixer.heads * (layer.mixer.nope_dim + layer.mixer.v_dim)
            for layer in facts.layers
            if isinstance(layer.mixer, Latent)
        )
        extra = extra + within(absorbed * 2 / ranks / GIB, 0.3)
        if ranks > 1:
            extra = extra + about(
                0.05, 0.05
            )  # many tensors of 1–10 MiB packed into 20 MiB segments
    return extra + _repacking(settings, kept) + _spread_scales(settings, kept)


def _late_buffers_gib(settings: EngineSettings) -> float:
    """GiB of tables that an engine may make while it loads, or later, by version."""
    newer = settings.version is not None and settings.version >= BUFFERS_IN_LOAD
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
    if settings.engine is Engine.SGLANG:
        value, low, high = (share * size for share in SGLANG_REPACKED)
        return Amount(value, low, high)
    return within(size * MARLIN_EXTRA if settings.engine is Engine.VLLM else 0.0, 0.7)
