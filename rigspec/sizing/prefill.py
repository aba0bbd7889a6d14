"""Prompt processing: arithmetic against the card's 16-bit peak, and all-reduces of full batches."""

from __future__ import annotations

from dataclasses import dataclass

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Latent
from rigspec.sizing.all_reduce import PEER_PCIE, Link
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.power import speed_at_cap
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Bottleneck, Speed, Step

PEAK_TFLOPS: dict[tuple[int, int], float] = {
    (6, 1): 0.2, (7, 0): 0.125, (7, 5): 0.09, (8, 0): 0.153, (8, 6): 0.076, (8, 9): 0.164,
    (9, 0): 0.295, (10, 0): 0.281, (12, 0): 0.14, (12, 1): 0.45,
}  # fmt: skip
"""Dense 16-bit TFLOP/s per GB/s of memory bandwidth: the ratio of each generation's parts
(3090 71/936, 4090 165/1008, H100 989/3350, 5090 210/1792 rounded up for fp16 accumulate)."""


@dataclass(frozen=True)
class PrefillFit:
    """Share of the 16-bit peak that a prefill reaches."""

    utilisation: float
    spread: float


PREFILL = {
    (Engine.VLLM, "dense"): PrefillFit(0.45, 0.35),
    (Engine.VLLM, "experts"): PrefillFit(0.20, 0.6),
    (Engine.SGLANG, "dense"): PrefillFit(0.45, 0.35),
    (Engine.SGLANG, "experts"): PrefillFit(0.20, 0.6),
    (Engine.LLAMA_CPP, "dense"): PrefillFit(0.50, 0.35),
    (Engine.LLAMA_CPP, "experts"): PrefillFit(0.25, 0.6),
}


def prefill(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    *,
    prompt: int,
    link: Link = PEER_PCIE,
) -> Speed | None:
    """Prompt tokens per second of one long prompt; None when the card's peak is not known."""
    ratio = PEAK_TFLOPS.get(card.compute) if card.compute else None
    if not card.bandwidth_gb_s or ratio is None:
        return None
    fit = PREFILL[settings.engine, "experts" if facts.has_experts else "dense"]
    ranks = max(1, settings.tensor_parallel)
    layered = settings.engine is Engine.LLAMA_CPP and settings.split != "tensor"
    peak = ratio * card.bandwidth_gb_s * 1e12 * (1 if layered else ranks)
    arithmetic = (2 * active_elements(facts) + _score_flops(facts, prompt)) / (
        peak * fit.utilisation
    )
    reduce_us = (
        0.0
        if layered
        else 2 * len(facts.layers) * link.all_reduce_us(2048 * facts.hidden * 2, ranks) / 2048
    )
    seconds = arithmetic + reduce_us / 1e6
    tok_s = 1 / seconds * speed_at_cap(card, "prefill").value
    linked = reduce_us / 1e6 > arithmetic
    return Speed(
        Amount(tok_s, tok_s / (1 + fit.spread), tok_s * (1 + fit.spread)),
        Step(arithmetic * 1e3, 0.0, 0.0, reduce_us / 1e3),
        Bottleneck.LINK if linked else Bottleneck.COMPUTE,
        f"fit for {settings.engine.value}",
    )


def active_elements(facts: ModelFacts) -> float:
    """Weight elements one token meets, embeddings and drafts left out."""
    skipped = (Part.EMBEDDING, Part.VISION, Part.DRAFT, Part.TABLE, Part.HEAD)
    return sum(m.elements * m.active_fraction for m in matrices(facts) if m.part not in skipped)


def _score_flops(facts: ModelFacts, prompt: int) -> float:
    """Attention scores and values per token, averaged over a prompt."""
    found = 0.0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            reach = min(prompt / 2, mixer.window) if mixer.window else prompt / 2
            found += 2 * mixer.heads * (mixer.head_dim + mixer.v_dim) * reach
        elif isinstance(mixer, Latent):
            reach = min(prompt / 2, mixer.index_topk) if mixer.index_topk else prompt / 2
            found += 2 * mixer.heads * (mixer.record_width + mixer.kv_rank) * reach
    return found
