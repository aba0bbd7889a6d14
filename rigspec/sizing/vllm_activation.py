"""The peak of vLLM's activations: which runner's rule, and that of the second.

Fits: 28 allocator histories of 0.29/0.30, 8 boots of 0.28.
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Compressed, Latent, Mamba
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.vllm_batch import (
    LOGITS_BUDGET,
    Batch,
    batch_of,
    dense_width,
    expert_workspace,
    sparse_logits,
    state_scratch,
)
from rigspec.sizing.vllm_first_runner import first_activation, video_bytes, with_image
from rigspec.sizing.vllm_runner import has_second_runner
from rigspec.units import GIB


def peak_activation(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB of the largest dummy step."""
    asked = replace(settings, context=settings.context or facts.max_positions)
    batch = batch_of(facts, asked, card)
    # V4-Flash takes the second runner's in 0.26, too
    if has_second_runner(facts, settings) or facts.is_compressed:
        return _new_activation(facts, settings, batch)
    found = first_activation(facts, settings, batch)
    if settings.version is not None and settings.version >= COMPILES_SINCE:
        # a cache of compiled code that is there already keeps it down: 0.33 and 1.46 GiB of one
        # 32B, 0.45 and 1.45 of an 8B
        found = replace(found, high=max(found.high, _compilation(facts, settings, batch) / GIB))
    return with_image(facts, settings, batch, found)


COMPILES_SINCE = (0, 20)
"""Boots of 7B in 4 bits on a 3090 (0.22.1) show a second copy of the embedding, which most before
do not; on one GPU, of text."""


def _compilation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes alive while the layers are compiled; 0 where they are not, or on several ranks."""
    if settings.tensor_parallel > 1 or facts.vision is not None or settings.eager:
        return 0.0
    residual = batch.tokens * facts.hidden * facts.dtype_bytes
    return float(facts.vocab * facts.hidden * facts.dtype_bytes + 2 * residual)


def _new_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """vLLM 0.29/0.30: the largest of compilation, forward and sampler transients."""
    ranks, b = max(1, settings.tensor_parallel), facts.dtype_bytes
    residual = batch.tokens * facts.hidden * b
    logits = batch.seqs * facts.vocab * b * (2 if facts.soft_cap else 1)
    sampler = logits + residual if ranks == 1 else (2 * logits + logits / ranks + residual)
    widest = _forward(facts, settings, batch)
    whole = sparse_logits(facts, settings, batch)
    forward = max(widest, min(whole, LOGITS_BUDGET))
    compile_time = _compilation(facts, settings, batch)
    # about half of one-GPU text boots keep the compile transient: the middle is the better guess
    peak = max(forward, sampler)
    scratch = state_scratch(facts, settings, batch)
    # an image of unknown version may be a fork that scores whole prompts
    low = (max(widest, sampler) if settings.version is None else peak) + 0.5 * scratch
    # a segment of the compilation may be held beside the step, outside the allocator's count: 1.7B,
    # gpt-oss-20b and two more of 22 boots lack a table of words more (0.29 and 0.30)
    high = max(peak, compile_time) + compile_time + 1.8 * scratch
    if settings.version is None:
        high = max(high, whole)
    value = (max(peak, compile_time) if compile_time else peak) + scratch
    slack = (0.1 if facts.known else 0.5) * GIB
    if settings.version is None:
        slack += 0.4 * GIB
    if facts.vision is not None and not settings.language_only:
        high += 0.6 * GIB
        value += 0.1 * GIB
        if settings.version is None and facts.vision.deep_outputs:  # Qwen3-VL of an old release
            high = max(high, video_bytes(batch))
    return Amount(value / GIB, (low - slack) / GIB, (high + slack) / GIB)


def _forward(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes alive in the widest layer of a full batch."""
    ranks, b = max(1, settings.tensor_parallel), facts.dtype_bytes
    attention, streams = 0, 2 + 2 * (facts.hyper_streams - 1)
    for layer in facts.unlike:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            attention = max(attention, mixer.heads // ranks * mixer.v_dim)
        elif isinstance(mixer, Latent):
            wide = mixer.heads // ranks * (mixer.nope_dim + mixer.rope_dim)
            attention = max(attention, 5 * wide + 7 * facts.hidden + 2 * mixer.kv_rank)
        elif isinstance(mixer, Compressed):
            heads = max(PADDED_HEADS, mixer.heads // ranks)
            attention = max(attention, 3 * heads * mixer.head_dim)
            streams = MIXED_COPIES * facts.hyper_streams
        elif isinstance(mixer, Mamba):
            attention = max(attention, 2 * (2 * mixer.inner + facts.hidden) // ranks)
    rows = attention + streams * facts.hidden + 3 * dense_width(facts, settings)
    bytes_alive = batch.tokens * rows * b + expert_workspace(facts, settings, batch)
    return float(bytes_alive + _context_dummy(facts, settings, batch))


PADDED_HEADS, MIXED_COPIES = 64, 6
"""Sparse attention over a compressed cache: its kernels take no fewer heads on a rank (queries,
their result and a copy), and three copies of all residual streams are alive in 32 bits (V4-Flash,
V4.1-Flash and V4-Pro at 8,192 tokens 3.1, 3.45 and 4.14 GiB, 0.30; V4-Flash at 4,096 1.66)."""


def _context_dummy(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Expanded keys and values of a dummy prefix in dense latent attention (up to 64 Ki tokens)."""
    context = settings.context or facts.max_positions or 65536
    length = min(max(8 * context, 4 * batch.seqs * 64), 65536)
    widths = [
        layer.mixer.heads * (layer.mixer.nope_dim + layer.mixer.v_dim)
        for layer in facts.unlike
        if isinstance(layer.mixer, Latent) and not layer.mixer.index_topk
    ]
    return length * max(widths, default=0) / max(1, settings.tensor_parallel) * facts.dtype_bytes
