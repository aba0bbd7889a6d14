"""Recurrent states: one block per sequence, and vLLM refuses more sequences than blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import CONFIGS

from benchmarks.sizing_cases import case_of
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import predict_tokens_from_spec
from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.model_sizes import size_table
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.remedies import remedies
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.state_room import StateRoom
from rigspec.sizing.verdict import Verdict

SETTINGS = EngineSettings(version=(0, 22), memory_fraction=0.95, max_seqs=1024)


def model(name: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return replace(facts, quantization=Quantization(Scheme.FP8))


@pytest.fixture(scope="module")
def h100() -> Card:
    gpu = find_gpu("h100")
    assert gpu is not None
    return card_of(gpu)


def room(found: MemoryEstimate) -> StateRoom:
    assert found.states is not None
    return found.states


def test_a_published_refusal_lies_in_the_band_and_is_refused(h100: Card) -> None:
    # vllm-project/recipes pull 551: Qwen3.6-27B-FP8 at 0.95, "available Mamba cache blocks (856)"
    found = estimate(model("Qwen/Qwen3.5-27B"), h100, SETTINGS)
    assert room(found).blocks.low <= 856 <= room(found).blocks.high
    assert found.verdict is Verdict.YES  # one request fits
    assert found.boots is Verdict.NO


def test_the_engines_default_is_taken_where_none_is_set_and_proves_nothing(h100: Card) -> None:
    found = estimate(model("Qwen/Qwen3.5-27B"), h100, replace(SETTINGS, max_seqs=None))
    assert room(found).sequences == 1024
    assert found.boots is Verdict.CLOSE


@pytest.mark.parametrize(("version", "boots"), [((0, 22), Verdict.NO), (None, Verdict.CLOSE)])
def test_left_to_the_engine_it_proves_as_much_as_if_it_were_set(
    h100: Card, version: tuple[int, ...] | None, boots: Verdict
) -> None:
    left = replace(SETTINGS, max_seqs=None, complete=True, version=version)
    assert estimate(model("Qwen/Qwen3.5-27B"), h100, left).boots is boots


def test_few_sequences_have_room(h100: Card) -> None:
    found = estimate(model("Qwen/Qwen3.5-27B"), h100, replace(SETTINGS, max_seqs=256))
    assert room(found).surely
    assert found.boots is Verdict.YES


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, eager=True),
        replace(SETTINGS, version=(0, 19)),
        replace(SETTINGS, engine=Engine.SGLANG),
    ],
)
def test_nothing_is_refused_without_graphs_or_by_others(
    h100: Card, settings: EngineSettings
) -> None:
    assert estimate(model("Qwen/Qwen3.5-27B"), h100, settings).states is None


def test_a_model_without_states_is_not_asked(h100: Card) -> None:
    assert estimate(model("Qwen/Qwen3-8B"), h100, SETTINGS).states is None


@pytest.mark.parametrize(("sequences", "offered"), [(8, True), (1024, False)])
def test_a_change_that_leaves_sequences_without_a_state_is_no_remedy(
    h100: Card, sequences: int, offered: bool
) -> None:
    facts = model("Qwen/Qwen3.5-27B")
    tight = replace(SETTINGS, memory_fraction=0.5, context=262144, max_seqs=sequences)
    assert estimate(facts, h100, tight).verdict is Verdict.NO
    names = [remedy.name for remedy in remedies(facts, (h100,), tight)]
    assert ("smaller context" in names) is offered


@pytest.mark.parametrize(
    ("low", "fitting"), [(0.4, 1), (2.0, 2), (3.9, 3), (15.0, 15), (17.0, 16), (140.0, 128)]
)
def test_few_sequences_are_counted_exactly(low: float, fitting: int) -> None:
    blocks = Amount(low + 1, low, low + 2)
    assert StateRoom(256, stated=True, known=True, blocks=blocks).fitting == fitting


def width(found: MemoryEstimate) -> float:
    """The band of the tokens beside that of the free memory: 1 where nothing else is in doubt."""
    tokens, left = found.kv_tokens, found.available
    assert tokens is not None
    return (tokens.high / tokens.low) / (left.high / left.low)


@pytest.mark.parametrize(
    ("name", "changed", "doubt"),
    [
        ("Qwen/Qwen3.5-27B", {"complete": True}, 1.0),
        # older releases do not cache prefixes, and take a page less
        ("Qwen/Qwen3.5-27B", {"complete": True, "version": None}, 1.2),
        ("Qwen/Qwen3.5-27B", {"complete": True, "version": None, "beyond_known": True}, 1.2 / 0.8),
        ("Qwen/Qwen3.5-27B", {}, 1.2 / 0.8),  # a published run, of which nobody says
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", {"complete": True}, 1.2 / 0.8),  # Mamba
        ("Qwen/Qwen3-8B", {}, 1.0),  # no states
    ],
)
def test_tokens_beside_states_are_as_sure_as_the_pool_where_all_is_known(
    h100: Card, name: str, changed: dict[str, object], doubt: float
) -> None:
    facts = model(name)
    asked = replace(SETTINGS, max_seqs=8, context=32768, memory_fraction=0.9, **changed)
    assert width(estimate(facts, h100, asked)) == pytest.approx(doubt, rel=0.05)


@pytest.mark.parametrize("said", [{}, {"kv_cache_dtype": "auto (bf16)"}])
def test_a_run_that_states_all_that_its_pages_hang_on_has_the_narrower_band(
    said: dict[str, object],
) -> None:
    run = {
        "engine_family": "vllm", "engine_version": "0.30.0", "gpu": "NVIDIA H100 80GB HBM3",
        "model": "Qwen/Qwen3.5-27B", "max_model_len": 32768, "gpu_memory_utilization": 0.9,
        "max_num_seqs": 8, "enable_prefix_caching": True,
    }  # fmt: skip
    models = Models(CONFIGS, size_table(CONFIGS))
    tokens = predict_tokens_from_spec(case_of(run | said, models, 0))
    assert (tokens.high / tokens.low > 1.4) is not bool(said)
