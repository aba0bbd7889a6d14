"""Measured links: each verdict seen, limits by the declared tree, what a bad pair does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rigspec.observed.fabric_run import NEVER, parse_fabric
from rigspec.observed.p2p import parse_matrices
from rigspec.observed.pairs import (
    AllReduceReading,
    FabricCard,
    FabricReading,
    PairReading,
    PatternReading,
)
from rigspec.observed.record import Unknown, plain
from rigspec.plan.binding import BoundCard
from rigspec.plan.rig import digest, plan_rig
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.verify.faults import faults_of, is_whole, same
from rigspec.verify.from_json import read_as
from rigspec.verify.observation import Observation
from rigspec.verify.rig import verify_loads
from rigspec.verify.verdict import Outcome, Verdict

CAPTURES = Path(__file__).parents[2] / "captures"
RIG = check_file("rigs/home.yaml").rig
assert RIG is not None
PLAN = plan_rig(RIG)
MEMBERS = tuple(gpu.member for gpu in PLAN.preflight.gpus)
UUIDS = tuple(f"GPU-{n}" for n in range(4))
CARDS = tuple(FabricCard(u, m) for u, m in zip(UUIDS, MEMBERS, strict=True))
HEALTHY = PairReading(
    "",
    "",
    26.4,
    50.4,
    2.1,
    9.0,
    "peer",
    values_ok=True,
    moved=True,
    wrong_share=0.0,
    staged_gb_s=11.0,
)  # one switch, Gen4 x16: jamesob/local-llm measured 27.5 and 50.4
COPIES = PLAN.fabric.patterns[0].copies


def pairs(**first: Any) -> tuple[PairReading, ...]:
    """All twelve ordered pairs, the first changed."""
    found = [replace(HEALTHY, source=a, target=b) for a in UUIDS for b in UUIDS if a != b]
    found[0] = replace(found[0], **first)
    return tuple(found)


def pattern(**changes: Any) -> PatternReading:
    uuid = dict(zip(MEMBERS, UUIDS, strict=True))
    base = PatternReading(
        "all-pairs", tuple((uuid[a], uuid[b]) for a, b in COPIES), (8.6,) * 12, values_ok=True
    )
    return replace(base, **changes)


def group(**changes: Any) -> AllReduceReading:
    base = AllReduceReading(
        "glm", UUIDS, 64 << 20, 14.0, 21.0, 22.0, (1.0, 1.01, 1.02, 1.0), values_ok=True
    )
    return replace(base, **changes)


def reading(**changes: Any) -> FabricReading:
    base = FabricReading("2026-11-20T08:00:00Z", "cuda", CARDS, pairs(), (pattern(),), (group(),))
    return replace(base, **changes)


def rows(
    found: Any, plan: Plan = PLAN, baseline: FabricReading | None = None
) -> dict[str, Verdict]:
    binding = tuple(BoundCard(m, u, "") for m, u in zip(MEMBERS, UUIDS, strict=True))
    seen = Observation(fabric=found, binding=binding)
    return {row.id: row for row in verify_loads(plan, seen, baseline)}


PAIR, PATTERN, GROUP = (
    "fabric.pair.main.0-main.1",
    "fabric.pattern.all-pairs",
    "fabric.all-reduce.glm",
)


def test_a_healthy_rig_passes_every_row_with_figures_and_date() -> None:
    found = {i: row for i, row in rows(reading()).items() if i.startswith("fabric.")}
    assert len(found) == 6 + 1 + 1
    assert {row.outcome for row in found.values()} == {Outcome.PASS}
    assert "26.4 and 26.4 GB/s, both ways 50.4" in found[PAIR].found
    assert "at least 23.6 GB/s one way and 47.3 both ways (Gen4 x16)" in found[PAIR].expected
    assert "2026-11-20" in found[PAIR].method


def test_what_was_never_measured_does_not_apply_and_says_how_to() -> None:
    for never in (NEVER, Observation().fabric):
        for row in rows(never).values():
            assert row.outcome is Outcome.NOT_APPLICABLE
            assert "opt-in" in row.reason


RUN = '{"event": "run", "kind": "fabric", "at": "now"}'
NO_PYTHON = '{"event": "ended", "how": "error", "words": "qwen ended with status 127"}'
HUNG = '{"event": "ended", "how": "limit", "words": "it had not ended after 900 s"}'


def test_a_benchmark_that_failed_at_once_is_told_and_makes_no_rig_unprovable() -> None:
    found = [row for i, row in rows(parse_fabric([RUN, NO_PYTHON])).items() if "fabric." in i]
    assert len(found) == 3
    for row in found:
        assert (row.outcome, row.found) == (Outcome.WARN, "qwen ended with status 127")
        assert "rm /var/lib/rigspec/fabric.jsonl" in row.next_action


@pytest.mark.parametrize("lines", [[RUN, HUNG], [RUN], ["{}"]], ids=["hung", "cut", "no beginning"])
def test_a_benchmark_that_hung_or_was_cut_off_stays_unknown(lines: list[str]) -> None:
    row = rows(parse_fabric(lines))["fabric.pairs"]
    assert row.outcome is Outcome.UNKNOWN
    assert "rm /var/lib/rigspec/fabric.jsonl" in row.next_action


def test_other_cards_than_were_measured_are_not_judged() -> None:
    cards = (replace(CARDS[0], uuid="GPU-old"), *CARDS[1:])
    row = rows(reading(cards=cards))["fabric.pairs"]
    assert row.outcome is Outcome.NOT_APPLICABLE
    assert "main.0 was another card" in row.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"values_ok": False, "wrong_share": 0.031}, "wrong data"),
        ({"values_ok": False, "moved": False, "wrong_share": 1.0}, "moves nothing"),
        ({"ended": "hang", "error": "one way: did not end within 60 s"}, "hang"),
        ({"one_way_gb_s": 13.2}, "slow"),  # half the lanes
        ({"two_way_gb_s": 31.0}, "slow"),
        ({"one_way_gb_s": 9.9, "staged_gb_s": 22.0}, "slower than through the host"),  # nccl#814
        ({"path": "host"}, "not peer to peer"),
    ],
)
def test_each_fault_of_a_pair_has_its_own_words(change: dict[str, Any], verdict: str) -> None:
    found = rows(reading(pairs=pairs(**change)))
    assert found[PAIR].outcome is Outcome.FAIL
    assert found[PAIR].reason.startswith(f"{verdict}: ")
    others = [row for i, row in found.items() if i.startswith("fabric.pair.") and i != PAIR]
    assert {row.outcome for row in others} == {Outcome.PASS}


@pytest.mark.parametrize(
    "change",
    [{"values_ok": Unknown("not measured")}, {"ended": "error", "error": "latency: out of memory"}],
)
def test_a_pair_that_was_not_measured_to_its_end_is_unknown(change: dict[str, Any]) -> None:
    row = rows(reading(pairs=pairs(**change)))[PAIR]
    assert row.outcome is Outcome.UNKNOWN
    assert "rm /var/lib/rigspec/fabric.jsonl" in row.next_action


def test_a_pattern_or_a_group_that_broke_off_says_how_to_void_it() -> None:
    for broken in ({"ended": "error", "error": "x"}, {"values_ok": Unknown("x")}):
        found = rows(reading(patterns=(pattern(**broken),), all_reduce=(group(**broken),)))
        for row in (found[PATTERN], found[GROUP]):
            assert row.outcome is Outcome.UNKNOWN
            assert "rm /var/lib/rigspec/fabric.jsonl" in row.next_action


def test_the_limit_follows_the_declared_link() -> None:
    eight = plan_rig(RIG.model_copy(update={"pcie": RIG.pcie.model_copy(update={"width": 8})}))
    slow = reading(pairs=pairs(one_way_gb_s=13.2, two_way_gb_s=25.0))
    assert rows(slow)[PAIR].outcome is Outcome.FAIL
    assert rows(slow, eight)[PAIR].outcome is Outcome.PASS


def test_a_drop_against_the_accepted_run_is_red_within_the_links_limit() -> None:
    slower = reading(pairs=pairs(one_way_gb_s=23.7))
    assert rows(slower)[PAIR].outcome is Outcome.PASS
    row = rows(slower, baseline=reading(pairs=pairs(one_way_gb_s=27.4)))[PAIR]
    assert row.outcome is Outcome.FAIL
    assert "24.7" in row.reason  # 90 % of 27.4


def test_published_healthy_rigs_pass_and_refused_peers_do_not() -> None:
    """4× RTX 6000 Ada, Gen4 x16 on the CPU's own slots (stelline): peers on, then off."""
    text = (
        CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada/p2pBandwidthLatencyTest.txt"
    ).read_text()
    off, on, off_both, on_both = parse_matrices(text)[:4]
    for one, both, outcome in ((on, on_both, Outcome.PASS), (off, off_both, Outcome.FAIL)):
        measured = tuple(
            replace(HEALTHY, source=UUIDS[a], target=UUIDS[b], one_way_gb_s=one.between(a, b),
                    two_way_gb_s=both.between(a, b), staged_gb_s=Unknown("no"))
            for a in range(4) for b in range(4) if a != b
        )  # fmt: skip
        found = rows(reading(pairs=measured))
        assert {r.outcome for i, r in found.items() if i.startswith("fabric.pair.")} == {outcome}


def test_a_collapse_under_many_copies_names_the_slowest() -> None:
    each = (1.9, *(6.0,) * 11)
    row = rows(reading(patterns=(pattern(each_gb_s=each),)))[PATTERN]
    assert row.outcome is Outcome.FAIL
    assert "main.0 to main.1 1.9" in row.found
    hang = rows(reading(patterns=(pattern(ended="hang", error="did not end"),)))[PATTERN]
    assert (hang.outcome, hang.reason.partition(":")[0]) == (Outcome.FAIL, "hang")
    wrong = rows(reading(patterns=(pattern(values_ok=False),)))[PATTERN]
    assert wrong.reason.startswith("wrong data")
    assert rows(reading(patterns=()))[PATTERN].outcome is Outcome.UNKNOWN


def test_an_all_reduce_is_judged_by_values_speed_and_its_slowest_rank() -> None:
    wrong = rows(reading(all_reduce=(group(values_ok=False, wrong_ranks=(2,)),)))[GROUP]
    assert (wrong.outcome, wrong.found) == (Outcome.FAIL, "wrong sums on rank 2 (main.2)")
    hang = rows(reading(all_reduce=(group(ended="hang", error="rank 1"),)))[GROUP]
    assert hang.outcome is Outcome.FAIL and hang.reason.startswith("hang")
    slow = rows(reading(all_reduce=(group(busbw_gb_s=9.0),)))[GROUP]
    assert slow.outcome is Outcome.FAIL and "these links should give 16.5 GB/s" in slow.reason
    one = rows(reading(all_reduce=(group(ready_ms=(1.0, 1.0, 1.4, 1.0)),)))[GROUP]
    assert one.outcome is Outcome.FAIL and "rank 2 (main.2)" in one.found
    assert rows(reading(all_reduce=()))[GROUP].outcome is Outcome.UNKNOWN


def test_a_faster_way_through_the_host_is_worth_a_word() -> None:
    both = (group(), group(peer_to_peer=False, busbw_gb_s=24.0))
    row = rows(reading(all_reduce=both))[GROUP]
    assert row.outcome is Outcome.WARN and "24.0" in row.reason


# --- what a fault does to the plan ---------------------------------------------------------------


def bad(**change: Any) -> FabricReading:
    return reading(pairs=pairs(**change))


def test_a_bad_pair_turns_peers_off_in_its_services_and_the_next_verify_says_so() -> None:
    found = bad(values_ok=False, wrong_share=0.5)
    faults = faults_of(PLAN, found)
    assert faults is not None
    assert [(f.members, f.verdict) for f in faults.faults] == [(("main.0", "main.1"), "wrong data")]
    plan = plan_rig(RIG, faults=faults)
    glm, stt = plan.services
    assert "--disable-custom-all-reduce" in glm.argv
    script, environment, _ = (file.content for file in glm.files)
    assert "NCCL_P2P_DISABLE=1\n" in environment
    assert "NCCL_P2P_LEVEL" not in environment
    assert "# Peer-to-peer copies are off: main.0 and main.1: wrong data (50 % wrong" in environment
    assert "are off: main.0 and main.1: wrong data" in script
    assert stt == PLAN.services[1]  # one card: not concerned
    row = rows(found, plan)[PAIR]
    assert row.outcome is Outcome.WARN
    assert "peer-to-peer copies are off in glm" in row.reason


def test_the_plan_with_faults_is_as_deterministic_as_without() -> None:
    faults = faults_of(PLAN, bad(ended="hang", error="x"))
    assert digest(plan_rig(RIG, faults=faults)) == digest(plan_rig(RIG, faults=faults))
    assert digest(plan_rig(RIG, faults=faults)) != digest(PLAN)
    assert digest(plan_rig(RIG)) == digest(PLAN)


@pytest.mark.parametrize(
    "change", [{"one_way_gb_s": 13.2}, {"path": "host"}, {"ended": "error", "error": "no memory"}]
)
def test_what_turning_peers_off_does_not_cure_changes_no_plan(change: dict[str, Any]) -> None:
    assert faults_of(PLAN, bad(**change)) is None


def test_a_wrong_all_reduce_concerns_the_whole_group_only_when_peer_to_peer() -> None:
    faults = faults_of(PLAN, reading(all_reduce=(group(values_ok=False, wrong_ranks=(1,)),)))
    assert faults is not None and faults.faults[0].members == MEMBERS
    host = group(values_ok=False, wrong_ranks=(1,), peer_to_peer=False)
    assert faults_of(PLAN, reading(all_reduce=(host,))) is None


def test_the_same_faults_at_another_time_are_the_same() -> None:
    one = faults_of(PLAN, bad(values_ok=False, wrong_share=0.5))
    later = replace(bad(values_ok=False, wrong_share=0.4), taken_at="2026-12-01T00:00:00Z")
    assert same(one, faults_of(PLAN, later))
    assert not same(one, faults_of(PLAN, bad(ended="hang", error="x")))
    assert not same(one, None) and same(None, None)


def test_only_a_whole_measurement_clears_old_faults() -> None:
    assert is_whole(PLAN, reading())
    assert not is_whole(PLAN, reading(pairs=pairs()[1:]))
    assert not is_whole(PLAN, reading(pairs=pairs(ended="error", error="x")))
    assert not is_whole(PLAN, reading(all_reduce=()))


def test_a_reading_survives_its_json() -> None:
    assert read_as(FabricReading, plain(reading())) == reading()
