"""Speed of one service: decode, aggregate and prefill, with the bottleneck named.

    step = weight bytes / (η·BW) + cache bytes / (η·BW) + layers × t_layer + all-reduces × t_ar

With many streams the products of the weights take as long as reading them, or longer: the two go
on side by side, √(reading² + arithmetic²), as in a prompt.

η and t_layer are fits per engine and class of model (docs/sizing.md shows their errors); bytes,
bandwidth and all-reduce counts are not.
"""

from __future__ import annotations

import math
from enum import StrEnum

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Latent, Layer, Mamba
from rigspec.frozen import dataclass
from rigspec.sizing.all_reduce import PEER_PCIE, Link
from rigspec.sizing.amount import Amount
from rigspec.sizing.arithmetic import rows_ms
from rigspec.sizing.cards import Card
from rigspec.sizing.hosts import ROW_SLOWER, host_ms, unexplained
from rigspec.sizing.llamacpp import cache_widths
from rigspec.sizing.matrices import Cut, Matrix, Part, matrices
from rigspec.sizing.power import decode_cost
from rigspec.sizing.reading import bytes_per_ms, fit_of, is_limited, layer_us, row_share, wider
from rigspec.sizing.records import attention_token_bytes, latent_token_bytes, state_bytes
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import busiest_share
from rigspec.sizing.stored import calibration


class Bottleneck(StrEnum):
    """What a faster part would speed up most."""

    MEMORY = "memory bandwidth"
    LINK = "link between GPUs"
    LAUNCH = "fixed cost per layer"
    COMPUTE = "compute"
    POWER = "power cap"


SLOW_LAYER_US = {(7, 0): 153.0, (8, 0): 153.0, (9, 0): 115.0, (10, 0): 115.0, (10, 3): 115.0}
"""What a layer's kernels take in llama.cpp on data-centre cards, whose clocks are low: memory is
seldom what bounds them (V100, A100, H100, H200, B300; four models of one author)."""
SLOW_SPREAD = 0.10
"""More doubt where that rules."""


@dataclass(frozen=True)
class Step:
    """One decode step, in milliseconds by cause."""

    weights_ms: float
    cache_ms: float
    layers_ms: float
    link_ms: float
    traffic_ms: float = 0.0
    """The part of `link_ms` that grows with the rows of a step."""
    arithmetic_ms: float = 0.0
    """What the products alone would take, beside which `weights_ms` reads their weights."""

    @property
    def total_ms(self) -> float:
        """The whole step."""
        return self.weights_ms + self.cache_ms + self.layers_ms + self.link_ms


@dataclass(frozen=True)
class Speed:
    """Tokens per second summed over streams, and what bounds them."""

    tok_s: Amount
    step: Step
    bottleneck: Bottleneck
    basis: str


UNEVEN = 1.12
"""Streams served together are that much slower than their steps: prompts come between, and the last
to end run alone (20 of 22 sources 3 to 46 % with 2 to 128 streams, vLLM 0.17 to 0.27)."""


def decode(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    *,
    streams: int = 1,
    context: int = 0,
    link: Link = PEER_PCIE,
) -> Speed | None:
    """Decode speed without speculation; None when the card's bandwidth is not known."""
    if not card.bandwidth_gb_s:
        return None
    fit = fit_of(facts, settings)
    rows = math.ceil(streams / stages(settings))
    step = step_of(facts, card, settings, streams=rows, context=context, link=link)
    cap = decode_cost(card, settings, streams)
    fastest = streams / step.total_ms * 1e3 / (UNEVEN if streams > 1 else 1.0)
    fastest /= ROW_SLOWER if settings.split == "row" else busiest_share(facts, settings, streams)
    tok_s = min(fastest * cap.value, streams / host_ms(facts, settings) * 1e3)
    read, share = calibration(facts), step.weights_ms / step.total_ms
    read_doubt = read.error * step.weights_ms / step.total_ms
    spread = math.hypot(fit.spread, read_doubt) + together_spread(facts, settings, streams)
    spread += 0.0 if facts.known else 0.2
    spread += SLOW_SPREAD if _slow_layer_us(card, settings) or is_limited(card, settings) else 0.0
    fall = max(1 + spread, *unexplained(facts, card, settings, streams, step.total_ms))
    fall *= cap.value / cap.low * (1 + (read.most - 1) * share)
    fall *= 1 + reduces(facts, settings) * link.stall_us / 1e3 / step.total_ms
    rise = (1 + spread) / (1 - (1 - read.least) * share)
    return Speed(
        Amount(tok_s, tok_s / fall, fastest * cap.most * rise),
        step,
        _bottleneck(step, cap.value),
        f"fit for {settings.engine.value}",
    )


def stages(settings: EngineSettings) -> int:
    """Pipeline stages that work at once, each on its share of the streams; llama.cpp's do not."""
    return 1 if settings.engine is Engine.LLAMA_CPP else max(1, settings.pipeline_parallel)


def shards_of(settings: EngineSettings) -> int:
    """Parts that every matrix is cut into; a split by layers cuts none."""
    by_layer = settings.engine is Engine.LLAMA_CPP and settings.split != "tensor"
    return 1 if by_layer else max(1, settings.tensor_parallel)


def reduces(facts: ModelFacts, settings: EngineSettings) -> float:
    """All-reduces of a step: two per layer and one of the embedding."""
    return 2 * block_count(facts) + 1 if shards_of(settings) > 1 else 0


def together_spread(facts: ModelFacts, settings: EngineSettings, streams: int) -> float:
    """More doubt with several streams, most where each makes the arithmetic of a row dearer."""
    rows_differ = settings.engine is Engine.LLAMA_CPP
    return 0.0 if streams == 1 else 0.15 if rows_differ else 0.05


def _bottleneck(step: Step, cap: float) -> Bottleneck:
    computes = step.arithmetic_ms > step.weights_ms / math.sqrt(2)  # longer than it reads
    shares = {
        Bottleneck.MEMORY: step.cache_ms + (0.0 if computes else step.weights_ms),
        Bottleneck.COMPUTE: step.weights_ms if computes else 0.0,
        Bottleneck.LAUNCH: step.layers_ms,
        Bottleneck.LINK: step.link_ms,
    }
    if cap < 0.9:
        return Bottleneck.POWER
    return max(shares, key=lambda cause: shares[cause])


def step_of(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    *,
    streams: int,
    context: int,
    link: Link,
) -> Step:
    """Milliseconds of one step by cause."""
    per_ms = bytes_per_ms(facts, card, settings)
    shards = shards_of(settings)
    read = weight_bytes(facts, settings, streams, shards)
    cache = cache_bytes(facts, settings, context, shards) * streams
    blocks = block_count(facts)
    count = reduces(facts, settings)
    row = streams * facts.hidden * 2
    gathered = streams * gathered_bytes(facts, settings)
    traffic_us = count * link.traffic_us(row, shards)
    traffic_us += link.traffic_us(gathered, settings.decode_context_parallel) / 2  # once around
    link_us = count * link.all_reduce_us(0.0, shards) + blocks * _decode_context_us(settings)
    per_layer = _slow_layer_us(card, settings) or layer_us(facts, settings, card, shards)
    reading_ms = read * row_share(facts, settings, streams) / per_ms
    arithmetic_ms = rows_ms(facts, card, settings, streams)
    return Step(
        weights_ms=math.hypot(reading_ms, arithmetic_ms),  # one goes on beside the other
        cache_ms=cache / per_ms,
        layers_ms=launches(facts, settings.engine) * per_layer / 1e3,
        link_ms=(link_us + traffic_us) / 1e3,
        traffic_ms=traffic_us / 1e3,
        arithmetic_ms=arithmetic_ms,
    )


def _slow_layer_us(card: Card, settings: EngineSettings) -> float | None:
    slow = SLOW_LAYER_US.get(card.compute or (0, 0))
    return slow if settings.engine is Engine.LLAMA_CPP else None


def block_count(facts: ModelFacts) -> float:
    """Layers with both a mixer and a feed-forward part; one-part layers count half."""
    return sum(
        1.0 if layer.mixer and (layer.mlp or layer.experts) else 0.5 for layer in facts.layers
    )


BESIDE = 0.5
"""More of a layer's fixed cost where a dense MLP runs beside the experts (Gemma 4 26B: eleven runs
of three authors, on V100 to B300, were 20 to 39 % slower than without it)."""


ALONE, LLAMA_ALONE = 0.5, 0.35
"""Of a layer's fixed cost where a state, an attention or experts make a layer of their own. In
llama.cpp the 52 of Nemotron-3-Nano ran 1.08 to 1.32 times as fast as by half of it each (six runs
on V100, 3090 and 5090)."""


def launches(facts: ModelFacts, engine: Engine) -> float:
    """Layers by the kernels they start."""
    alone = LLAMA_ALONE if engine is Engine.LLAMA_CPP else ALONE
    return sum(_kernels(layer, alone) for layer in facts.layers)


def _kernels(layer: Layer, alone: float) -> float:
    if not (layer.mixer and (layer.mlp or layer.experts)):
        return alone
    return 1.0 + (BESIDE if layer.mlp and layer.experts else 0.0)


def _decode_context_us(settings: EngineSettings) -> float:
    """Gather and reduce per layer under decode context parallelism (Kimi-K2.6, GLM-5.1)."""
    ranks = settings.decode_context_parallel
    return 14.0 + 8.0 * math.log2(ranks) if ranks > 1 else 0.0


def gathered_bytes(facts: ModelFacts, settings: EngineSettings) -> float:
    """Bytes per row and step that decode context parallelism sends: the queries of the group's
    heads to every rank, and each rank's partial result back (latent layers: 16-bit, absorbed)."""
    ranks, tp = settings.decode_context_parallel, max(1, settings.tensor_parallel)
    found = 0.0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Latent):
            found += mixer.heads * (mixer.record_width + mixer.kv_rank) * 2
        elif isinstance(mixer, Attention):
            found += mixer.heads * (mixer.head_dim + mixer.v_dim) * 2
    return found * min(ranks, tp) / tp if ranks > 1 else 0.0


def weight_bytes(facts: ModelFacts, settings: EngineSettings, streams: int, ranks: int) -> float:
    """Bytes of weights one rank reads in one step: every dense matrix, the experts in use."""
    scale = calibration(facts).scale
    found = 0.0
    for matrix in matrices(facts):
        if matrix.part in (Part.VISION, Part.DRAFT, Part.TABLE):
            continue
        if matrix.part is Part.EMBEDDING and not facts.tied:
            continue
        stored = scale * wider(facts, matrix, scale) * matrix.stored_bytes
        found += stored * used_share(matrix, streams) / _cut(matrix, ranks)
    return found


def used_share(matrix: Matrix, streams: int) -> float:
    """Share of a matrix that a step of so many streams reads: distinct experts, else all."""
    if matrix.active_fraction >= 1.0:
        return 1.0
    return float(1 - (1 - matrix.active_fraction) ** streams)


def _cut(matrix: Matrix, ranks: int) -> float:
    if matrix.cut is Cut.WHOLE:
        return 1.0
    if matrix.cut is Cut.KV and matrix.kv_heads:
        return matrix.kv_heads / max(1, math.ceil(matrix.kv_heads / ranks))
    return float(ranks)


def cache_bytes(facts: ModelFacts, settings: EngineSettings, context: int, ranks: int) -> float:
    """Bytes of cache and state one rank reads and writes for one stream."""
    found = 0.0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            reach = min(context, mixer.window) if mixer.window else context
            found += reach * _attention_bytes(facts, mixer, settings, ranks)
        elif isinstance(mixer, Latent):
            reach = min(context, mixer.index_topk) if mixer.index_topk else context
            found += reach * latent_token_bytes(facts, mixer, settings)
            found += 132.0 * context if mixer.index_heads else 0.0
        elif isinstance(mixer, (Delta, Mamba)):
            found += 2 * state_bytes(facts, mixer, settings)
    return found


def _attention_bytes(
    facts: ModelFacts, mixer: Attention, settings: EngineSettings, ranks: int
) -> float:
    if settings.engine is not Engine.LLAMA_CPP:
        return attention_token_bytes(facts, mixer, settings)
    # a quantized cache is unpacked before it is used: no faster to read (3090, 32,768 tokens)
    key, value = (max(2.0, width) for width in cache_widths(settings.kv_dtype))
    return mixer.kv_heads * (mixer.head_dim * key + mixer.v_dim * value) / ranks
