"""Weight bytes per GPU: what is cut, what every rank repeats, what loading changes.

Cutting rules are those of vLLM 0.33 (SGLang alike). Checked against 160 printed loads; the error
table is in docs/sizing.md.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.model_sizes import ROUNDED_ERROR
from rigspec.sizing.adapters import adapters_gib
from rigspec.sizing.amount import Amount, total, within
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.llamacpp import on_card
from rigspec.sizing.load_extra import allocator_waste, load_extra
from rigspec.sizing.matrices import Cut, Matrix, Part, matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import fullest_stage
from rigspec.units import GIB, text_gib

MXFP4_TILE, MXFP4_HIDDEN = 128, 256
"""Marlin pads a rank's expert width and the hidden width of MXFP4 experts to these: gpt-oss-20b
loads 13.72 GiB, gpt-oss-120b 65.97 and at TP 4 17.22 (six boots of vLLM 0.10 to 0.19)."""

MXFP4_KERNELS = 0.025
"""Triton's kernels on Hopper pad otherwise: 13.47 and 64.6; 3.63 at TP 4, 3.56 by the rule."""

SGLANG_KERNEL_COPIES = 0.03
"""Relative doubt of quantized weights in SGLang, which shuffles them for its kernels: 2.5 and
2.9 % more than stored (DeepSeek-V3-FP4 and Kimi-K2.5 on 4 and 8 GPUs)."""

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
    extra = load_extra(facts, settings, kept, allocator_waste(held) / GIB)
    beside = drafter_gib(facts, settings) + adapters_gib(facts, settings)
    amount = total((within(stored, error), beside, extra))
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
        found.append(_packers_doubt(facts))
        found.append(_habit_doubt(facts))
    if facts.is_latent:
        found.append(0.03 if facts.hyper_streams > 1 else 0.003)
    if facts.quantization.scheme is Scheme.GGUF:
        found.append(0.05)
    return max(found)


def _packers_doubt(facts: ModelFacts) -> float:
    """How far packers go apart: in the group of a scale, in what of states and towers they leave.

    Thirteen plain dense files of 7B to 72B are off by 1.5 % at most, one by 2.9; files with states
    or a tower by up to 14 %.
    """
    if facts.has_experts:
        return 0.12 if facts.has_states else 0.045 if _tells_group(facts) else 0.085
    return 0.12 if facts.has_states or facts.vision is not None else 0.04


def _tells_group(facts: ModelFacts) -> bool:
    """Whether the weights under one scale are known: fixed by the format, recorded, or named."""
    found = facts.quantization
    fixed = found.scheme in (Scheme.NVFP4, Scheme.MXFP4)
    return fixed or bool(found.method) or re.search(r"\bg\d+", found.label) is not None


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
