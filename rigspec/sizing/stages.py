"""Which matrices the fullest stage of a pipeline holds."""

from __future__ import annotations

import math

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.matrices import Matrix, Part
from rigspec.sizing.settings import EngineSettings

EMBEDS = (Part.EMBEDDING, Part.VISION, Part.TABLE)
ENDS = (Part.HEAD, Part.NORM, Part.DRAFT)


def fullest_stage(
    kept: tuple[Matrix, ...], facts: ModelFacts, settings: EngineSettings
) -> tuple[Matrix, ...]:
    """The matrices of the first stage, which embeds, or of the last, which holds the head.

    A tied table is on both: 31B in 8 bits prints 17.06 GiB for either half (vLLM 0.21).
    """
    stages = settings.pipeline_parallel
    if stages <= 1:
        return kept
    count = math.ceil(len(facts.layers) / stages)
    first = _held(kept, range(count), EMBEDS)
    ends = (*ENDS, Part.EMBEDDING) if facts.tied else ENDS
    last = _held(kept, range(len(facts.layers) - count, len(facts.layers)), ends)
    return max(first, last, key=lambda held: sum(m.stored_bytes for m in held))


def _held(kept: tuple[Matrix, ...], layers: range, parts: tuple[Part, ...]) -> tuple[Matrix, ...]:
    """The matrices of some layers, and of the parts that belong to none."""
    return tuple(
        m
        for m in kept
        if (m.part in parts if m.layer is None or m.part is Part.DRAFT else m.layer in layers)
    )
