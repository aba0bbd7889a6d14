"""Weight bytes per GPU: what is cut, what every rank repeats, what loading changes.

Cutting rules are those of vLLM 0.33 (SGLang alike). Checked against 160 printed loads; the error
table is in docs/sizing.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Compressed
from rigspec.catalog.model_quant import Scheme
from rigspec.frozen import dataclass
from rigspec.sizing.adapters import adapters_gib
from rigspec.sizing.amount import Amount, exact, spanning, total, within
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.llamacpp import is_on_host, on_card
from rigspec.sizing.load_extra import allocator_waste, load_extra
from rigspec.sizing.matrices import Cut, Matrix, Part, matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import fullest_stage
from rigspec.sizing.stored import believed, calibration, table_bytes
from rigspec.sizing.tiles import padding
from rigspec.units import GIB

SGLANG_KERNEL_COPIES = 0.03
"""Relative doubt of quantized weights in SGLang, which shuffles them for its kernels: 2.5 and
2.9 % more than stored (DeepSeek-V3-FP4 and Kimi-K2.5 on 4 and 8 GPUs)."""

UNKNOWN_CUT = 0.08
"""Of an architecture that is not known nobody can say what every rank repeats."""


@dataclass(frozen=True)
class RankWeights:
    """Weights of the fullest rank, in GiB."""

    amount: Amount
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
    found = calibration(facts)
    basis, error = found.basis, found.error
    if settings.engine is Engine.SGLANG and facts.quantization.scheme is not Scheme.PLAIN:
        error = max(error, SGLANG_KERNEL_COPIES)
    if facts.is_novel and believed(facts) is not None:
        basis += ", as stored"
        if settings.ranks > 1:
            error, basis = max(error, UNKNOWN_CUT), f"{basis}; how they are cut is not known"
    there = on_card(fullest_stage(kept, facts, settings), facts, settings)
    held = [(m, _rank_bytes(facts, settings, m)) for m in there]
    stored = sum(found.of(m) * size for m, size in held) / GIB
    extra = load_extra(facts, settings, kept, allocator_waste(held) / GIB)
    beside = drafter_gib(facts, settings) + adapters_gib(facts, settings)
    weights = spanning(within(stored, error), found.least, found.most)
    # SGLang has been seen to load n-gram tables whole, vLLM to leave them in host memory
    tables = table_bytes(facts) / settings.ranks / GIB
    again = (_keys_as_values(facts, settings, held), _compressed_again(facts, settings, held))
    amount = total((weights, beside, extra, *again))
    wider = _wider_rest(facts, settings, held) / GIB
    amount = replace(amount, high=amount.high + tables + wider)
    return RankWeights(amount, basis)


WIDEST_REST = 2.2
"""Bytes per weight of attention, norms and the output at most, 16 bits and a few in 32, which an
average over a GGUF does not tell: where experts have left the card they are most of what stays.
GLM-5.2 UD-Q5_K_XL took 2.2 times what its average gives, gpt-oss-120b with these in 16 bits 3.8,
gpt-oss-20b and a 35B in IQ4_XS 1.0."""


def _wider_rest(
    facts: ModelFacts, settings: EngineSettings, held: Iterable[tuple[Matrix, float]]
) -> float:
    """Bytes that a card may hold more, as matrices that are no experts may be wider: experts are
    narrower then, so it is no more than has left the card of what they would spare."""
    found, left = calibration(facts), _share_on_host(facts, settings)
    if not left:
        return 0.0
    if found.rest is not None:  # known but for which layers' experts are the wider ones
        every = sum(m.stored_bytes for m in loaded(facts, settings) if m.cut is Cut.EXPERTS)
        here = sum(size for m, size in held if m.cut is Cut.EXPERTS)
        return UNEVEN * (found.experts or found.scale) * here * (1 - here / every)
    # of each matrix the card holds the same part as of its bytes
    rest = ((m, size) for m, size in held if m.cut is not Cut.EXPERTS and m.stored_bytes)
    return left * sum(
        max(0.0, size / m.stored_bytes * m.elements * WIDEST_REST - found.scale * size)
        for m, size in rest
    )


def _share_on_host(facts: ModelFacts, settings: EngineSettings) -> float:
    """Of all experts, those that lie in host memory."""
    experts = [m for m in loaded(facts, settings) if m.cut is Cut.EXPERTS]
    there = sum(m.stored_bytes for m in experts if is_on_host(m, settings))
    return there / sum(m.stored_bytes for m in experts) if there else 0.0


def host_gib(facts: ModelFacts, settings: EngineSettings) -> Amount | None:
    """GiB of experts that llama.cpp keeps in host memory; None where it keeps none there."""
    there = [m for m in loaded(facts, settings) if is_on_host(m, settings)]
    found = calibration(facts)
    size = sum(found.of(matrix) * matrix.stored_bytes for matrix in there) / GIB
    uneven = UNEVEN * size * (1 - _share_on_host(facts, settings))
    narrower = 0.0 if found.rest is not None else NARROWEST_EXPERTS * size
    amount = spanning(within(size, found.error), found.least, found.most)
    low, high = amount.low - max(uneven, narrower), amount.high + uneven
    return Amount(amount.value, low, high) if there else None


UNEVEN = 0.1
"""Of some layers' experts: types mix, as first and last layers take wider ones (a sixth of the
experts of a `Q4_K_M` are 7 % more than a sixth)."""
NARROWEST_EXPERTS = 0.05
"""Of experts by the average width of a GGUF, whose other matrices are wider: 18.1 GiB of 18.8 in a
Qwen3.6-35B-A3B Q4_K_M, 39.5 of 40.2 in gpt-oss-120b."""


def _keys_as_values(
    facts: ModelFacts, settings: EngineSettings, held: Iterable[tuple[Matrix, float]]
) -> Amount:
    """GiB of keys that an engine keeps once more in the place of values which the file spares:
    Gemma 4 31B 0.2, of the 0.26 and 0.29 that vLLM printed beyond what is stored. SGLang: unseen.
    """
    layers = {
        number
        for number, layer in enumerate(facts.layers)
        if isinstance(layer.mixer, Attention) and layer.mixer.keys_are_values
    }
    same = (size for m, size in held if m.layer in layers and m.name.endswith("k_proj"))
    copied = sum(same) / GIB if settings.engine is not Engine.LLAMA_CPP else 0.0
    return Amount(copied if settings.engine is Engine.VLLM else 0.0, 0.0, copied)


AGAIN, AGAIN_LEAST, AGAIN_MOST = 1.0, 0.5, 1.3
"""Of the attention of V4 on a rank, that vLLM holds beside what is stored, as if its matrices of 8
bits were kept in 16: V4-Flash on 8, 4 and 2 ranks 1.26, 1.55 and 2.4 GiB of 1.08, 1.35 and 1.88,
V4-Pro on 8 ranks 2.5 of 3.3, V4.1-Flash on 4 and 8 ranks 1.5 of 1.8 and 0.8 of 1.5 (0.23 to 0.31).
"""


def _compressed_again(
    facts: ModelFacts, settings: EngineSettings, held: Iterable[tuple[Matrix, float]]
) -> Amount:
    """GiB that matrices of attention over a compressed cache take beside what is stored."""
    compressed = {
        at for at, layer in enumerate(facts.layers) if isinstance(layer.mixer, Compressed)
    }
    if not compressed or settings.engine is Engine.LLAMA_CPP:
        return exact(0.0)
    own = (size for m, size in held if m.part is Part.MIXER and m.layer in compressed)
    size = sum(own) / GIB
    known = settings.engine is Engine.VLLM
    return Amount(AGAIN * size if known else 0.0, AGAIN_LEAST * size * known, AGAIN_MOST * size)


def _rank_bytes(facts: ModelFacts, settings: EngineSettings, matrix: Matrix) -> float:
    ranks, stored = max(1, settings.tensor_parallel), matrix.stored_bytes
    if matrix.part is Part.MIXER:
        ranks = settings.attention_ranks
    if settings.engine is Engine.LLAMA_CPP:
        return stored * _share_of_card(settings, matrix)
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


def _share_of_card(settings: EngineSettings, matrix: Matrix) -> float:
    """Of a matrix that lies there, in part or whole."""
    held = settings.portion
    if held is None:
        return settings.fullest_share
    if held.spread is None or matrix.cut is Cut.EXPERTS:
        return held.rows
    return held.spread


def _expert_bytes(
    facts: ModelFacts, settings: EngineSettings, matrix: Matrix, stored: float
) -> float:
    parts = settings.expert_ranks * settings.expert_shards
    return stored / parts * padding(facts.hidden, matrix, settings)
