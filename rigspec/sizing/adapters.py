"""LoRA adapters: vLLM sets aside slots for them beside the weights, whatever adapters come.

A slot holds two thin matrices beside each large one, from its inputs to `rank` and from there to
its outputs. One side of nearly every matrix is the model's own width, which no rank cuts.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.amount import Amount, exact
from rigspec.sizing.matrices import Matrix, Part, matrices
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.units import GIB

EXPERTS_SINCE = (0, 11, 2)
"""vLLM that gives every expert pairs of its own (vllm-project/vllm pull 21229)."""

DOUBT = (0.9, 1.35)
"""Of the slots: table, head and the rounding of many small tensors come on top (4B on a 4090: 0.077
GiB a slot of rank 16, without them 0.061)."""


def adapters_gib(facts: ModelFacts, settings: EngineSettings) -> Amount:
    """GiB of a rank's slots; nothing where none are asked for."""
    lora = settings.lora
    if lora is None:
        return exact(0.0)
    plain, experts = (
        sum(_sides(facts, settings, m) for m in matrices(facts) if _is_adapted(m, expert))
        for expert in (False, True)
    )
    slot = lora.rank * facts.dtype_bytes / GIB
    least, most = lora.slots * slot * plain, lora.slots * slot * (plain + experts)
    newer = settings.engine is Engine.VLLM and (settings.version or EXPERTS_SINCE) >= EXPERTS_SINCE
    value = (most if newer else least) * sum(DOUBT) / 2
    return Amount(value, least * DOUBT[0], most * DOUBT[1])


def _is_adapted(matrix: Matrix, expert: bool) -> bool:
    return matrix.part in (Part.MIXER, Part.MLP, Part.EXPERTS) and matrix.expert is expert


def _sides(facts: ModelFacts, settings: EngineSettings, matrix: Matrix) -> float:
    """Inputs plus outputs that a rank holds, of all experts of a layer together."""
    ranks = max(1, settings.tensor_parallel)
    if matrix.expert and matrix.width:
        count = matrix.elements / (facts.hidden * matrix.width)
        return count * (facts.hidden + matrix.width / ranks)
    return facts.hidden + matrix.elements / facts.hidden / ranks
