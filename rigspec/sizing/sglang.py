"""SGLang's static pool (0.5.x): weights and pools together take `mem-fraction-static`.

    pool = free after weights − free before weights × (1 − fraction)

Activations and graphs live in the rest and are not subtracted again. Defaults follow
`server_args.py` of 0.5.23. Fifteen boots; without term-by-term prints the band stays wide.
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Compressed, Latent, Layer
from rigspec.sizing import drafter, sglang_states
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.cards import Card
from rigspec.sizing.records import attention_token_bytes, kv_kind
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_share import fraction_of, least_fraction
from rigspec.sizing.stages import holds_drafts, own_layers
from rigspec.units import GIB

WINDOW_TOKENS = 0.8
"""`swa_full_tokens_ratio`: tokens of the window layers' pool per token of the full layers'."""


def overhead(settings: EngineSettings) -> Amount:
    """GiB that the engine's own start holds before it looks at what is free."""
    return about(0.6 if settings.tensor_parallel == 1 else 1.0, 1.4)


def pool(facts: ModelFacts, card: Card, settings: EngineSettings, weights: Amount) -> Amount:
    """GiB of the pools together, that of recurrent states and of drafts included."""
    fraction = fraction_of(facts, card, settings)
    others = exact(settings.other_processes_gib)
    before = card.total - overhead(settings) - others
    if card.free_gib:
        before = exact(card.free_gib)
    found, least = before.times(fraction), least_fraction(facts, card, settings)
    return replace(found, low=min(found.low, least * before.low)) - weights


def left_for_cache(
    facts: ModelFacts, card: Card, settings: EngineSettings, weights: Amount
) -> Amount:
    """GiB of the static pool beside weights, drafts and recurrent states, at most what is asked."""
    found = sglang_states.cache_of(facts, settings, _whole_pool(facts, card, settings, weights))
    if settings.pool_tokens is None:
        return found
    most = settings.pool_tokens * bytes_per_token(facts, settings) / GIB
    return Amount(*(min(gib, most) for gib in (found.value, found.low, found.high)))


def _whole_pool(facts: ModelFacts, card: Card, settings: EngineSettings, weights: Amount) -> Amount:
    static = weights + drafter.draft_doubt(settings, weights)
    return pool(facts, card, settings, static)


def terms(
    facts: ModelFacts, card: Card, settings: EngineSettings, weights: Amount
) -> tuple[tuple[str, Amount, str], ...]:
    """What the engine keeps outside the static pool, and recurrent states inside it."""
    beside = _beside(facts, card, settings)
    if not facts.has_states:
        return (beside,)
    whole = _whole_pool(facts, card, settings, weights)
    states = sglang_states.states_in(facts, settings, whole)
    return (beside, ("recurrent states", *states)) if states[0].value else (beside,)


def _beside(facts: ModelFacts, card: Card, settings: EngineSettings) -> tuple[str, Amount, str]:
    fraction = fraction_of(facts, card, settings)
    rest = max(0.0, card.total.value - settings.other_processes_gib) * (1 - fraction)
    basis = "1 − mem-fraction-static"
    if settings.memory_fraction is None:
        basis += ", SGLang's own: 1 GiB more for every 8 ranks"
    return ("activation, graphs, context", about(rest, 0.1 * rest), basis)


SCALED, SCALED_RECORD = "fp8_ds_mla", 656
"""A latent of 512 in 8 bits with its scales, and 64 rotary elements in 16: what sparse attention
keeps before Blackwell (DeepSeek-V3.2 on eight H200: three pools of 788 bytes per layer and token,
the indexer's 132 included)."""


def as_the_card_takes(facts: ModelFacts, card: Card, settings: EngineSettings) -> EngineSettings:
    """The settings with the cache type of sparse attention: `auto` is 8 bits on Blackwell and 16
    before it, where 8 bits come with scales (`server_args.py` and `memory_pool.py`, 0.5.5 on)."""
    sparse = (isinstance(each.mixer, Latent) and each.mixer.index_topk for each in facts.unlike)
    if settings.engine is not Engine.SGLANG or not any(sparse):
        return settings
    if card.compute is not None and card.compute >= (10, 0):
        is_open = settings.kv_dtype.lower() in ("", "auto")
        return replace(settings, kv_dtype="fp8_e4m3") if is_open else settings
    scaled = kv_kind(facts, settings) == "fp8"
    return replace(settings, kv_dtype=SCALED) if scaled else settings


def bytes_per_token(facts: ModelFacts, settings: EngineSettings) -> float:
    """Cache bytes per token on one rank over all layers; 0 when a layout is not known."""
    own = own_layers(facts, settings)
    layers: tuple[Layer, ...] = facts.layers[own.start : own.stop]
    if any(isinstance(layer.mixer, Compressed) for layer in layers):
        return 0.0
    found = [_layer_bytes(facts, layer, settings) for layer in layers]
    whole = (layer for layer in layers if not getattr(layer.mixer, "window", 0))
    full = max((_layer_bytes(facts, layer, settings) for layer in whole), default=0.0)
    drafts = _draft_layers(facts, settings) if holds_drafts(settings) else 0
    return sum(found) + drafts * full


def _layer_bytes(facts: ModelFacts, layer: Layer, settings: EngineSettings) -> float:
    """Cache bytes per token of one layer; 0 where it keeps a state, or shares another's cache."""
    mixer = layer.mixer
    if isinstance(mixer, Attention) and not mixer.shares_cache:
        share = WINDOW_TOKENS if mixer.window else 1.0
        return share * attention_token_bytes(facts, mixer, settings)
    if isinstance(mixer, Latent):
        width = 1 if kv_kind(facts, settings) == "fp8" else 2
        record = SCALED_RECORD if settings.kv_dtype == SCALED else mixer.record_width * width
        return record + (132 if mixer.index_heads else 0)
    return 0.0


def _draft_layers(facts: ModelFacts, settings: EngineSettings) -> int:
    """Layers that draft, each of which SGLang takes to cache what one full layer of the target does
    (`pool_configurator.py` of 0.5.x)."""
    spec = settings.speculative
    if spec is None or spec.method == "ngram":
        return 0
    if spec.method == "dflash":
        return drafter.LAYERS
    return len(spec.draft_layers or facts.draft.layers) or 1


def tokens(facts: ModelFacts, settings: EngineSettings, pool_gib: float) -> int:
    """Tokens of a pool in which no recurrent states lie."""
    per_token = bytes_per_token(facts, settings)
    return int(max(0.0, pool_gib) * GIB / per_token) if per_token else 0
