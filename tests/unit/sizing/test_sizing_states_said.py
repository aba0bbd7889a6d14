"""What an owner is told of SGLang's recurrent states: too few for a request, or for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from published import card, model
from test_sizing_neighbours import rig

from rigspec.finding import Finding
from rigspec.report.sizing import as_text
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check
from rigspec.sizing.amount import exact
from rigspec.sizing.at_once import at_once
from rigspec.sizing.memory import estimate
from rigspec.sizing.remedies import remedies
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.sglang_states import states_short
from rigspec.spec.rig import Rig

HYBRID = "Qwen/Qwen3.8-27B"
FACTS = CheckContext(models={"qwen": model(HYBRID)})
ASKED = EngineSettings(engine=Engine.SGLANG, version=(0, 5, 18), memory_fraction=0.85, context=8192)


def four_3090(**told: Any) -> Rig:
    service = {
        "engine": "sglang", "engine_version": "0.5.23", "tensor_parallel_size": 4,
        "context_length": 8192,
    }  # fmt: skip
    found = rig({"main": "rtx-3090"}, {"one": service | told})
    group = found.gpus["main"].model_copy(update={"count": 4})
    return found.model_copy(update={"gpus": {"main": group}})


def of_memory(found: Rig) -> list[Finding]:
    return [each for each in check(found, FACTS) if each.rule.startswith("memory.fits")]


@pytest.mark.parametrize(
    ("slots", "rule", "said"),
    [
        ("1", "memory.fits", "does not fit: it is told to hold 1 recurrent state, and"),
        ("4", "memory.fits-closely", "has room for its cache, but it is told to hold 4 recurrent"),
    ],
)
def test_the_states_are_named_where_they_are_what_is_short(
    slots: str, rule: str, said: str
) -> None:
    (finding,) = of_memory(four_3090(extra_args=["--max-mamba-cache-size", slots]))
    assert finding.rule == rule
    assert said in finding.message
    assert "a running request holds 3 to 5" in finding.message
    assert "of cache" not in finding.message
    assert finding.hint is not None
    assert "no `--max-mamba-cache-size`" in finding.hint


def test_nothing_is_said_of_states_that_find_room() -> None:
    assert of_memory(four_3090()) == []
    assert of_memory(four_3090(extra_args=["--max-mamba-cache-size", "5"])) == []


def test_a_cache_that_is_short_is_told_first() -> None:
    short = four_3090(extra_args=["--max-mamba-cache-size", "1"], gpu_memory_fraction=0.5)
    (finding,) = of_memory(short)
    assert "of cache per GPU, 0.0 GiB are left at best" in finding.message


def test_only_sglang_s_states_are_judged_so() -> None:
    facts = model(HYBRID)
    assert states_short(facts, ASKED, exact(0.1))
    assert states_short(facts, ASKED, exact(20.0)) == ""
    assert states_short(facts, EngineSettings(engine=Engine.VLLM), exact(0.1)) == ""
    assert states_short(model("Qwen/Qwen3-14B"), ASKED, exact(0.1)) == ""
    five, four = (states_short(facts, replace(ASKED, state_slots=n), exact(20.0)) for n in (5, 4))
    assert (five, bool(four)) == ("", True)
    alone = replace(ASKED, prefix_caching=False)
    assert states_short(facts, alone, exact(0.1)).endswith("a running request holds one")
    assert "0 to 0 recurrent states find room" in states_short(facts, ASKED, exact(-2.0))


def test_requests_at_once_are_no_more_than_find_their_states() -> None:
    # 124 states run 24 requests (0.5.18), however much cache lies beside them
    asked = EngineSettings(
        engine=Engine.SGLANG, version=(0, 5, 18), memory_fraction=0.85, context=256, state_slots=124
    )
    found = estimate(model(HYBRID), card("b200"), asked)
    assert found.kv_tokens is not None
    assert found.kv_tokens.value > 100 * 256
    assert found.concurrency == pytest.approx(124 / 5)
    facts, vllm = model(HYBRID), EngineSettings(engine=Engine.VLLM)
    assert at_once(facts, vllm, exact(20.0), exact(0.01)) == pytest.approx(2000)
    assert at_once(facts, ASKED, exact(20.0), exact(0.01)) < 2000


@pytest.mark.parametrize(
    ("told", "holder"),
    [
        ({"max_sequences": 32, "extra_args": ["--max-mamba-cache-size", "20"]}, "its recurrent"),
        ({"max_sequences": 32, "extra_args": ["--max-total-tokens", "20000"]}, "the cache holds"),
        (  # twelve find their states in what leaves the cache room for seven
            {
                "max_sequences": 32,
                "gpu_memory_fraction": 0.7,
                "extra_args": ["--max-mamba-cache-size", "60"],
            },
            "the cache holds",
        ),
    ],
)
def test_what_keeps_streams_waiting_is_named(told: dict[str, Any], holder: str) -> None:
    (line,) = (
        line for line in as_text(four_3090(**told), FACTS).splitlines() if "no more of them" in line
    )
    assert line.strip().startswith(holder)


def test_a_way_out_of_too_few_states_is_more_of_them() -> None:
    cards = (card("h100"),)
    few = EngineSettings(
        engine=Engine.SGLANG, version=(0, 5, 18), memory_fraction=0.85, context=8192, state_slots=2
    )
    names = [way.name for way in remedies(model(HYBRID), cards, few)]
    assert "SGLang's own states" in names
    assert "more states" in names
    assert "fewer states" not in names


@pytest.mark.parametrize(
    ("engine", "version", "offered"),
    [
        (Engine.SGLANG, (0, 5, 17), False),
        (Engine.SGLANG, (0, 5, 18), True),
        (Engine.VLLM, (0, 17, 0), False),
        (Engine.VLLM, (0, 17, 1), True),
    ],
)
def test_text_only_is_offered_where_the_release_takes_it(
    engine: Engine, version: tuple[int, ...], offered: bool
) -> None:
    asked = EngineSettings(
        engine=engine,
        version=version,
        memory_fraction=0.9,
        context=32_768,
        tensor_parallel=2,
    )
    ways = remedies(model(HYBRID), (card("rtx-5090"), card("rtx-5090")), asked)
    assert any("--language-model-only" in way.write for way in ways) is offered
