"""Recurrent states in SGLang's pool: what they leave the cache, and how many requests run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import card, model

from rigspec.sizing.amount import exact
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.remedies import remedies
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.sglang_states import cache_of, pool_for, requests, state_gib
from rigspec.sizing.speeds import held_at
from rigspec.sizing.verdict import Verdict
from rigspec.spec.load import load_text

STARTER = Path(__file__).parents[3] / "rigs/starter.yaml"
HYBRID, DENSE = "Qwen/Qwen3.8-27B", "Qwen/Qwen3-14B"
ASKED = EngineSettings(engine=Engine.SGLANG, memory_fraction=0.85, context=32768)
STATE_GIB = 48 * (48 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 48 * 128) * 2) / 2**30
"""48 layers of 48 value heads in 32 bits, and three columns of a convolution in 16."""


def found(**changed: object) -> MemoryEstimate:
    return estimate(model(HYBRID), card("h100"), replace(ASKED, **changed))


def of_states(memory: MemoryEstimate) -> float:
    return next(term.amount.value for term in memory.terms if term.name == "recurrent states")


def test_a_state_is_what_its_matrices_hold() -> None:
    assert state_gib(model(HYBRID), ASKED) == pytest.approx(STATE_GIB, rel=1e-6)
    assert state_gib(model(HYBRID), replace(ASKED, tensor_parallel=2)) == pytest.approx(
        STATE_GIB / 2, rel=1e-6
    )
    assert state_gib(model(DENSE), ASKED) == 0


def test_states_and_cache_share_what_the_weights_leave() -> None:
    memory = found()
    assert of_states(memory) == pytest.approx(0.9 * memory.available.value)
    assert memory.kv_tokens is not None
    assert memory.concurrency is not None
    # what is said of requests and of tokens is of one pool
    assert memory.concurrency * 32768 == pytest.approx(memory.kv_tokens.value, rel=0.001)


def test_the_longest_context_is_no_longer_than_the_tokens() -> None:
    small = estimate(model(HYBRID), card("h100"), replace(ASKED, memory_fraction=0.72))
    assert small.largest_context is not None
    assert small.kv_tokens is not None
    assert small.largest_context <= small.kv_tokens.value


def test_a_model_without_states_shares_nothing() -> None:
    memory = estimate(model(DENSE), card("h100"), ASKED)
    assert "recurrent states" not in [term.name for term in memory.terms]
    assert cache_of(model(DENSE), ASKED, exact(5.0)) == exact(5.0)
    assert requests(model(DENSE), ASKED, exact(5.0)) is None


@pytest.mark.parametrize(("slots", "printed_gib"), [(360, 0.99 + 50.77), (124, 0.34 + 17.58)])
def test_as_many_states_as_are_asked_for_and_one(slots: int, printed_gib: float) -> None:
    # Qwen3.8-27B on a GB10 (`--max-mamba-cache-size 360`) and an H100 (124 by itself)
    memory = estimate(model(HYBRID), card("b200"), replace(ASKED, state_slots=slots))
    assert of_states(memory) == pytest.approx(printed_gib, rel=0.002)


def test_two_requests_more_with_four_drafts_cost_the_cache_their_states() -> None:
    # 27B on an A100, `--max-running-requests` 2 and 4: 160,768 and 151,168 tokens
    drafting = replace(ASKED, speculative=Speculative("mtp", 3))
    two, four = (
        cache_of(model(HYBRID), replace(drafting, max_seqs=seqs), exact(20.0)).value
        for seqs in (2, 4)
    )
    per_token = 17 * 2 * 4 * 256 * 2  # 16 layers with a cache and the one that drafts
    assert (two - four) * 2**30 / per_token == pytest.approx(9600, rel=0.05)


def test_where_the_requests_are_not_stated_drafts_may_take_the_states_of_48() -> None:
    drafting = replace(ASKED, speculative=Speculative("mtp", 3))
    plain, drafted = (cache_of(model(HYBRID), each, exact(60.0)) for each in (ASKED, drafting))
    assert drafted.value == plain.value
    assert drafted.low == pytest.approx((60 - 48 * 4 * STATE_GIB * 1.03) / 1.9, rel=0.05)
    newer = replace(drafting, version=(0, 5, 19))
    assert cache_of(model(HYBRID), newer, exact(60.0)) == plain


@pytest.mark.parametrize(
    ("slots", "version", "running"),
    [(124, (0, 5, 18), 24), (40, (0, 5, 18), 8), (160, (0, 5, 18), 32), (186, (0, 5, 10), 62)],
)
def test_a_running_request_holds_several_states(
    slots: int, version: tuple[int, ...], running: int
) -> None:
    # printed: 27B on an H100 and twice on a PRO 6000, 9B on two 4090s
    asked = replace(ASKED, version=version, state_slots=slots)
    room = requests(model(HYBRID), asked, exact(10.0))
    assert room is not None
    assert int(room.value) == running


def test_drafts_may_leave_fewer_states_to_running_requests() -> None:
    facts, drafts = model(HYBRID), Speculative("mtp", 3)
    plain, drafted = (
        requests(facts, each, exact(10.0))
        for each in (ASKED, replace(ASKED, speculative=drafts, state_bytes=4))
    )
    assert plain is not None
    assert drafted is not None
    assert drafted.low == pytest.approx(plain.low / (1 + 4 / 5), rel=0.04)
    assert drafted.high == pytest.approx(plain.high, rel=0.04)


def test_of_an_unstated_release_drafts_may_take_nothing_of_the_cache() -> None:
    asked = replace(ASKED, speculative=Speculative("mtp", 3), max_seqs=4)
    open_, old = (
        cache_of(model(HYBRID), replace(asked, version=v), exact(20.0)) for v in (None, (0, 5, 16))
    )
    assert open_.value == old.value == old.high
    assert open_.high == pytest.approx(20 / 1.9)


def test_a_stage_keeps_the_states_of_its_own_layers() -> None:
    first, second = (
        state_gib(model(HYBRID), replace(ASKED, pipeline_parallel=2, stage=stage))
        for stage in (0, 1)
    )
    assert first == pytest.approx(STATE_GIB / 2, rel=0.01)
    assert first + second == pytest.approx(STATE_GIB)


@pytest.mark.parametrize(
    ("asked", "basis"),
    [
        ({}, "0.9 bytes per byte of cache"),
        ({"state_ratio": 0.2}, "0.2 bytes per byte of cache"),
        ({"state_slots": 24}, "as many as stated"),
        ({"prefix_caching": False, "max_seqs": 4}, "as many as stated"),
    ],
)
def test_what_decides_the_states_is_said(asked: dict[str, object], basis: str) -> None:
    assert [term.basis for term in found(**asked).terms if "states" in term.name] == [basis]


def test_streams_are_no_more_than_find_their_states() -> None:
    few = found(state_slots=20, version=(0, 5, 18))
    assert few.kv_tokens is not None
    assert few.kv_tokens.value > 10 * 4096
    assert held_at(few, 4096) == 4
    without = found(prefix_caching=False, max_seqs=12)
    assert held_at(without, 4096) == 12  # without prefixes one each


@pytest.mark.parametrize(
    ("slots", "verdict"), [(2, Verdict.NO), (4, Verdict.CLOSE), (5, Verdict.YES)]
)
def test_a_pool_that_holds_no_request_s_states_ends_the_start(slots: int, verdict: Verdict) -> None:
    # `max_mamba_cache_size=4, mamba_ratio=5, resulting max_num_reqs=0`
    assert found(state_slots=slots, context=4096).verdict is verdict


def test_the_pool_that_a_cache_asks_for_is_the_one_that_leaves_it() -> None:
    facts = model(HYBRID)
    drafts = Speculative("mtp", 3)
    for asked in (
        ASKED,
        replace(ASKED, state_ratio=0.2),
        replace(ASKED, state_slots=30),
        replace(ASKED, speculative=drafts, max_seqs=4, version=(0, 5, 16)),
        replace(ASKED, prefix_caching=False, max_seqs=6),
    ):
        pool_gib = pool_for(facts, asked, 4.0)
        assert cache_of(facts, asked, exact(pool_gib)).value == pytest.approx(4.0)
    assert pool_for(model(DENSE), ASKED, 4.0) == 4.0


def test_fewer_states_are_a_way_out() -> None:
    facts, cards = model(HYBRID), (card("rtx-5090"),) * 2
    asked = replace(ASKED, tensor_parallel=2, context=65536, memory_fraction=0.93)
    assert estimate(facts, cards[0], asked).verdict is not Verdict.YES
    ways = {way.name: way for way in remedies(facts, cards, asked)}
    written = ways["fewer states"].write
    slots = int(written.strip("`").split()[-1])
    assert slots in (5, 10, 20, 40)
    alone = remedies(facts, cards, replace(asked, max_seqs=1))
    assert [w.write for w in alone if w.name == "fewer states"] == ["`--max-mamba-cache-size 5`"]
    after = estimate(facts, cards[0], replace(asked, state_slots=slots))
    assert after.available.value > estimate(facts, cards[0], asked).available.value
    assert "fewer states" not in {
        way.name for way in remedies(model(DENSE), cards[:1], replace(ASKED, context=262144))
    }


@pytest.mark.parametrize("name", [HYBRID, DENSE])
def test_a_pool_holds_no_more_tokens_than_it_is_told(name: str) -> None:
    # R1-Distill-14B on two A100 with `--max-total-tokens 10240`: 10,240, of room for 214,000
    facts, asked = model(name), replace(ASKED, context=8192)
    free, told, more = (
        estimate(facts, card("h100"), replace(asked, pool_tokens=n)) for n in (None, 10_240, 10**9)
    )
    assert free.kv_tokens is not None
    assert told.kv_tokens is not None
    assert told.kv_tokens.value == pytest.approx(10_240, abs=1)
    assert told.kv_tokens.high < free.kv_tokens.value
    assert told.concurrency == pytest.approx(10_240 / 8192)
    assert told.largest_context == pytest.approx(10_240, abs=1)
    assert more.available == free.available


def test_flags_of_sglang_are_read() -> None:
    rig = load_text("rig.yaml", STARTER.read_text()).rig
    assert rig is not None
    told = {
        "engine": "sglang",
        "extra_args": (
            "--max-mamba-cache-size",
            "24",
            "--mamba-ssm-dtype=bfloat16",
            "--max-total-tokens=90k",
        ),
    }
    service = rig.services["qwen"].model_copy(update=told)
    changed = rig.model_copy(update={"services": {"qwen": service}})
    settings = settings_of(changed, "qwen", {})
    assert (settings.state_slots, settings.state_bytes) == (24, 2)
    assert settings.pool_tokens == 90_000
