"""What a card's tensor cores make of products: their peak, and the share of it that is reached."""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.settings import Engine, EngineSettings

PEAK_TFLOPS = {
    "rtx 2060": 26, "rtx 2070": 30, "rtx 2080": 40, "rtx 2080 ti": 54, "rtx 3060": 25,
    "rtx 3060 ti": 32, "rtx 3070": 41, "rtx 3070 ti": 43, "rtx 3080": 60, "rtx 3080 ti": 68,
    "rtx 3090": 71, "rtx 3090 ti": 80, "rtx 4060": 30, "rtx 4060 ti": 44, "rtx 4070": 58,
    "rtx 4070 super": 71, "rtx 4070 ti": 80, "rtx 4070 ti super": 88, "rtx 4080": 97,
    "rtx 4080 super": 104, "rtx 4090": 165, "rtx 4090 d": 147, "rtx 5060": 38, "rtx 5060 ti": 47,
    "rtx 5070": 62, "rtx 5070 ti": 88, "rtx 5080": 113, "rtx 5090": 210, "rtx 5090 d": 210,
    "rtx a4000": 77, "rtx a4500": 95, "rtx a5000": 111, "rtx a5500": 136, "rtx a6000": 155,
    "a40": 150, "a10": 62, "a10g": 70, "a30": 165, "rtx 4000 ada": 107, "rtx 5000 ada": 131,
    "rtx 6000 ada": 182, "l4": 60, "l20": 120, "l40": 181, "l40s": 181, "t4": 65,
    "rtx pro 4000": 94, "rtx pro 4000 sff": 96, "rtx pro 4500": 110, "rtx pro 5000": 147,
    "rtx pro 6000": 251, "gb10": 62,
    "v100 pcie 32": 112, "v100 pcie 16": 112, "p40": 12, "a100": 312, "a100 pcie": 312,
    "h100": 989, "h100 pcie": 756, "h100 nvl": 835, "h20": 148, "h200": 989, "h200 nvl": 835,
    "gh200": 989, "b200": 2250, "b300": 2250,
}  # fmt: skip
"""Dense 16-bit tensor TFLOP/s with 32-bit accumulation (NVIDIA data sheets and GA102, AD102, GB202
white papers, sparsity taken out); GeForce boards accumulate at half rate, so theirs are low."""


@dataclass(frozen=True)
class Fit:
    """Share of the peak a prefill reaches: on half-rate GeForce boards and on others."""

    geforce: float
    others: float
    spread: float


FITS = {
    (Engine.VLLM, "dense"): Fit(0.80, 0.50, 0.42),
    (Engine.VLLM, "experts"): Fit(0.36, 0.40, 0.70),
    (Engine.SGLANG, "dense"): Fit(0.80, 0.50, 0.42),
    (Engine.SGLANG, "experts"): Fit(0.36, 0.40, 0.70),
    (Engine.LLAMA_CPP, "dense"): Fit(0.88, 0.50, 0.45),
    (Engine.LLAMA_CPP, "experts"): Fit(0.32, 0.25, 0.80),
}
"""vLLM: 27B on 3090s and 5090s, 35B-A3B, Kimi and GLM on RTX PRO 6000, gpt-oss on an L4.
llama.cpp: builds of 2025 and 2026 read prompts 1.2 to 1.5 times as fast as those of May 2024 (27
runs and 14)."""

UNPACKED = 0.7
"""fp8 weights on a card without fp8 arithmetic are unpacked first (27B FP8 on 3090s)."""

NATIVE_RISE = {Scheme.FP8: 2.0, Scheme.FP8_BLOCK: 2.0, Scheme.NVFP4: 3.6}
NATIVE_FROM = {Scheme.FP8: (8, 9), Scheme.FP8_BLOCK: (8, 9), Scheme.NVFP4: (10, 0)}


def fit_of(facts: ModelFacts, settings: EngineSettings) -> Fit:
    """The shares of an engine and class of model."""
    return FITS[settings.engine, "experts" if facts.has_experts else "dense"]


def is_native(facts: ModelFacts, card: Card, settings: EngineSettings) -> bool:
    first = NATIVE_FROM.get(facts.quantization.scheme)
    dense = settings.engine is not Engine.LLAMA_CPP and not facts.has_experts
    return dense and first is not None and card.compute is not None and card.compute >= first


def _unpacks(facts: ModelFacts, card: Card) -> bool:
    eight_bit = facts.quantization.scheme in (Scheme.FP8, Scheme.FP8_BLOCK)
    return eight_bit and card.compute is not None and card.compute < (8, 9)


def peak_tflops(card: Card) -> float | None:
    """The card's peak; None when it is not in the table."""
    return PEAK_TFLOPS.get(card.chip)


def tensor_share(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """Share of the 16-bit peak that products of many rows reach; above 1 in native formats."""
    fit = fit_of(facts, settings)
    share = fit.geforce if "GeForce" in card.name else fit.others
    share *= UNPACKED if _unpacks(facts, card) else 1.0
    native = is_native(facts, card, settings)
    return share * (NATIVE_RISE[facts.quantization.scheme] if native else 1.0)


def rows_ms(facts: ModelFacts, card: Card, settings: EngineSettings, rows: int) -> float:
    """Milliseconds of arithmetic of a decode step of several rows; 0 where the peak is unknown,
    and in llama.cpp, whose vector kernels have a share of their own."""
    peak = peak_tflops(card)
    if peak is None or rows < 2 or settings.engine is Engine.LLAMA_CPP:
        return 0.0
    head = sum(matrix.elements for matrix in matrices(facts) if matrix.part is Part.HEAD)
    flops = 2 * rows * (active_elements(facts) + head) / max(1, settings.tensor_parallel)
    return flops / (peak * 1e9 * tensor_share(facts, card, settings))


def active_elements(facts: ModelFacts) -> float:
    """Weight elements one token meets, embeddings and drafts left out."""
    skipped = (Part.EMBEDDING, Part.VISION, Part.DRAFT, Part.TABLE, Part.HEAD)
    return sum(m.elements * m.active_fraction for m in matrices(facts) if m.part not in skipped)
