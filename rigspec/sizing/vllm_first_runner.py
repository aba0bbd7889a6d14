"""Activations in vLLM's first model runner: the sampler's copies, the widest layer, a dummy image.

Fits: 59 boots of 0.19, 4 of 0.11–0.16 on H100, 20 of 0.20–0.28.
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.vllm_batch import (
    CUT_SINCE,
    FIRST_V1,
    LOGITS_BUDGET,
    Batch,
    batch_of,
    dense_width,
    expert_workspace,
    since,
    sparse_logits,
    state_scratch,
)
from rigspec.sizing.vllm_runner import has_second_runner
from rigspec.units import GIB

SAMPLER_BYTES = {(0, 0): 14.3, (0, 8): 38.6, (0, 17): 14.3}
"""Bytes per (sequence × vocabulary entry) of the sampler's dummy run: fp32 copies of the logits.
38.6 fits Llama, Qwen3 and gpt-oss on 0.9–0.16 (5 boots), 14.3 on 0.17–0.24 (66 boots)."""

SAMPLER_BASE_GIB = 0.14

SORTED_BYTES = 12
"""What a sort adds per entry: 32-bit values, 64-bit indices. 72B FP8 on two cards ran out of memory
there, at 0.95 with 1,024 requests (0.13); vLLM has a message of its own for it."""

FLASHINFER_BYTES = 8.0
"""The same where FlashInfer is installed, which those versions then sampled with: no sorted copies
(four boots of 0.10 on A100, whose logs say so)."""

SCRATCH_SINCE = (0, 20)
"""27B and 35B-A3B with batches of 2,048 to 8,192 tokens: 0.5 to 2.7 GiB more than text (0.20 to
0.26, nine boots), nothing in four of 0.18 and 0.19."""

IMAGE_BYTES = 230 * 1024

IMAGE_TOKENS = {(0, 0): 16384, (0, 11): 24576, (0, 17): 16384}
"""Most of what a dummy image took per token of the encoder's budget, which is the batch or the
largest image if that is larger (Qwen's). Boots of 0.19 and 0.20: Gemma 4 200 KiB at 8,192 tokens
and 225 at 16,384, Qwen3.6 195; others show less than their text or sampler. With the first Qwen3-VL
came whole videos: 30B-A3B took 2.1 and 3.4 GiB more than its text (0.11)."""


def first_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """GiB of the sampler's copies or of the widest layer, whichever is more."""
    per_entry = since(SAMPLER_BYTES, settings.version)
    logits = per_entry * batch.seqs * facts.vocab / GIB + SAMPLER_BASE_GIB
    logits += expert_workspace(facts, settings, batch) / GIB
    forward = 2 * batch.tokens * (3 * facts.hidden + 3 * dense_width(facts, settings)) / GIB
    scores = _scores(facts, settings, batch) / GIB
    forward = max(forward, scores)
    if settings.pipeline_parallel > 1:
        return _of_stage(settings, about(forward + 0.2, 0.15))
    doubt = 0.25 + (0.08 if facts.vision is not None and not settings.language_only else 0.0)
    if facts.quantization.scheme is Scheme.INT8 or facts.dtype_bytes == 4:
        doubt += 0.15  # scratch of int8 kernels, wider logits: one boot each
    doubt += 0.4 * scores  # images of one rig differ by 3 GiB
    found = about(max(logits, forward), doubt if batch.stated else doubt + 0.4)
    lean = _lean_sampler(facts, settings, batch, logits)
    text = Amount(found.value, min(found.low, max(lean, forward) - doubt), found.high)
    return text + _old_scratch(facts, settings, batch)


def _of_stage(settings: EngineSettings, stage: Amount) -> Amount:
    """The printed stage holds no head; two boots of 31B on two 3090s took 2 GiB more (0.21)."""
    newer = settings.version is not None and settings.version >= SCRATCH_SINCE
    return replace(stage, high=stage.high + 2.0) if newer else stage


def _scores(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of sparse attention's scores, whole before `CUT_SINCE`."""
    whole = sparse_logits(facts, settings, batch)
    cut = settings.version is not None and settings.version >= CUT_SINCE
    return min(whole, LOGITS_BUDGET) if cut else whole


def _old_scratch(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """GiB of the delta nets' buffers, which profiles show from `SCRATCH_SINCE` on."""
    if settings.version is None or settings.version < SCRATCH_SINCE:
        return exact(0.0)
    scratch = state_scratch(facts, settings, batch) / GIB
    return Amount(scratch, 0.5 * scratch, 1.8 * scratch)


def _lean_sampler(
    facts: ModelFacts, settings: EngineSettings, batch: Batch, logits: float
) -> float:
    """GiB of the sampler's step where FlashInfer may have been installed beside vLLM."""
    if not _sorts(settings):
        return logits
    spared = since(SAMPLER_BYTES, settings.version) - FLASHINFER_BYTES
    return logits - spared * batch.seqs * facts.vocab / GIB


def _sorts(settings: EngineSettings) -> bool:
    """Whether sampling sorts the whole vocabulary, unless FlashInfer does it."""
    version = settings.version
    most = max(SAMPLER_BYTES, key=lambda first: SAMPLER_BYTES[first])
    newer = min(first for first in SAMPLER_BYTES if first > most)
    return version is not None and most <= version < newer


def warm_up_gib(settings: EngineSettings, batch: Batch, vocab: int) -> float:
    """GiB of one sort in the warm-up of the sampler, which runs once pool and graphs are there."""
    return SORTED_BYTES * batch.seqs * vocab / GIB if _sorts(settings) else 0.0


def with_image(facts: ModelFacts, settings: EngineSettings, batch: Batch, text: Amount) -> Amount:
    """The text's step, or the dummy image's if that is larger: an upper bound, as few print it."""
    if facts.vision is None or settings.language_only:
        return text
    tokens = max(batch.tokens, since(IMAGE_TOKENS, settings.version))
    if settings.version is not None and settings.version < FIRST_V1:
        whole = settings.context or facts.max_positions or 0
        tokens = max(tokens, whole)  # prompts were never cut: images fill a whole request
    image = IMAGE_BYTES * tokens / GIB
    return Amount(text.value, text.low, max(text.high, image))


def video_bytes(batch: Batch) -> float:
    """The most that a dummy image or video took in any release."""
    return IMAGE_BYTES * max(batch.tokens, *IMAGE_TOKENS.values())


def last_stage_gap(facts: ModelFacts, settings: EngineSettings, card: Card) -> float:
    """GiB less on the last pipeline stage, which samples, than on the stage whose line is printed.

    The smallest pool rules: two boots of Llama-3.1-8B at PP 2 and 4 lose 0.91 GiB this way. The
    second runner's sampler is small (32B at PP 2, 0.27.1: the printed pool is the smallest).
    """
    if settings.pipeline_parallel <= 1 or has_second_runner(facts, settings):
        return 0.0
    batch = batch_of(facts, settings, card)
    logits = since(SAMPLER_BYTES, settings.version) * batch.seqs * facts.vocab / GIB
    forward = 2 * batch.tokens * (3 * facts.hidden + 3 * dense_width(facts, settings)) / GIB
    return max(0.0, logits - forward)
