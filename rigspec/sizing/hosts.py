"""What holds a decode step back beside its own work: the host, and causes without a formula."""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Compressed, Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.vllm_batch import FIRST_V1

OLD_HOST_MS = 4.0
"""Before vLLM 0.8 a step waited for the host: 0.2 to 4.4 ms more (nine runs of 0.7.3, on L4 to
H200)."""
OLD_STREAM_MS = 0.5
"""And prepared each stream: 8B on a 3090 4.5 ms more per step with 10, 25 with 50 (0.5)."""
EAGER_LAYER_MS = 0.8
"""Without graphs the host launches every kernel, in so long per layer: 8B on an A100 25.6 ms for 32
layers (0.15), a hybrid 27B on a 5090 50.5 ms for 64 (0.20), 7B on an L4 27.8 ms for 28 (0.27); four
more machines 0.5 to 0.75."""
EAGER_FALL = 1.6
"""A slower host than those three; a faster one is bounded by the card."""
ROW_SLOWER, ROW_FALL = 1.45, 1.35
"""llama.cpp's row split sends every result over PCIe: 19 and 18 tok/s on four 3090s where a split
by layers gave 33 and 31 (27B and 32B, two authors), 1.2 and 1.8 times slower than computed."""
STEP_HOST_MS = 2.4
"""What a host may take between two steps: 0.6B on an A100 ran in 4.2 ms where the card needs 2.0;
others start 2B and 30B-A3B steps every 1.7 to 4 ms."""
TENSOR_FALL = 1.9
"""llama.cpp's split of every tensor is young: 70B on four 4090s 1.2 times slower than computed, 27B
on a 3060 and a P100, of which the slower one sets the pace, 1.2 times, 31B on two 3090s 1.9."""
UNKNOWN_FALL = 2.1
"""A model that is not fully understood: Qwen3.8-Flash-Next, whose n-gram tables lie in host memory,
ran at 0.50 to 0.72 of the computed speed on RTX PRO 6000 and GB10 pairs (six runs)."""
SPARSE_ROWS, SPARSE_FALL = 32, 2.6
"""Sparse latent attention: from so many rows per step (streams × tokens verified) five of ten
published configurations run at 40 % of the others' speed. Nothing they print tells them apart."""
TURING_FALL = 6.5
"""vLLM and SGLang before Ampere, with kernels that nobody tunes: 27B in 4 bits on two T4, 4.8 tok/s
where the memory would give 30 and llama.cpp reaches 23."""

FLOAT_LAYER_MS = 0.065
"""GeForce and PRO Blackwell may multiply dense 8- and 4-bit floats themselves, after a kernel that
rounds what goes in: 8B NVFP4 on a 5090 6.6 ms that way, 4.6 by Marlin (0.26); the build chooses."""
FLOATS_TUNED, UNTUNED_FALL = (0, 20), 1.55
"""Their kernels were slow before: 32B FP8 and NVFP4 at 16 streams 1.5 times the computed step where
16 bits took 0.94 of it (0.13), 72B FP8 1.4 times (SGLang 0.5.6)."""

LATENT_FALL, COMPRESSED_FALL = 2.6, 4.5
"""llama.cpp's latent attention, by build and by how a file keeps it: GLM-4.7-Flash as computed on
three cards, DeepSeek-V2-Lite and V3 2.1 and 2.5 times slower. V4 on eight and ten V100 3.6 and 3.8
times."""


def host_ms(facts: ModelFacts, settings: EngineSettings) -> float:
    """Milliseconds the host needs to launch one step's kernels; next to nothing from graphs."""
    return EAGER_LAYER_MS * len(facts.layers) if settings.eager else 1e-6


def unexplained(
    facts: ModelFacts, card: Card, settings: EngineSettings, streams: int, step_ms: float
) -> tuple[float, ...]:
    """How many times slower a step may be than computed, by each cause that has no formula."""
    old = settings.engine is Engine.VLLM and (settings.version or FIRST_V1) < FIRST_V1
    untuned = settings.engine is not Engine.LLAMA_CPP and (card.compute or (8, 0)) < (8, 0)
    return (
        sparse_fall(facts, settings, streams),
        ROW_FALL if settings.split == "row" else 1.0,
        1 + STEP_HOST_MS / step_ms if settings.engine is not Engine.LLAMA_CPP else 1.0,
        1 + (OLD_HOST_MS + OLD_STREAM_MS * (streams - 1)) / step_ms if old else 1.0,
        TURING_FALL if untuned else 1.0,
        1 + _float_kernels(facts, card, settings, step_ms),
        EAGER_FALL if host_ms(facts, settings) > 0.6 * step_ms else 1.0,
        *_by_engine(facts, settings),
    )


def _by_engine(facts: ModelFacts, settings: EngineSettings) -> tuple[float, float]:
    if settings.engine is Engine.LLAMA_CPP:
        young = settings.split == "tensor" and settings.tensor_parallel > 1
        return _latent_fall(facts), TENSOR_FALL if young else 1.0
    return 1.0, 1.0 if facts.known else UNKNOWN_FALL


def _latent_fall(facts: ModelFacts) -> float:
    kinds = {type(layer.mixer) for layer in facts.unlike}
    if Compressed in kinds:
        return COMPRESSED_FALL
    return LATENT_FALL if Latent in kinds else 1.0


def _float_kernels(
    facts: ModelFacts, card: Card, settings: EngineSettings, step_ms: float
) -> float:
    """How much longer a step may take, as a share, by the kernels of 8- and 4-bit floats."""
    floats = facts.quantization.scheme in (Scheme.FP8, Scheme.FP8_BLOCK, Scheme.NVFP4)
    blackwell = card.compute is not None and card.compute[0] == 12 and not card.unified
    if facts.has_experts or not (floats and blackwell) or settings.engine is Engine.LLAMA_CPP:
        return 0.0
    early = settings.engine is Engine.SGLANG or (settings.version or FLOATS_TUNED) < FLOATS_TUNED
    return UNTUNED_FALL - 1 if early else FLOAT_LAYER_MS * len(facts.layers) / step_ms


def sparse_fall(facts: ModelFacts, settings: EngineSettings, streams: int) -> float:
    """How many times slower a step may be than computed, for what no setting explains."""
    sparse = any(isinstance(m := layer.mixer, Latent) and m.index_topk for layer in facts.unlike)
    drafts = settings.speculative.depth if settings.speculative else 0
    return SPARSE_FALL if sparse and streams * (1 + drafts) >= SPARSE_ROWS else 1.0
