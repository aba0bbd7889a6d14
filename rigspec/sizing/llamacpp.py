"""llama.cpp: weights by layer split, cache cells, recurrent state, compute buffer.

Rules of the b11434 line (`llama-kv-cache.cpp`, `llama-context.cpp`); cache and state formulas are
exact against seven boot logs, the compute buffer is good to ±20 % or 0.3 GiB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Latent, Layer, Mamba
from rigspec.sizing.amount import Amount, about, exact, within
from rigspec.sizing.cards import Card
from rigspec.sizing.matrices import Cut, Matrix, matrices
from rigspec.sizing.overrides import is_moved, name_of_experts
from rigspec.sizing.settings import EngineSettings
from rigspec.units import GIB

CACHE_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes per cached element (`ggml-common.h`)."""


def cache_widths(kv_dtype: str) -> tuple[float, float]:
    """Bytes per element of keys and values, from `q8_0` or `q8_0/q4_0`."""
    words = [
        word
        for word in kv_dtype.lower().replace("/", " ").replace(",", " ").split()
        if word in CACHE_BYTES
    ]
    if not words:
        return 2.0, 2.0
    return CACHE_BYTES[words[0]], CACHE_BYTES[words[-1]]


def on_card(
    loaded: tuple[Matrix, ...], facts: ModelFacts, settings: EngineSettings
) -> tuple[Matrix, ...]:
    """The matrices of the card in question; what belongs to no layer goes with the output."""
    held, output = settings.portion, len(facts.layers)
    here: Iterable[Matrix] = loaded
    if held is not None:
        layers, by_row = held.layers, held.spread is not None
        here = (
            m
            for m in loaded
            if (output if m.layer is None or m.layer > output else m.layer) in layers
            or (by_row and m.cut is not Cut.EXPERTS)
        )
    return tuple(matrix for matrix in here if not is_on_host(matrix, settings))


def is_on_host(matrix: Matrix, settings: EngineSettings) -> bool:
    """Whether it is one of the experts that lie in host memory (`--n-cpu-moe` of `common/arg.cpp`
    overrides the buffer of `ffn_*_exps` of the first blocks)."""
    if matrix.layer is None or matrix.cut is not Cut.EXPERTS:
        return False
    if matrix.layer < settings.host_experts or not settings.overrides:
        return matrix.layer < settings.host_experts
    return is_moved(settings.overrides, name_of_experts(matrix.layer, matrix.name.split(".")[-1]))


def layers_held(facts: ModelFacts, settings: EngineSettings) -> str:
    """`, 21 of 65 layers` on a card of a split by layer; the output is one of them."""
    held = settings.portion
    if held is None or settings.split != "layer":
        return ""
    return f", {len(held.layers)} of {len(facts.layers) + 1} layers"


def cache_gib(facts: ModelFacts, settings: EngineSettings, context: int) -> float:
    """GiB of cache and state over all GPUs for `context` cells."""
    return _cache_of(facts.layers, settings, context)


def card_cache_gib(facts: ModelFacts, settings: EngineSettings, context: int) -> float:
    """GiB of them on the card in question: the cache follows the layers."""
    held, drafts = settings.portion, _draft_cache_gib(settings, context)
    if held is not None:
        own = facts.layers[held.layers.start : held.layers.stop]
        return drafts + held.cache * _cache_of(own, settings, context)
    return drafts + settings.fullest_share * _cache_of(facts.layers, settings, context)


def _draft_cache_gib(settings: EngineSettings, context: int) -> float:
    """GiB of a draft model's own cache, as long as the target's and in 16 bits by default."""
    if settings.speculative is None:
        return 0.0
    plain = replace(settings, kv_dtype="f16")
    ranks = max(1, settings.tensor_parallel)
    return _cache_of(settings.speculative.draft_layers, plain, context) / ranks


def _cache_of(layers: Sequence[Layer], settings: EngineSettings, context: int) -> float:
    key, value = cache_widths(settings.kv_dtype)
    cells = math.ceil(context / 256) * 256
    found = 0.0
    for layer in layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention) and not mixer.shares_cache:
            kept = _window_cells(mixer.window, settings, context) if mixer.window else cells
            found += kept * mixer.kv_heads * (mixer.head_dim * key + mixer.v_dim * value)
        elif isinstance(mixer, Latent):
            found += cells * (mixer.record_width * key + mixer.index_dim * 2)
        elif isinstance(mixer, (Delta, Mamba)):
            found += _state(mixer) * settings.parallel
    return found / GIB


def _window_cells(window: int, settings: EngineSettings, context: int) -> int:
    """Cells of a layer with a window: a batch beyond it for each slot, or in one cache of all slots
    a window for each of them (`llama-kv-cache-iswa.cpp`)."""
    slots = settings.slots
    windows = settings.parallel if slots == 1 else 1
    return slots * min(_pad(math.ceil(context / slots)), _pad(window * windows + settings.ubatch))


def _pad(cells: int) -> int:
    return math.ceil(cells / 256) * 256


def _state(mixer: Delta | Mamba) -> float:
    if isinstance(mixer, Mamba):
        conv = (mixer.kernel - 1) * (mixer.inner + 2 * mixer.groups * mixer.state)
        return 4.0 * (conv + mixer.state * mixer.inner)
    inner = mixer.value_heads * mixer.value_dim
    conv = (mixer.kernel - 1) * (inner + 2 * mixer.key_heads * mixer.key_dim)
    return 4.0 * (conv + mixer.key_dim * inner)


MASK, PIPELINED_MASK = 6, 8
"""Bytes that an attention mask takes for each row of a micro-batch and cell of the context: what is
put in, in 32 bits, and a copy in 16 (9B, 27B, 35B-A3B, gpt-oss-20b at 131,072 to 1,048,576 cells,
eight boots within 5 %); four copies in 16 bits where the layers are split over cards (GLM-5.2 on
four RTX PRO 6000, three contexts), of which an older build had 32 (two 3080s)."""
OLD_PIPELINED_MASK = 16


def compute_gib(
    facts: ModelFacts, settings: EngineSettings, context: int, mask_bytes: int
) -> float:
    """GiB of the largest compute buffer on one GPU: a layer's work beside the mask, or the logits,
    whose room the layers have left by then."""
    rows = settings.ubatch
    scores = 0 if settings.flash_attention else facts.heads * 4
    work = context * (mask_bytes + scores) + 4 * _widest(facts)
    return rows * (max(work, 4 * facts.vocab) + 8 * facts.hidden) / GIB


def _widest(facts: ModelFacts) -> int:
    """Elements per row between the matrices of the widest layer."""
    dense = max((2 * layer.mlp.width for layer in facts.layers if layer.mlp), default=0)
    experts = [layer.experts for layer in facts.layers if layer.experts]
    active = max((e.active * (2 * e.width + facts.hidden) for e in experts), default=0)
    return max(dense, active)


def _mask_bytes(settings: EngineSettings) -> tuple[int, int]:
    """Usually and at most; only a split by layers runs a pipeline."""
    pipelined = settings.tensor_parallel > 1 and settings.split == "layer"
    return (PIPELINED_MASK, OLD_PIPELINED_MASK) if pipelined else (MASK, MASK)


def terms(
    facts: ModelFacts, card: Card, settings: EngineSettings
) -> tuple[tuple[str, Amount, str], ...]:
    """Everything but weights and cache on one GPU."""
    context = settings.context or facts.max_positions or 4096
    compute, most = (compute_gib(facts, settings, context, size) for size in _mask_bytes(settings))
    buffer = about(compute, max(0.3, 0.3 * compute))
    buffer = replace(buffer, high=max(buffer.high, most)) + _draft_compute(settings, compute)
    passing = _passing_gib(facts, settings)
    buffer = Amount(buffer.value + passing / 2, buffer.low, buffer.high + PASSING * passing)
    if facts.is_latent and settings.flash_attention:
        # builds without flash attention for latent heads hold every score of a batch
        scores = facts.heads * settings.ubatch * context * 4 / GIB
        buffer = Amount(buffer.value, buffer.low, buffer.high + scores)
    return (
        ("compute buffer", buffer, "largest graph of one ubatch"),
        *_unpacked_terms(facts, settings, context * settings.slots),
        ("CUDA context", within(0.45, 0.4), "0.3–0.6 GiB per process and GPU"),
    )


PASSING = 1.7
"""Matrices of experts that pass through at once: 1.7 and 1.6 (MiniMax-M2.1 on four 3090s, a 30B in
16 bits on a 4090), 0.7 to 1.0 (GLM-5.2), none beyond the logits' room (gpt-oss, a 35B)."""


def _passing_gib(facts: ModelFacts, settings: EngineSettings) -> float:
    """GiB of the largest matrix of experts in host memory: a prompt's batches bring them to the
    first card, one after the other."""
    first = settings.portion is None or settings.portion.layers.start == 0
    there = (m.stored_bytes for m in matrices(facts) if is_on_host(m, settings))
    return max(there, default=0.0) / GIB if first else 0.0


def _unpacked_terms(
    facts: ModelFacts, settings: EngineSettings, cells: int
) -> tuple[tuple[str, Amount, str], ...]:
    """A quantized cache is unpacked layer by layer before flash attention multiplies it: builds
    from June 2026 on set the room aside, older ones take it as a prompt grows (pull 23907 of
    llama.cpp; 27B with 262,144 cells of q4_0 on a 3090 started and died at 155,000)."""
    if not settings.flash_attention or min(cache_widths(settings.kv_dtype)) >= 2.0:
        return ()
    widths = (
        min(cells, _pad(mixer.window + settings.ubatch) if mixer.window else cells)
        * mixer.kv_heads
        * (mixer.head_dim + mixer.v_dim)
        for layer in facts.layers
        if isinstance(mixer := layer.mixer, Attention)
    )
    ranks = settings.tensor_parallel if settings.split == "tensor" else 1
    gib = 2 * max(widths, default=0) / max(1, ranks) / GIB
    return (("cache unpacked", Amount(gib, 0.0, gib), "16 bits of its largest layer"),)


def _draft_compute(settings: EngineSettings, own_gib: float) -> Amount:
    """GiB of the second context that a drafter runs in, whose mask is as long: 27B with its MTP
    layer on a 5090 asked for 1.17 GiB more at 229,000 tokens, 1.33 at 262,144 (b9851); the same on
    a 5060 Ti had room for half of it."""
    spec = settings.speculative
    if spec is None or spec.method in ("ngram", "unstated"):
        return exact(0.0)
    return Amount(1.2 * own_gib, 0.0, 1.9 * own_gib)


def largest_context(
    facts: ModelFacts, settings: EngineSettings, left_gib: float, limit: int
) -> int:
    """The longest context whose cache fits, in steps of 256 cells."""
    low, high = 0, max(256, limit) // 256
    while low < high:
        middle = (low + high + 1) // 2
        if card_cache_gib(facts, settings, middle * 256 * settings.slots) <= left_gib:
            low = middle
        else:
            high = middle - 1
    return min(low * 256, limit)
