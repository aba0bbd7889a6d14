"""vLLM's largest dummy step: batch defaults and the peak of its activations, by version.

Fits: 59 boots of 0.19 and 4 of 0.11–0.16 on H100, 28 allocator histories of 0.29/0.30.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Experts, Latent, Mamba
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.vllm_runner import has_second_runner
from rigspec.units import GIB, MIB

SAMPLER_BYTES = {(0, 0): 14.3, (0, 8): 38.6, (0, 17): 14.3}
"""Bytes per (sequence × vocabulary entry) of the sampler's dummy run: fp32 copies of the logits.
38.6 fits Llama, Qwen3 and gpt-oss on 0.9–0.16 (5 boots), 14.3 on 0.17–0.19 (59 boots)."""
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

FIRST_V1, LAST_V0 = (0, 8), (0, 10)
"""From the first on V1 is the default: its defaults depend on the card, and prompts are always cut
into chunks. Cards before Ampere ran V0 up to the last (`arg_utils.py`)."""
LEAST_BATCH, LONGEST_PROMPT = 2048, 32768
"""Before that: tokens of the largest step are the context, within these (`vllm/config.py`, 0.6)."""


@dataclass(frozen=True)
class Batch:
    """Tokens and sequences of the largest step."""

    tokens: int
    seqs: int
    stated: bool


def batch_of(settings: EngineSettings, card: Card) -> Batch:
    """What the owner set, else the defaults vLLM takes for the card."""
    if runs_old_engine(settings, card):
        return _old_batch(settings)
    large = card.is_large
    tokens = settings.max_batched_tokens or (8192 if large else 2048)
    seqs = settings.max_seqs or (1024 if large else 256)
    explicit = settings.max_batched_tokens is not None and settings.max_seqs is not None
    stated = explicit or (large and settings.version is not None and settings.version >= (0, 10))
    return Batch(tokens, seqs, stated)


def runs_old_engine(settings: EngineSettings, card: Card) -> bool:
    """Whether a vLLM of that version runs its first engine (V0) on the card."""
    version = settings.version
    if version is None:
        return False
    before_ampere = card.compute is not None and card.compute < (8, 0)
    return version < FIRST_V1 or (before_ampere and version[:2] <= LAST_V0)


def _old_batch(settings: EngineSettings) -> Batch:
    """V0 took a whole prompt in one step, up to where prompts were cut into chunks."""
    context = settings.context or 0
    whole = context if LEAST_BATCH < context <= LONGEST_PROMPT else LEAST_BATCH
    explicit = settings.max_batched_tokens is not None and settings.max_seqs is not None
    return Batch(settings.max_batched_tokens or whole, settings.max_seqs or 256, explicit)


def since(table: Mapping[tuple[int, int], float], version: tuple[int, ...] | None) -> float:
    """The entry of the newest version not after `version`; the newest when that is unknown."""
    fitting = [key for key in table if version is None or key <= version]
    return table[max(fitting)]


def peak_activation(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB of the largest dummy step."""
    asked = replace(settings, context=settings.context or facts.max_positions)
    batch = batch_of(asked, card)
    if has_second_runner(facts, settings):
        return _new_activation(facts, settings, batch)
    return _with_image(facts, settings, batch, _old_activation(facts, settings, batch))


def _old_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """vLLM up to 0.20: the sampler's copies or the widest forward layer."""
    per_entry = since(SAMPLER_BYTES, settings.version)
    logits = per_entry * batch.seqs * facts.vocab / GIB + SAMPLER_BASE_GIB
    logits += expert_workspace(facts, settings, batch) / GIB
    forward = 2 * batch.tokens * (3 * facts.hidden + 3 * _width(facts, settings)) / GIB
    scores = old_scores(facts, settings, batch) / GIB
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


def old_scores(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of sparse attention's scores in the first runner, whole before `CUT_SINCE`."""
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


def _with_image(facts: ModelFacts, settings: EngineSettings, batch: Batch, text: Amount) -> Amount:
    """The text's step, or the dummy image's if that is larger: an upper bound, as few print it."""
    if facts.vision is None or settings.language_only:
        return text
    image = IMAGE_BYTES * max(batch.tokens, since(IMAGE_TOKENS, settings.version)) / GIB
    return Amount(text.value, text.low, max(text.high, image))


def last_stage_gap(facts: ModelFacts, settings: EngineSettings, card: Card) -> float:
    """GiB less on the last pipeline stage, which samples, than on the stage whose line is printed.

    The smallest pool rules: two boots of Llama-3.1-8B at PP 2 and 4 lose 0.91 GiB this way.
    """
    if settings.pipeline_parallel <= 1:
        return 0.0
    batch = batch_of(settings, card)
    logits = since(SAMPLER_BYTES, settings.version) * batch.seqs * facts.vocab / GIB
    forward = 2 * batch.tokens * (3 * facts.hidden + 3 * _width(facts, settings)) / GIB
    return max(0.0, logits - forward)


def sparse_logits(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of the indexer's scores in sparse attention: fp32 for every (token, context) pair.

    Two images of GLM-5.1 on the same rig differ by 4.84 GiB between contexts 65,536 and 202,752.
    """
    pools = [
        facts.index_pool
        for layer in facts.layers
        if isinstance(layer.mixer, Latent) and layer.mixer.index_topk
    ]
    context = settings.context or facts.max_positions or 0
    return 4.0 * batch.tokens * context / pools[0] if pools else 0.0


CUT_SINCE, LOGITS_BUDGET = (0, 21), 512 * MIB
"""vLLM cuts a prompt so that these scores stay below (`VLLM_SPARSE_INDEXER_MAX_LOGITS_MB`, pull
request 36178): GLM-5.2 on eight H20 and GLM-5.3 on four B200 kept 8 to 24 GiB more than whole
scores leave. Forks of 0.20 did not cut."""


def _new_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """vLLM 0.29/0.30: the largest of compilation, forward and sampler transients."""
    ranks, b = max(1, settings.tensor_parallel), facts.dtype_bytes
    residual = batch.tokens * facts.hidden * b
    table = facts.vocab * facts.hidden * b
    logits = batch.seqs * facts.vocab * b * (2 if facts.soft_cap else 1)
    sampler = logits + residual if ranks == 1 else (2 * logits + logits / ranks + residual)
    widest = _forward(facts, settings, batch)
    whole = sparse_logits(facts, settings, batch)
    forward = max(widest, min(whole, LOGITS_BUDGET))
    text_only = facts.vision is None
    compiles = ranks == 1 and text_only and not settings.eager
    compile_time = table + 2 * residual if compiles else 0.0
    # about half of one-GPU text boots keep the compile transient: the middle is the better guess
    peak = max(forward, sampler)
    scratch = state_scratch(facts, settings, batch)
    # an image of unknown version may be a fork that scores whole prompts
    low = (max(widest, sampler) if settings.version is None else peak) + 0.5 * scratch
    high = max(peak, compile_time) + 1.8 * scratch
    if settings.version is None:
        high = max(high, whole)
    value = (max(peak, compile_time) if compile_time else peak) + scratch
    slack = (0.1 if facts.known else 0.5) * GIB
    if settings.version is None:
        slack += 0.4 * GIB
    if facts.vision is not None and not settings.language_only:
        high += 0.6 * GIB
        value += 0.1 * GIB
    return Amount(value / GIB, (low - slack) / GIB, (high + slack) / GIB)


def _forward(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes alive in the widest layer of a full batch."""
    ranks, b = max(1, settings.tensor_parallel), facts.dtype_bytes
    attention = 0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            attention = max(attention, mixer.heads // ranks * mixer.v_dim)
        elif isinstance(mixer, Latent):
            wide = mixer.heads // ranks * (mixer.nope_dim + mixer.rope_dim)
            attention = max(attention, 5 * wide + 7 * facts.hidden + 2 * mixer.kv_rank)
        elif isinstance(mixer, Mamba):
            attention = max(attention, 2 * (2 * mixer.inner + facts.hidden) // ranks)
    streams = 2 + 2 * (facts.hyper_streams - 1)
    rows = attention + streams * facts.hidden + 3 * _width(facts, settings)
    bytes_alive = batch.tokens * rows * b + expert_workspace(facts, settings, batch)
    return float(bytes_alive + _context_dummy(facts, settings, batch))


def _context_dummy(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Expanded keys and values of a dummy prefix in dense latent attention (up to 64 Ki tokens)."""
    context = settings.context or facts.max_positions or 65536
    length = min(max(8 * context, 4 * batch.seqs * 64), 65536)
    widths = [
        layer.mixer.heads * (layer.mixer.nope_dim + layer.mixer.v_dim)
        for layer in facts.layers
        if isinstance(layer.mixer, Latent) and not layer.mixer.index_topk
    ]
    return length * max(widths, default=0) / max(1, settings.tensor_parallel) * facts.dtype_bytes


def _width(facts: ModelFacts, settings: EngineSettings) -> float:
    """Widest dense feed-forward part of one rank."""
    ranks = max(1, settings.tensor_parallel)
    widths = [layer.mlp.width for layer in facts.layers if layer.mlp]
    widths += [layer.experts.shared_width for layer in facts.layers if layer.experts]
    return max(widths, default=0) / ranks


def expert_workspace(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of the routed experts' intermediate buffers (modular fused-MoE kernels)."""
    experts = _experts(facts)
    if experts is None or facts.quantization.scheme is Scheme.MXFP4:
        return 0.0
    ranks = 1 if settings.expert_parallel else max(1, settings.tensor_parallel)
    width, hidden = experts.width / ranks, experts.latent or facts.hidden
    rows = batch.tokens * experts.active
    return rows * (max(width, hidden) + max(2 * width, hidden)) * 2


def _experts(facts: ModelFacts) -> Experts | None:
    return next((layer.experts for layer in facts.layers if layer.experts), None)


def state_scratch(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Chunked-scan buffers of delta-net layers: 40 B × tokens × value width (three boots)."""
    ranks = max(1, settings.tensor_parallel)
    widths = [
        layer.mixer.value_heads * layer.mixer.value_dim
        for layer in facts.layers
        if isinstance(layer.mixer, Delta)
    ]
    return 40.0 * batch.tokens * max(widths, default=0) / ranks
