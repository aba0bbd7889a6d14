"""The number in a remedy is the largest usual one that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.amount import exact
from rigspec.sizing.cards import card_of
from rigspec.sizing.memory import estimate
from rigspec.sizing.remedies import fits, remedies
from rigspec.sizing.settings import EngineSettings

CONFIGS = Path(__file__).parents[3] / "benchmarks/data/model-configs"
SAVED = Path(__file__).parents[3] / "rigs/models"


@pytest.mark.parametrize("too_many", [4, 3, 2])
def test_one_sequence_less_is_tried_before_many_less(too_many: int) -> None:
    facts, gpu = load_model_facts("Qwen/Qwen3-8B", [CONFIGS]), find_gpu("rtx-3090")
    assert facts is not None
    assert gpu is not None
    card = card_of(gpu)
    # this line's sampler decides the activation peak: it grows with the sequences
    settings = EngineSettings(
        version=(0, 17), context=8192, max_seqs=too_many, max_batched_tokens=16
    )
    low, high = 10.0, card.total.value
    for _ in range(40):  # a card that is just too small
        middle = (low + high) / 2
        enough = fits(estimate(facts, replace(card, total=exact(middle)), settings))
        low, high = (low, middle) if enough else (middle, high)
    found = remedies(facts, (replace(card, total=exact(low)),), settings)
    written = {remedy.name: remedy.write for remedy in found}
    assert written["fewer sequences"] == f"max_sequences: {too_many - 1}"


def test_a_remedy_that_leaves_the_states_in_doubt_is_no_sure_one() -> None:
    # vLLM's default of 256 sequences on two 3090s, where 146 to 247 states have room
    facts, gpu = load_model_facts("Qwen/Qwen3.6-27B-FP8", [SAVED]), find_gpu("rtx-3090")
    assert facts is not None
    assert gpu is not None
    settings = EngineSettings(tensor_parallel=2, context=262144)
    sure = {remedy.name: remedy.surely for remedy in remedies(facts, (card_of(gpu),), settings)}
    assert sure["smaller context"] is False
