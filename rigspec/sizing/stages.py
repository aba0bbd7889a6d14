"""The stages of a pipeline: which layers each holds, and which of them have to be judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.matrices import Matrix, Part
from rigspec.sizing.settings import Engine, EngineSettings

EMBEDS = (Part.EMBEDDING, Part.VISION, Part.TABLE)
ENDS = (Part.HEAD, Part.NORM, Part.DRAFT)


def partition(layers: int, settings: EngineSettings) -> tuple[range, ...]:
    """The layers of each stage, as the engine deals them out (`get_pp_indices` of both).

    vLLM gives what is left over to the stages before the last, one each from the back: 40 layers
    over PP 3 are 13, 14 and 13. SGLang gives it to the last stages: 13, 13 and 14.
    """
    stages = max(1, settings.pipeline_parallel)
    least, over = divmod(layers, stages)
    behind = 0 if settings.engine is Engine.SGLANG else 1
    longer = range(stages - over - behind, stages - behind)
    starts = [0]
    for stage in range(stages):
        starts.append(starts[-1] + least + (stage in longer))
    return tuple(range(*ends) for ends in pairwise(starts))


def own_layers(facts: ModelFacts, settings: EngineSettings) -> range:
    """The layers of the stage in question; where none is named, of the first that has the most."""
    parts = partition(len(facts.layers), settings)
    return max(parts, key=len) if settings.stage is None else parts[settings.stage]


def holds_drafts(settings: EngineSettings) -> bool:
    """Whether layers that draft sit here: on the last stage."""
    return settings.stage in (None, max(1, settings.pipeline_parallel) - 1)


def each_stage(facts: ModelFacts, settings: EngineSettings) -> Iterator[EngineSettings]:
    """The settings with each stage named that differs from the others: in its layers, as the first,
    which embeds, or as the last, which holds the head."""
    stages = settings.pipeline_parallel
    if stages <= 1 or settings.stage is not None or len(facts.layers) < stages:
        yield settings
        return
    seen = set()
    for stage, held in enumerate(partition(len(facts.layers), settings)):
        kind = (stage == 0, stage == stages - 1, facts.layers[held.start : held.stop])
        if kind not in seen:
            seen.add(kind)
            yield replace(settings, stage=stage)


def busiest_share(facts: ModelFacts, settings: EngineSettings, streams: int) -> float:
    """How many times longer a step of so many streams takes, as the stage with the most layers
    holds up the others; 1 where all work alike, or one behind the other on a single stream."""
    parts = partition(len(facts.layers), settings)
    busy = min(streams, len(parts))
    return max(1.0, busy * max(map(len, parts)) / max(1, len(facts.layers)))


def fullest_stage(
    kept: tuple[Matrix, ...], facts: ModelFacts, settings: EngineSettings
) -> tuple[Matrix, ...]:
    """The matrices of the stage in question; where none is named, of the one with the most bytes.

    The first embeds, the last holds the head. A tied table is on both: 31B in 8 bits prints 17.06
    GiB for either half (vLLM 0.21).
    """
    if settings.pipeline_parallel <= 1:
        return kept
    named = [stage for stage in (settings.stage,) if stage is not None]
    found = [_of_stage(kept, facts, settings, stage) for stage in named or _all(settings)]
    return max(found, key=lambda held: sum(m.stored_bytes for m in held))


def _all(settings: EngineSettings) -> range:
    return range(settings.pipeline_parallel)


def _of_stage(
    kept: tuple[Matrix, ...], facts: ModelFacts, settings: EngineSettings, stage: int
) -> tuple[Matrix, ...]:
    ends = (*ENDS, Part.EMBEDDING) if facts.tied else ENDS
    parts = (*(EMBEDS if stage == 0 else ()), *(ends if stage == _all(settings)[-1] else ()))
    return _held(kept, partition(len(facts.layers), settings)[stage], parts)


def _held(kept: tuple[Matrix, ...], layers: range, parts: tuple[Part, ...]) -> tuple[Matrix, ...]:
    """The matrices of some layers, and of the parts that belong to none."""
    return tuple(
        m
        for m in kept
        if (m.part in parts if m.layer is None or m.part is Part.DRAFT else m.layer in layers)
    )
