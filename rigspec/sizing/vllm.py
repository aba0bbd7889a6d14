"""vLLM's memory budget per GPU, term by term, for the versions whose logs were read.

    available = total × fraction − weights − peak activation − non-torch − estimated graphs

The identity holds to the print's rounding in every log that prints all terms. The terms below are
fitted to printed logs of vLLM 0.11–0.33; each constant says what it stands for and on what it
rests. A version nobody measured takes the nearest rule with a wider band.
"""

from __future__ import annotations

from dataclasses import dataclass

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Experts, Latent, Mamba
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, about, exact, within
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings
from rigspec.units import GIB

MIB = 1 << 20
KIB = 1 << 10

DEFAULT_FRACTION = {(0, 0): 0.90, (0, 24): 0.92}
"""`--gpu-memory-utilization` when unset, by first version."""

SAMPLER_BYTES = {(0, 0): 14.3, (0, 11): 38.6, (0, 17): 14.3}
"""Bytes per (sequence × vocabulary entry) of the sampler's dummy run: fp32 copies of the logits.
38.6 fits Llama, Qwen3 and gpt-oss on 0.11–0.16 (4 boots), 14.3 on 0.17–0.19 (59 boots)."""
SAMPLER_BASE_GIB = 0.14

MOST_GRAPH = 8192
"""A larger capture size is a slip."""

GRAPHS_DEDUCTED = (0, 21)
NEW_ACTIVATION = (0, 21)
"""From here on activations follow allocator histories of 0.29/0.30 (28 boots)."""

CONTEXT_GIB = {1: 0.5, 2: 1.75}
"""CUDA context of the engine's processes: one GPU, several GPUs."""


@dataclass(frozen=True)
class Batch:
    """Tokens and sequences of the largest step."""

    tokens: int
    seqs: int
    stated: bool


def batch_of(settings: EngineSettings, card: Card) -> Batch:
    """What the owner set, else the defaults vLLM takes for the card."""
    large = card.is_large
    tokens = settings.max_batched_tokens or (8192 if large else 2048)
    seqs = settings.max_seqs or (1024 if large else 256)
    explicit = settings.max_batched_tokens is not None and settings.max_seqs is not None
    stated = explicit or (large and settings.version is not None and settings.version >= (0, 10))
    return Batch(tokens, seqs, stated)


def fraction_of(settings: EngineSettings) -> float:
    """The share of the card the engine may take."""
    if settings.memory_fraction is not None:
        return settings.memory_fraction
    return since(DEFAULT_FRACTION, settings.version)


def requested(settings: EngineSettings, card: Card) -> Amount:
    """GiB the engine may take; an unknown version may still have had the older default."""
    share = card.total.times(fraction_of(settings))
    if settings.memory_fraction is None and settings.version is None:
        oldest = min(DEFAULT_FRACTION.values()) * card.total.value
        return Amount(share.value, min(share.low, oldest), share.high)
    return share


def draft_doubt(settings: EngineSettings) -> Amount:
    """GiB that a separate drafter of unstated size and its cache may take."""
    spec = settings.speculative
    if spec is None or spec.draft_gib or spec.method in ("mtp", "ngram"):
        return exact(0.0)
    return Amount(0.0, 0.0, 2.5)


def since(table: dict[tuple[int, int], float], version: tuple[int, int] | None) -> float:
    """The entry of the newest version not after `version`; the newest when that is unknown."""
    fitting = [key for key in table if version is None or key <= version]
    return table[max(fitting)]


def peak_activation(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB of the largest dummy step."""
    batch = batch_of(settings, card)
    version = settings.version
    if version is not None and version < NEW_ACTIVATION:
        return _old_activation(facts, settings, batch)
    return _new_activation(facts, settings, batch)


def _old_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """vLLM up to 0.20: the sampler's copies or the widest forward layer."""
    per_entry = since(SAMPLER_BYTES, settings.version)
    logits = per_entry * batch.seqs * facts.vocab / GIB + SAMPLER_BASE_GIB
    logits += expert_workspace(facts, settings, batch) / GIB
    forward = 2 * batch.tokens * (3 * facts.hidden + 3 * _width(facts, settings)) / GIB
    forward = max(forward, sparse_logits(facts, settings, batch) / GIB)
    if settings.pipeline_parallel > 1:
        return about(forward + 0.2, 0.15)  # the printed stage holds no head
    doubt = 0.26 + (0.2 if facts.vision is not None and not settings.language_only else 0.0)
    return about(max(logits, forward), doubt if batch.stated else doubt + 0.4)


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


def _new_activation(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> Amount:
    """vLLM 0.29/0.30: the largest of compilation, forward and sampler transients."""
    ranks, b = max(1, settings.tensor_parallel), facts.dtype_bytes
    residual = batch.tokens * facts.hidden * b
    table = facts.vocab * facts.hidden * b
    logits = batch.seqs * facts.vocab * b * (2 if facts.soft_cap else 1)
    sampler = logits + residual if ranks == 1 else (2 * logits + logits / ranks + residual)
    forward = max(_forward(facts, settings, batch), sparse_logits(facts, settings, batch))
    text_only = facts.vision is None
    compiles = ranks == 1 and text_only and not settings.eager
    compile_time = table + 2 * residual if compiles else 0.0
    # about half of one-GPU text boots keep the compile transient: the middle is the better guess
    peak = max(forward, sampler)
    scratch = _state_scratch(facts, settings, batch)
    low = peak + 0.5 * scratch
    high = max(peak, compile_time) + 1.8 * scratch
    value = (max(peak, compile_time) if compile_time else peak) + scratch
    slack = (0.1 if facts.known else 0.5) * GIB
    if settings.version is None:
        slack += 0.3 * GIB
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


def _state_scratch(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Chunked-scan buffers of delta-net layers: 40 B × tokens × value width (three boots)."""
    ranks = max(1, settings.tensor_parallel)
    widths = [
        layer.mixer.value_heads * layer.mixer.value_dim
        for layer in facts.layers
        if isinstance(layer.mixer, Delta)
    ]
    return 40.0 * batch.tokens * max(widths, default=0) / ranks


def non_torch(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB outside the allocator: NCCL and all-reduce buffers, library workspaces."""
    batch, version = batch_of(settings, card), settings.version
    ranks = settings.tensor_parallel
    if version is not None and version < (0, 21):
        alone = 0.25 if version >= (0, 18) else 0.13
        if version < (0, 8):
            return about(alone + 0.8, 0.9)  # V0 profiled other processes too: 0.16 and 1.79 seen
        if ranks > 1:
            if card.nvlink and version >= (0, 18):
                return about(2.10, 0.15)
            return about(alone + 0.42, 0.35)
        return about(0.07, 0.1) if settings.pipeline_parallel > 1 else about(alone, 0.08)
    sampler = batch.seqs * (facts.vocab + 2 * -(-facts.vocab // 32)) * 4
    workspace = (307 if card.compute and card.compute >= (9, 0) else 112) * MIB
    alone = (sampler + workspace) / GIB
    if ranks > 1:
        return about(0.85 if card.nvlink else 0.55, 0.3)
    return about(alone, 0.15)


def graph_sizes(settings: EngineSettings, seqs: int) -> tuple[int, ...]:
    """Batch sizes captured: 1, 2, 4, then by 8 to 256, then by 16 to the cap."""
    drafts = settings.speculative.depth if settings.speculative else 0
    cap = min(
        settings.max_graph_size or 2 * seqs * (1 + drafts),
        512 if not settings.max_graph_size else 8192,
    )
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, cap + 1, 16))
    return tuple(size for size in sizes if size <= cap)


def graph_estimate(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB the engine sets aside for CUDA graphs before it sizes the pool; 0 before 0.21."""
    if settings.eager:
        return exact(0.0)
    asked = settings.estimates_graphs
    version = settings.version
    if asked is None:
        asked = version is None or version >= GRAPHS_DEDUCTED
    if not asked:
        return exact(0.0)
    batch = batch_of(settings, card)
    full = [size for size in graph_sizes(settings, batch.seqs) if size <= batch.seqs]
    each = (537 if card.compute and card.compute >= (9, 0) else 374) * KIB
    if facts.is_latent:
        each = int(1.39 * MIB)
    estimate = len(facts.layers) * len(full) * each / GIB
    if settings.speculative is not None:
        estimate = min(estimate, 0.15)  # piecewise graphs only
    return Amount(estimate, estimate * 0.4, estimate * 1.1)


def graph_actual(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB the graphs really take: the estimate over 1.0–2.6, measured 0.5–1.9 on large models."""
    if settings.eager:
        return exact(0.0)
    batch = batch_of(settings, card)
    sizes = graph_sizes(settings, batch.seqs)
    value = len(facts.layers) * len(sizes) * 280 * KIB / GIB + 0.1
    return Amount(value, 0.4 * value, 1.8 * value)


def late_gib(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """GiB that grow after the pool is sized, outside every budget."""
    batch = batch_of(settings, card)
    late = 1.3 * _state_scratch(facts, settings, batch) / GIB
    if settings.speculative is not None:
        late += 0.75 if settings.speculative.method == "dflash" else 0.3
    return late


def context_overhead(settings: EngineSettings) -> Amount:
    """GiB of CUDA contexts, outside the engine's budget."""
    return within(CONTEXT_GIB[2 if settings.tensor_parallel > 1 else 1], 0.3)
