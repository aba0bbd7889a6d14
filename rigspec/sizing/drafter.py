"""Block drafters (DFlash): models of their own beside the target, which configs do not describe.

They are built alike: a few layers of the target's width that attend to what the target computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount, exact
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.stored import believed
from rigspec.units import GIB

if TYPE_CHECKING:
    from rigspec.sizing.kvcache import LayerKind

LAYERS = 5
"""Layers of the published block drafters (Qwen3.5 to 3.8, Gemma 4): 1.92 billion weights beside a
27B model."""
WINDOW = 2048
FIRST_WINDOW = (0, 26)
"""Drafters that vLLM serves from here on attend to so many tokens, two steps in flight (three pools
of Qwen3.8-27B, 0.27); those before attended to everything (one of Qwen3.6-27B, 0.20)."""
SHARE = Amount(0.5, 0.3, 1.1)
"""What a drafter holds of 16 bits per weight: 1.2 GB in 4 bits, 1.75 GB with layers less wide, 3.85
GB whole (Qwen3.8-27B W4A16, Qwen3.6-27B, Qwen3.8-27B)."""


def is_block_drafted(settings: EngineSettings) -> bool:
    """Whether a drafter of this kind runs."""
    return settings.speculative is not None and settings.speculative.method == "dflash"


def _is_windowed(settings: EngineSettings) -> bool:
    """Whether its layers attend to a window only."""
    return settings.version is None or settings.version >= FIRST_WINDOW


def drafter_gib(facts: ModelFacts, settings: EngineSettings) -> Amount:
    """GiB of the drafter on one rank: as stated, else by the target's width."""
    spec = settings.speculative
    ranks = max(1, settings.tensor_parallel)
    if spec is None or spec.draft_gib or not is_block_drafted(settings):
        return exact(spec.draft_gib / ranks if spec else 0.0)
    whole = LAYERS * 2.0 * layer_elements(facts) / GIB / ranks
    return Amount(SHARE.value * whole, SHARE.low * whole, SHARE.high * whole)


def stored_gib(draft: ModelFacts) -> float:
    """GiB of a draft model's files, by its dimensions where nobody read their sizes; 0 where those
    lack a part, as if nothing of it were read."""
    read = believed(draft)
    if read is not None:
        return read.total_bytes / GIB
    if draft.lacks != "nothing":
        return 0.0
    return sum(matrix.stored_bytes for matrix in matrices(draft)) / GIB


def layer_elements(facts: ModelFacts) -> float:
    """Weights of the model's largest layer without experts."""
    found: dict[int, int] = {}
    for matrix in matrices(facts):
        if matrix.layer is not None and matrix.part in (Part.MIXER, Part.MLP):
            found[matrix.layer] = found.get(matrix.layer, 0) + matrix.elements
    return float(max(found.values(), default=0))


def drafter_kinds(kinds: Sequence[LayerKind], settings: EngineSettings) -> list[LayerKind]:
    """The drafter's layers as the pool sees them: records as wide as the target's own."""
    full = [kind for kind in kinds if kind.token_bytes and not kind.window]
    if not full or not is_block_drafted(settings):
        return []
    window = WINDOW if _is_windowed(settings) else 0
    return [replace(full[0], name="window" if window else "full", count=LAYERS, window=window)]


UNREAD_GIB, UNREAD_SHARE = 3.5, 0.25
"""What a head that nobody read may hold with its cache; a draft model of its own, of the target."""


def draft_doubt(settings: EngineSettings, weights: Amount) -> Amount:
    """GiB that a separate drafter of unstated size and its cache may take, beside the target's."""
    spec = settings.speculative
    if spec is None or spec.draft_gib or spec.method in ("mtp", "ngram"):
        return exact(0.0)
    own = UNREAD_SHARE * weights.value if spec.method == "draft" else 0.0
    return Amount(0.0, 0.0, max(UNREAD_GIB, own))
