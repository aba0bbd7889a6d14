"""Recurrent states in SGLang's static pool: what they leave the cache, and how many requests run.

Drafts that are being verified take a state per request and drafted token first. The rest is shared
between states and cache by `--mamba-full-memory-ratio`, or holds as many states as
`--max-mamba-cache-size` says. A running request holds several: its own, that of the prefix it goes
on from, and those it writes next (`model_runner_kv_cache_mixin.py` of 0.5.9 to 0.5.18). 27B in
16-bit states of an A100 loses 9,600 tokens with two requests more of four drafts (reckoned 9,390);
124 states on an H100 run 24 requests (0.5.18), 186 on two 4090s 62 (April 2026).
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Delta, Mamba
from rigspec.sizing.amount import Amount, exact
from rigspec.sizing.records import state_bytes
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stages import own_layers
from rigspec.units import GIB, count

UNSTATED_REQUESTS = 48
"""Requests whose drafts SGLang keeps states of where `--max-running-requests` is not given."""
JOINTLY = (0, 5, 19)
"""From here on the states of drafts come out of the states' share (two boots on two 3090s at 0.90
and 0.95: the cache took what no drafts leave it)."""
MORE_BUFFERS = (0, 5, 14)
"""The first that writes ahead into two more states per request unless told otherwise."""
HELD, HELD_AHEAD = 3, 5
"""States a running request holds, without those two and with them; one without prefix caching."""


def cache_of(facts: ModelFacts, settings: EngineSettings, pool: Amount) -> Amount:
    """GiB of the static pool that states leave the cache."""
    if not facts.has_states:
        return pool
    room, stated = pool - _verified(facts, settings), _stated(settings)
    if stated is not None:
        return room - exact((stated + 1) * state_gib(facts, settings))
    value, low, high = (
        gib / (1 + settings.state_ratio) if gib > 0 else gib
        for gib in (room.value, room.low, room.high)
    )
    return Amount(value, low, high)


def states_in(facts: ModelFacts, settings: EngineSettings, pool: Amount) -> tuple[Amount, str]:
    """GiB that states take of the static pool, and what decides it."""
    cache = cache_of(facts, settings, pool)
    value, *ends = (
        max(0.0, whole - left)
        for whole, left in (
            (pool.value, cache.value), (pool.low, cache.low), (pool.high, cache.high),
        )
    )  # fmt: skip
    share = f"{settings.state_ratio:g} bytes per byte of cache"
    basis = share if _stated(settings) is None else "as many as stated"
    return Amount(value, min(value, *ends), max(value, *ends)), basis


def pool_for(facts: ModelFacts, settings: EngineSettings, cache_gib: float) -> float:
    """GiB of the pool in which so much is left for the cache."""
    if not facts.has_states:
        return cache_gib
    stated, one = _stated(settings), state_gib(facts, settings)
    states = settings.state_ratio * cache_gib if stated is None else (stated + 1) * one
    return cache_gib + states + _verified(facts, settings).value


def requests(facts: ModelFacts, settings: EngineSettings, cache: Amount) -> Amount | None:
    """Requests that find their states beside so much cache; None where there are no states, where
    `--max-total-tokens` ends the cache alone (the states' share is as large as ever), and in the
    other engines, which keep them another way."""
    if settings.engine is not Engine.SGLANG:
        return None
    one, stated = state_gib(facts, settings), _stated(settings)
    if not one or (stated is None and settings.pool_tokens is not None):
        return None
    found = exact(stated) if stated is not None else cache.times(settings.state_ratio / one)
    drafted = 1 + _drafted(settings) / HELD_AHEAD  # `JOINTLY` or not, at the low end
    if settings.prefix_caching is False:
        return Amount(found.value, found.low / drafted, found.high)
    newer = settings.version is None or settings.version >= MORE_BUFFERS
    held = HELD_AHEAD if newer else HELD
    return Amount(found.value / held, found.low / HELD_AHEAD / drafted, found.high / HELD)


def states_short(facts: ModelFacts, settings: EngineSettings, cache: Amount) -> str:
    """How few states find room beside so much cache, if it may be too few for one request."""
    running, one = requests(facts, settings, cache), state_gib(facts, settings)
    if running is None or running.low >= 1:
        return ""
    stated, shared = _stated(settings), cache.times(settings.state_ratio / one)
    if stated is not None:
        has = f"it is told to hold {count(stated, 'recurrent state')}"
    else:
        has = (
            f"{max(0.0, shared.low):.0f} to {max(0.0, shared.high):.0f} recurrent states find room"
        )
    held = "one" if settings.prefix_caching is False else f"{HELD} to {HELD_AHEAD}"
    return f"{has}, and a running request holds {held}"


def state_gib(facts: ModelFacts, settings: EngineSettings) -> float:
    """GiB of one state of all layers on one rank."""
    own = own_layers(facts, settings)
    mixers = (layer.mixer for layer in facts.layers[own.start : own.stop])
    states = (m for m in mixers if isinstance(m, Delta | Mamba))
    return sum(state_bytes(facts, mixer, settings) for mixer in states) / GIB


def _stated(settings: EngineSettings) -> int | None:
    """How many states there are, where that is said; without prefix caching one per request."""
    if settings.state_slots is not None:
        return settings.state_slots
    return settings.max_seqs if settings.prefix_caching is False else None


def _drafted(settings: EngineSettings) -> int:
    """Tokens of one step that are verified, the one that is sure included; 0 without drafts."""
    return settings.speculative.depth + 1 if settings.speculative else 0


def _verified(facts: ModelFacts, settings: EngineSettings) -> Amount:
    """GiB of states for drafts, set aside before anything is shared."""
    version, each = settings.version, _drafted(settings) * state_gib(facts, settings)
    if version is not None and version >= JOINTLY:
        return exact(0.0)
    if settings.max_seqs is None:
        return Amount(0.0, 0.0, UNSTATED_REQUESTS * each)
    taken = settings.max_seqs * each
    return Amount(taken, 0.0 if version is None else taken, taken)
