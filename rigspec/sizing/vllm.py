"""vLLM's memory budget per GPU, term by term, for the versions whose logs were read.

    available = total × fraction − weights − peak activation − non-torch − estimated graphs

The identity holds to the print's rounding in every log that prints all terms. The terms below are
fitted to printed logs of vLLM 0.11–0.33; each constant says what it stands for and on what it
rests. A version nobody measured takes the nearest rule with a wider band.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, about, exact, within
from rigspec.sizing.cards import Card
from rigspec.sizing.records import is_float8
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.vllm_activation import peak_activation
from rigspec.sizing.vllm_batch import batch_of, runs_old_engine, since, state_scratch
from rigspec.sizing.vllm_first_runner import last_stage_gap, warm_up_gib
from rigspec.sizing.vllm_runner import has_second_runner, in_pieces, sets_graphs_aside
from rigspec.units import GIB, KIB, MIB

__all__ = ["batch_of", "last_stage_gap", "peak_activation"]

DEFAULT_FRACTION = {(0, 0): 0.90, (0, 20): 0.92}
"""`--gpu-memory-utilization` when unset, by first version (`config/cache.py`: 0.9 in 0.19.1, 0.92
from 0.20.0 on)."""

MXFP4_TRITON, MXFP4_LATE_GIB = 9, 3.0
"""Cards of this generation multiply MXFP4 experts by Triton's kernels, whose workspaces come late
and are cut by rank; others take Marlin's. gpt-oss-20b boots at 0.90 of an H100 and runs out at 0.95
(0.11), 120b runs out at 0.97 with one sequence (0.14.1); 20b boots at 0.9 of an L4 and a 5090."""

MXFP4_LOGITS_BYTES = 4
"""Per (sequence × vocabulary entry), beside what every model's warm-up sorts: what the H100 lacked
was one more copy of 1,024 rows (786 MiB, with 552 left)."""

"""A larger capture size is a slip."""

GRAPH_BASE_GIB = 0.25
"""What the first runner's profile adds whatever is captured, but for dense models: 0.26 to 0.43 GiB
for one or two sizes (35B-A3B, 26B-A4B), 0.3 beside many (27B on an L40S and a GB10)."""

GRAPHS_DEDUCTED = (0, 20)
"""Boots of 0.20.0 and 0.20.2 print that graphs are profiled, one of 0.19.2rc1 that they are not."""

CONTEXT_GIB = {1: 0.5, 2: 1.75}
"""CUDA context of the engine's processes: one GPU, several GPUs."""


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


UNIFIED_TAKEN_GIB = 13.0
"""What the host and its page cache may hold of memory that the GPU shares: six boots on GB10 had
1.5 to 13.5 GiB less than the estimate, four on Thor were within 3."""


UNIFIED_GIVEN_GIB = 7.5
"""What the host gives back while the engine profiles, as page cache of the load is dropped: three
boots on GB10 (0.11 to 0.23, at fractions of 0.22 to 0.6) had 4.9 to 7.3 GiB more."""


def shared_doubt(card: Card) -> Amount:
    """GiB that others may hold of unified memory, or give back of it."""
    if not card.unified:
        return Amount(0.0, 0.0, 0.0)
    return Amount(0.0, -UNIFIED_GIVEN_GIB, UNIFIED_TAKEN_GIB)


EXPERT_GROUP_GIB = 1.3
"""More that the group of expert parallelism may hold: 0.9 on four L4 (0.29, Qwen3-30B-A3B)."""


BRIDGED = (8, 6)
"""Pairs joined by a bridge hold no more than over PCIe: two 3090s kept 10.55 GiB (0.20), where the
buffers of switched cards would leave 8.1."""


RUNNERS = ((0, 21), (0, 29), Amount(0.0, -1.0, 0.6))
"""What a runner of these releases may hold beside the estimate: dense models are within 0.2 GiB on
seven cards, 1 to 2 less on two, hybrids and experts 0.6 to both sides; nothing printed tells."""


ALL_LAYERS = (0, 9)
"""Before, the first engine, which took pipeline stages, could count the cache of all layers on each
of them: 32B in 4 bits on two 5090s held 58,384 tokens (0.8.5), half of what fits by stages."""


def runner_doubt(settings: EngineSettings, card: Card) -> Amount:
    """GiB that the runner of a release may hold more, or less, than is reckoned."""
    version, (first, after, doubt) = settings.version, RUNNERS
    if version is None:
        return exact(0.0)
    if settings.pipeline_parallel > 1 and version < ALL_LAYERS:
        return Amount(0.0, 0.0, card.total.value / 2)
    return doubt if first <= version < after else exact(0.0)


def non_torch(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB outside the allocator: NCCL and all-reduce buffers, library workspaces."""
    batch, version = batch_of(facts, settings, card), settings.version
    ranks = settings.tensor_parallel
    if version is not None and not has_second_runner(facts, settings):
        alone = 0.25 if version >= (0, 18) else 0.13
        if runs_old_engine(settings, card):
            # V0 profiled other processes too: 0.01 to 0.35 in five boots, 1.79 in a sixth
            return Amount(alone + 0.17, 0.0, 1.9)
        if ranks > 1:
            if card.nvlink and card.compute != BRIDGED and version >= (0, 18):
                return about(2.10, 0.15)
            return about(alone + 0.42, 0.35)
        return about(0.07, 0.1) if settings.pipeline_parallel > 1 else about(alone, 0.08)
    sampler = batch.seqs * (facts.vocab + 2 * -(-facts.vocab // 32)) * 4
    workspace = (307 if card.compute and card.compute >= (9, 0) else 112) * MIB
    alone = (sampler + workspace) / GIB
    if ranks > 1 and settings.expert_parallel:
        return about(0.85 if card.nvlink else 0.55, EXPERT_GROUP_GIB)
    if ranks > 1:
        return about(0.85 if card.nvlink else 0.55, 0.3)
    return about(alone, 0.15)


WIDE_GRAPHS = (0, 28)
"""From here on Blackwell of data centres captures up to 1,024 (`_set_cudagraph_sizes` of 0.28.0 to
0.33.0; 512 in 0.27.1)."""


def graph_sizes(settings: EngineSettings, card: Card, seqs: int) -> tuple[int, ...]:
    """Batch sizes captured: 1, 2, 4, then by 8 to 256, then by 16 to the cap."""
    drafts = settings.speculative.depth if settings.speculative else 0
    wide = card.compute is not None and card.compute[0] == 10 and settings.is_since(WIDE_GRAPHS)
    usual = min(2 * seqs * (1 + drafts), 1024 if wide else 512)
    cap = min(settings.max_graph_size or usual, 8192)
    sizes = (1, 2, 4, *range(8, 256, 8), *range(256, cap + 1, 16))
    return tuple(size for size in sizes if size <= cap)


def graph_estimate(facts: ModelFacts, settings: EngineSettings, card: Card) -> Amount:
    """GiB the engine sets aside for CUDA graphs before it sizes the pool; 0 before 0.20."""
    if settings.eager:
        return exact(0.0)
    asked = settings.estimates_graphs
    version = settings.version
    if asked is None:
        asked = version is None or version >= GRAPHS_DEDUCTED
    if not asked or not sets_graphs_aside(facts, settings):
        return exact(0.0)
    batch = batch_of(facts, settings, card)
    full = [size for size in graph_sizes(settings, card, batch.seqs) if size <= batch.seqs]
    each = (537 if card.compute and card.compute >= (9, 0) else 374) * KIB
    latent = sum(1 for layer in facts.layers if isinstance(layer.mixer, Latent))
    layers = latent * LATENT_GRAPH + (len(facts.layers) - latent) * each
    estimate = layers * len(full) / GIB
    if not has_second_runner(facts, settings) and (facts.has_experts or facts.has_states):
        estimate += GRAPH_BASE_GIB
    if settings.speculative is not None and launches_pieces(settings, card):
        estimate = min(estimate, PIECES_GIB)
    least = 0.0 if version is None else 0.4 * estimate  # an older engine deducts nothing
    return Amount(estimate, least, estimate * 1.1)


LATENT_GRAPH = int(1.39 * MIB)
"""Of a layer of latent attention, for each size; the delta nets between those of Kimi-K3 take what
others do."""
PIECES_GIB = 0.15
"""Graphs of the layers' pieces alone."""


def launches_pieces(settings: EngineSettings, card: Card) -> bool:
    """Whether a step that verifies drafts has no whole graph: GLM-5.2 with five on eight H20, whose
    kernels take several tokens, has 5.5 GiB of them (0.23); of block drafters two 3090s print none.
    """
    spec = settings.speculative
    floats = is_float8(settings)
    block = spec is not None and spec.method == "dflash"
    return block or (floats and in_pieces(settings, card))


def graph_actual(facts: ModelFacts, settings: EngineSettings, card: Card) -> float:
    """GiB the graphs really take, for each layer and size (41 boots of 0.19, 0.6 to 2.2 of it)."""
    if settings.eager:
        return 0.0
    batch = batch_of(facts, settings, card)
    sizes = graph_sizes(settings, card, batch.seqs)
    return len(facts.layers) * len(sizes) * 420 * KIB / GIB + 0.15


NEIGHBOUR_GIB = 0.75
"""What is taken of a card before the engine starts is more than its own context: 4B on a 4090 with
a process of 0.5 GiB beside it ran out in the sampler's warm-up, of a version that nobody states."""


def is_shared(card: Card) -> bool:
    """Whether somebody else holds memory of the card, as far as that is stated."""
    return card.free_gib is not None and card.total.value - card.free_gib > NEIGHBOUR_GIB


def late_gib(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """GiB that grow after the pool is sized, outside every budget."""
    batch = batch_of(facts, settings, card)
    late = 1.3 * state_scratch(facts, settings, batch) / GIB
    late += warm_up_gib(settings, batch, facts.vocab)
    deducted = graph_estimate(facts, settings, card)
    if deducted.value == 0.0 or (deducted.low == 0.0 and is_shared(card)):
        late += graph_actual(facts, settings, card)
    if facts.quantization.scheme is Scheme.MXFP4:
        late += mxfp4_late_gib(facts, card, settings)
    if takes_flashinfer(settings, card):
        late += FLASHINFER_GIB
    if settings.speculative is not None:
        late += 0.75 if settings.speculative.method == "dflash" else 0.3
    return late


FLASHINFER_GIB = 394 / 1024
"""The workspace of FlashInfer (`VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE`), which its first prefill
takes: 27B on a 4090 at 0.97 answered every request with an OutOfMemoryError (0.27)."""


def takes_flashinfer(settings: EngineSettings, card: Card) -> bool:
    """Whether FlashInfer attends: an 8-bit float cache brings it on all cards but Hopper's."""
    floats = is_float8(settings)
    return floats and card.compute is not None and card.compute[0] != 9


def mxfp4_late_gib(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """GiB that MXFP4 experts' kernels and the sampler take once the pool is there."""
    logits = MXFP4_LOGITS_BYTES * batch_of(facts, settings, card).seqs * facts.vocab / GIB
    on_triton = card.compute is None or card.compute[0] == MXFP4_TRITON
    return logits + (MXFP4_LATE_GIB / settings.tensor_parallel if on_triton else 0.0)


def context_overhead(settings: EngineSettings) -> Amount:
    """GiB of CUDA contexts, outside the engine's budget."""
    return within(CONTEXT_GIB[2 if settings.tensor_parallel > 1 else 1], 0.3)
