"""The share of a card that SGLang takes for weights and pools where none is stated.

It sets aside what steps, graphs and ranks are thought to need, and the rest is the share
(`server_args.py` of 0.4.3 to 0.5.16, `memory_hook.py` of 0.5.23). All sizes here are MiB.
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings

FIXED_BEFORE, FIXED_SHARES = (0, 4, 7), ((16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (0, 0.88))
"""Until then the share went by the ranks alone (0.4.3 and 0.4.5)."""
_TIERS = ((20, 2048, 8, 8), (35, 2048, 24, 80), (60, 4096, 32, 160), (160, 8192, 256, 512))
"""Card GiB below; chunked prefill; largest graph batch at TP < 4 and at TP ≥ 4."""
LARGE_GIB, LARGE_LEAST = 60, 10 * 1024
DRAFTS = {(0, 0): 2048, (0, 5, 10): 4096, (0, 5, 14): 0}
"""For drafts, by first version."""
PREFILL_GRAPHS, LATENT_GRAPHS, GRAPH = (0, 5, 10), 1536, 8
"""From here on graphs of prompts are captured, too: for each size, or at once where attention is
latent."""
TOWER_SHARE, TOWER_LEAST, TOWER_MOST = 0.95, 0.8, 1.05
"""What a vision tower leaves of the share: less by a tenth for each time that it is as large again
as 24 layers of 1,024, within these."""


def fraction_of(facts: ModelFacts | None, card: Card, settings: EngineSettings) -> float:
    """The static fraction: as stated, else what SGLang picks for the card and the model, as far as
    that is known."""
    if settings.memory_fraction is not None:
        return settings.memory_fraction
    return max(0.1, _own_fraction(facts, card, settings) * _beside_tower(facts))


def least_fraction(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """The same at least: a release that nobody states may set the most aside."""
    most = settings if settings.version is not None else replace(settings, version=PREFILL_GRAPHS)
    return fraction_of(facts, card, most)


def own_rest_gib(card: Card, settings: EngineSettings) -> float:
    """What the engine leaves of a card beside its static pool where no fraction is stated, GiB."""
    own = fraction_of(None, card, replace(settings, memory_fraction=None))
    return card.total.value * (1 - own)


def _own_fraction(facts: ModelFacts | None, card: Card, settings: EngineSettings) -> float:
    if settings.version is not None and settings.version < FIXED_BEFORE:
        ranks = settings.tensor_parallel
        return next(share for least, share in FIXED_SHARES if ranks >= least)
    size = card.total.value
    tier = next((t for t in _TIERS if size < t[0]), (0, 16384, 512, 512))
    chunk = max(settings.max_batched_tokens or tier[1], 2048)
    graph = settings.max_graph_size or tier[3 if settings.tensor_parallel >= 4 else 2]
    reserved = 512 + 1.5 * chunk + settings.ranks / 8 * 1024 + 2 * graph
    if settings.dp_attention:
        reserved += graph * settings.data_parallel * (4.5 if graph > 300 else 3)
    reserved += _prefill_graphs(facts, settings, chunk)
    if size > LARGE_GIB:
        reserved = max(reserved, LARGE_LEAST)
    return (size * 1024 - reserved - _drafts(settings)) / (size * 1024)


def _prefill_graphs(facts: ModelFacts | None, settings: EngineSettings, chunk: int) -> int:
    """Nothing where they are not captured: with drafts, towers, adapters, copies of the attention
    or stages (`_handle_piecewise_cuda_graph`)."""
    newer = settings.is_since(PREFILL_GRAPHS)
    beside = settings.speculative or settings.lora or settings.dp_attention or settings.eager
    if not newer or beside or settings.pipeline_parallel > 1 or facts is None or facts.vision:
        return 0
    if facts.is_latent:
        return LATENT_GRAPHS
    steps = (
        range(4, 33, 4), range(48, 257, 16), range(288, 513, 32), range(576, 1025, 64),
        range(1280, 4097, 256), range(4608, chunk + 1, 512),
    )  # fmt: skip
    return GRAPH * sum(tokens <= chunk for sizes in steps for tokens in sizes)


def _drafts(settings: EngineSettings) -> int:
    spec, version = settings.speculative, settings.version
    if spec is None or spec.method == "ngram":
        return 0
    return DRAFTS[max(first for first in DRAFTS if version is None or first <= version)]


def _beside_tower(facts: ModelFacts | None) -> float:
    if facts is None or facts.vision is None:
        return 1.0
    tower = facts.vision.layers * facts.vision.width**2 / (24 * 1024**2)
    return TOWER_SHARE * min(TOWER_MOST, max(TOWER_LEAST, 1 - 0.1 * (tower - 1)))
