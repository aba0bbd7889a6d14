"""How fast a card reads weights and cache: the constants fitted per engine and class of model."""

from __future__ import annotations

import math

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import Matrix, Part
from rigspec.sizing.settings import Engine, EngineSettings


@dataclass(frozen=True)
class Fit:
    """Constants of one engine and class of model, with the spread of what they were fitted on."""

    efficiency: float
    layer_us: float
    rank_us: float
    """More per layer for each doubling of tensor parallelism: smaller shards, more waiting."""
    spread: float


FITS: dict[tuple[Engine, str], Fit] = {
    (Engine.LLAMA_CPP, "dense"): Fit(0.78, 43.0, 0.0, 0.22),
    (Engine.LLAMA_CPP, "experts"): Fit(0.70, 55.0, 0.0, 0.30),
    (Engine.VLLM, "dense"): Fit(0.77, 40.0, 0.0, 0.20),
    (Engine.VLLM, "experts"): Fit(0.80, 55.0, 14.0, 0.45),
    (Engine.SGLANG, "dense"): Fit(0.77, 40.0, 0.0, 0.30),
    (Engine.SGLANG, "experts"): Fit(0.80, 55.0, 14.0, 0.60),
}

GRAPHICS_DENSE = 1.13
"""vLLM and SGLang read dense weights so much better from GDDR than from the memory of data-centre
cards, which is faster than few rows ask for: 0.87 of the rated bandwidth on 3090s, 4090s, 5090s and
RTX PRO 6000, 0.77 on A100 and H100 (68 runs of 2B to 72B, vLLM 0.8 to 0.31)."""
STACKED = frozenset({(6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (10, 3)})
"""Compute capabilities of cards with HBM."""

GENERATION = {
    (6, 0): 0.36, (6, 1): 0.83, (8, 6): 0.97, (8, 9): 1.03, (12, 0): 1.13, (12, 1): 1.05,
}  # fmt: skip
"""llama.cpp's efficiency relative to the fit (P100: no 8-bit product, P40, 3090, 4090, 5090,
GB10)."""
NARROW_GB_S, NARROW_SHARE = 800.0, 1.07
"""Ampere and Ada boards with less bandwidth keep it busier: 0.83 to 0.90 of it on RTX 3060, 3070,
3080, 4070 Ti, 4080 and A6000 where a 3090 and a 4090 reach 0.70 and 0.81 (24 runs of dense
models)."""
UNIFIED_EXPERTS = 1.2
"""The same for experts on a GB10: its memory is so slow that even their small matrices keep it busy
(gpt-oss 20B and 120B, two Qwen3-30B-A3B, one or eight streams; three authors)."""
UNPACK_BITS = 4.5
UNPACK_LEAST = 0.78
"""Below so many bits per weight unpacking, not memory, bounds llama.cpp: Q3_K of a 27B model is no
faster than Q4_K (5090: 72 to 74 tok/s, and 70); the floor is that of 2-bit files (3080, 3090)."""

PROCESSORS = {"h20": 78, "h200": 132, "h200 nvl": 132, "gh200": 132, "b200": 148, "b300": 160}
"""Multiprocessors of the cards whose memory is faster than they ask for it."""
PROCESSOR_GB_S = {9: 23.0, 10: 28.0}
"""What one of them reads in a step of few rows, Hopper and Blackwell: 1.4 TB/s of the 4.0 of an H20
(8B), 2.7 to 3.0 of the 4.8 of an H200 (26B, 31B), 4.2 of the 8 of a B200 (49B); an H100, 132 of
them, reads 2.6 of its 3.35. Three authors, vLLM 0.16 and SGLang 0.4."""

WIDE_BITS, WIDE_HEAD_BITS = 8.5, 6.56
"""A GGUF of experts holds what every token meets, attention and the head, in about 8 and 6 bits
whatever its type: its average is that of the experts, of which a step reads few. Where memory is
slow, 35B-A3B and 26B-A4B had been 30 to 100 % too fast for it (GB10, T4, RTX PRO 4000 SFF)."""

ROW_SHARE, ROW_LIMIT = 0.05, 8
"""Each further row makes llama.cpp's product of a dense matrix so much dearer, up to the eight that
its vector kernels take: 1.12 to 1.45 times at four rows, 1.20 to 1.7 at eight (four files of three
authors on GB10, L4 and RTX PRO 6000)."""

EIGHT_BIT_US = 25.0
"""More per layer of 8-bit float experts: what goes into each product is rounded by a kernel of its
own (30B on RTX PRO 6000, GB10 and H20, 230B and 235B on L40S, B200 and RTX PRO 6000; some are no
faster than 16-bit weights; eleven runs)."""


def wider(facts: ModelFacts, matrix: Matrix, scale: float) -> float:
    """How much wider than the average of its file a matrix is stored; `scale` as calibrated."""
    mix = facts.quantization
    plain = mix.scheme is not Scheme.GGUF or mix.expert_scheme is not None
    if plain or not facts.has_experts or matrix.active_fraction < 1.0:
        return 1.0
    least = WIDE_HEAD_BITS if matrix.part in (Part.HEAD, Part.EMBEDDING) else WIDE_BITS
    bits = 8 * matrix.stored_bytes / matrix.elements if matrix.elements else 0.0
    return max(1.0, least / (scale * (bits or least)))


def row_share(facts: ModelFacts, settings: EngineSettings, rows: int) -> float:
    """How much longer a step of so many rows reads its weights than a step of one."""
    if settings.engine is not Engine.LLAMA_CPP or facts.has_experts:
        return 1.0
    return 1 + ROW_SHARE * (min(rows, ROW_LIMIT) - 1)


def fit_of(facts: ModelFacts, settings: EngineSettings) -> Fit:
    """The constants of an engine and class of model."""
    return FITS[settings.engine, "experts" if facts.has_experts else "dense"]


FUSED_FOUR_BIT = 0.42
"""4-bit float experts on data-centre Blackwell, whose kernels do several steps at once:
gpt-oss-120b, MiniMax-M2.7 and M3 on eight B200 1.8 to 1.9 times as fast (SGLang 0.5.6, vLLM
0.26)."""


PACKED_RANKS = 0.5
"""Of what small shards wait, where experts are packed integers: Kimi-K2.x on eight and sixteen RTX
PRO 6000 (twelve runs of a rig), 35B-A3B on pairs of 3090s and 5090s, 397B-A17B on four PRO 6000."""


def layer_us(facts: ModelFacts, settings: EngineSettings, card: Card, shards: int) -> float:
    """Microseconds that launching a layer's kernels takes beside what they read."""
    fit = fit_of(facts, settings)
    floats = facts.quantization.scheme in (Scheme.FP8, Scheme.FP8_BLOCK)
    rounds = floats and facts.has_experts and settings.engine is not Engine.LLAMA_CPP
    packed = facts.quantization.scheme in (Scheme.INT4, Scheme.INT4_ZERO)
    per_rank = fit.rank_us * math.log2(max(1, shards)) * (PACKED_RANKS if packed else 1.0)
    share = FUSED_FOUR_BIT if _fuses_four_bits(facts, card, settings) else 1.0
    return (fit.layer_us + per_rank) * share + (EIGHT_BIT_US if rounds else 0.0)


def _fuses_four_bits(facts: ModelFacts, card: Card, settings: EngineSettings) -> bool:
    floats = facts.quantization.scheme in (Scheme.NVFP4, Scheme.MXFP4)
    blackwell = card.compute is not None and card.compute[0] == 10
    engine = settings.engine is not Engine.LLAMA_CPP
    return facts.has_experts and floats and blackwell and engine


def bytes_per_ms(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """Bytes of weights or cache that a rank reads in a millisecond."""
    return efficiency_of(facts, card, settings) * (card.bandwidth_gb_s or 1.0) * 1e6


def efficiency_of(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """Share of the rated bandwidth that weights and cache are read at."""
    fit = fit_of(facts, settings)
    if settings.engine is not Engine.LLAMA_CPP:
        share = fit.efficiency * (1.0 if facts.has_experts else _graphics_share(card))
        return min(share, _askable_gb_s(card) / (card.bandwidth_gb_s or 1.0))
    share = fit.efficiency * GENERATION.get(card.compute or (0, 0), 1.0)
    share *= UNIFIED_EXPERTS if facts.has_experts and card.unified else 1.0
    narrow = card.compute in ((8, 6), (8, 9)) and (card.bandwidth_gb_s or 0.0) < NARROW_GB_S
    share *= NARROW_SHARE if narrow else 1.0
    bits = facts.quantization.bits_per_weight
    return share * (max(UNPACK_LEAST, min(1.0, bits / UNPACK_BITS)) if bits else 1.0)


def _graphics_share(card: Card) -> float:
    """How much better than HBM a card's memory is read by products of few rows."""
    tuned = card.compute is not None and card.compute >= (8, 0)  # nobody tunes kernels for Turing
    return GRAPHICS_DENSE if tuned and not card.unified and card.compute not in STACKED else 1.0


def is_limited(card: Card, settings: EngineSettings) -> bool:
    """Whether the multiprocessors, not the memory, bound what is read."""
    return settings.engine is not Engine.LLAMA_CPP and card.chip in PROCESSORS


def _askable_gb_s(card: Card) -> float:
    """What all multiprocessors together ask for; no bound where that is never reached."""
    count = PROCESSORS.get(card.chip)
    each = PROCESSOR_GB_S.get((card.compute or (0, 0))[0])
    return count * each if count and each else float("inf")
