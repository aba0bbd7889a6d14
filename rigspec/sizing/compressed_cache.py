"""What a request takes of vLLM's pool in attention over a compressed cache (DeepSeek-V4): bounds.

A token leaves a record for every `ratio` of them, and an indexer's where the ratio is small. Beside
that each request holds windows, compressor states and what the steps in flight need, in pages that
change with the release: printed requests of V4-Flash take 1.4 GiB at 4,096 tokens (0.23), 2.7 at
65,536 and 6.2 at 121,344 (0.26), 6.4 at 32,768 (0.30), 3.9 to 7.2 at 262,144 and 6.3 to 7.6 at a
million; V4-Pro 9.1 at 32,768 (0.30), V4.1-Flash 0.45 and, at 262,144, 0.84 (0.30, 0.31).
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Compressed
from rigspec.sizing.amount import Amount
from rigspec.sizing.records import is_float8, is_known_type
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.units import GIB

RECORD, PLAIN_RECORD, INDEX_RECORD = 584, 1152, 132
"""Bytes of a record in 8 bits with scales and rotary part in 16, of one in 16 bits, and of an
indexer's key (`fp8_ds_mla` of vLLM's `deepseek_v4`)."""
INDEXED_BELOW = 16
"""Ratios up to there have an indexer; the others attend to every record."""
NARROW = 0.5
"""Of a record in a type that nobody here knows, at least (`nvfp4_ds_mla` of a fork)."""
BESIDE_GIB, STEP = (0.005, 0.06, 0.165), 8192
"""Of windows, states and steps per layer, at a batch of so many tokens: least, usual, most (1.2 to
6.9 GiB of 43 layers, 8.9 of 61; 23 at 32,768 tokens, 1.0 and 1.6 at 2,048)."""


def request_gib(facts: ModelFacts, settings: EngineSettings, context: int) -> Amount | None:
    """GiB of one request of so many tokens on every rank; None where no layer is such, and in
    engines whose pools nobody has compared."""
    own = [layer.mixer for layer in facts.layers if isinstance(layer.mixer, Compressed)]
    if not own or settings.engine is not Engine.VLLM:
        return None
    kind = settings.kv_dtype.lower()
    plain = kind in ("bf16", "bfloat16", "fp16", "float16", "half")
    known = plain or kind in ("", "auto") or is_float8(settings)
    record = PLAIN_RECORD if plain or not is_known_type(kind) else RECORD
    held = context * sum(_token_bytes(mixer, record) for mixer in own) / GIB
    least, usual, most = (beside * len(own) for beside in BESIDE_GIB)
    steps = (settings.max_batched_tokens or STEP) / STEP
    usual, most = max(least, usual * steps), max(least, most * steps)
    return Amount(held + usual, held * (1.0 if known else NARROW) + least, held + most)


def _token_bytes(mixer: Compressed, record: int) -> float:
    if not mixer.ratio:
        return 0.0  # a window alone
    indexed = mixer.ratio < INDEXED_BELOW and mixer.keeps_index
    kept = record * mixer.keeps_cache + INDEX_RECORD * indexed
    return kept / mixer.ratio
