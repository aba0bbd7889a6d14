"""Every check is seen passing on a healthy rig and red on a fault of its own.

`python -m tests.mutation` prints the table of it; `scripts/test` does so in every run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from rigspec.observed.record import Unknown
from rigspec.report.judged import check_and_subject
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Outcome, Verdict, exit_code

from .faults import FAULTS
from .faults_fabric import only_an_error
from .healthy import RIGS, ROOT, SPEC, asked, captured, plan_of
from .registry import Fault

RED = {Outcome.FAIL, Outcome.UNKNOWN}
FOR_DRIFT_ONLY = {"firmware", "kernels", "cap-writers", "edited"}
"""Sections that no check rests on: `rigspec drift` compares them with the accepted run, or shows
them; see tests/unit/verify/test_verify_drift.py."""
STAND_IN_ROWS = {"service.answers", "fabric.pairs"}
"""Say only why a service or the pairs of cards have no rows of their own: it does not run, was not
asked, measured nothing. They never pass; tests of their own see them."""
UNJUDGED = {"cards-stt", "image-stt", "completion-stt", "stream-stt", "lsblk", "nvidia-proc"}
"""Sections that no row of the captured rig rests on: its second service does not run, its driver is
a stand-in without files in /proc; disks by label are only for `discover`."""
NEVER_MEASURED = {"fabric-run", "burn-run", "nvbandwidth"}
"""An empty one is a rig on which no load was ever made: opt-in, so not applicable with a reason.
The tool nvbandwidth is optional beside the benchmark; without its figures ours are judged."""
SPECS = (SPEC, ROOT / "rigs/starter.yaml", ROOT / "tests/mutation/full.yaml")


@cache
def judged(rig: str) -> tuple[Verdict, ...]:
    healthy = RIGS[rig]()
    return verify_rig(healthy.plan, healthy.raw.observed(healthy.plan))


@cache
def spoilt(fault: Fault) -> tuple[Verdict, ...]:
    healthy = RIGS[fault.rig]()
    return verify_rig(healthy.plan, fault.mutate(healthy.raw).observed(healthy.plan))


def check_of(verdict: Verdict) -> str:
    return check_and_subject(verdict.id)[0]


def words_of(verdict: Verdict) -> str:
    return " | ".join((verdict.title, verdict.found, verdict.reason, verdict.next_action))


def red_rows(fault: Fault) -> list[Verdict]:
    """Rows that are red, or worse than they were."""
    before = {v.id: v.outcome for v in judged(fault.rig)}
    return [v for v in spoilt(fault) if v.outcome in RED and before.get(v.id) not in RED]


def every_check() -> dict[str, Verdict]:
    """A row of each check that verify can say for the specs, with and without answers."""
    found: dict[str, Verdict] = {}
    for spec in SPECS:
        plan = plan_of(spec)
        silent = Observation()
        asked_all = replace(silent, answers={s.name: Answers() for s in plan.services})
        for seen in (silent, asked_all):
            found |= {check_of(v): v for v in verify_rig(plan, seen)}
    for rig in RIGS:
        found |= {check_of(v): v for v in judged(rig)}
    return {check: row for check, row in found.items() if check not in STAND_IN_ROWS}


@pytest.mark.parametrize("rig", RIGS)
def test_a_healthy_rig_passes_or_says_why_a_row_does_not_apply(rig: str) -> None:
    for verdict in judged(rig):
        assert verdict.outcome in {Outcome.PASS, Outcome.NOT_APPLICABLE}, verdict
        assert verdict.reason or verdict.outcome is Outcome.PASS, verdict
    assert exit_code(judged(rig)) == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.check}: {f.title}")
def test_a_fault_turns_its_own_row_red_and_no_other(fault: Fault) -> None:
    rows = red_rows(fault)
    own = [v for v in rows if check_of(v) == fault.check]
    assert own, f"all green: {[words_of(v) for v in rows]}"
    passed = [v for v in judged(fault.rig) if check_of(v) == fault.check]
    assert any(v.outcome is Outcome.PASS for v in passed), f"not healthy before: {passed}"
    assert any(v.outcome is Outcome.FAIL and fault.own_text in words_of(v) for v in own), own
    assert all(v.reason for v in own)
    others = {check_of(v) for v in rows} - {fault.check}
    assert others == set(fault.also), [v for v in rows if check_of(v) in others]


def test_the_words_of_a_fault_stand_in_no_other_faults_row() -> None:
    for fault in FAULTS:
        for other in FAULTS:
            if other is fault:
                continue
            shared = [v for v in red_rows(other) if fault.own_text in words_of(v)]
            # a row that both turn red from another side says the same of both
            shared = [v for v in shared if check_of(v) not in {*fault.also, *other.also}]
            assert not shared, f"{fault.title!r} and {other.title!r}: {fault.own_text!r}"


def test_every_check_has_a_fault() -> None:
    without = sorted(every_check().keys() - {fault.check for fault in FAULTS})
    assert not without, f"checks without a seeded fault: {', '.join(without)}"


def test_every_check_is_seen_passing() -> None:
    passing = {check_of(v) for rig in RIGS for v in judged(rig) if v.outcome is Outcome.PASS}
    assert not sorted(every_check().keys() - passing)


def test_no_fault_is_there_twice() -> None:
    titles = Counter(fault.title for fault in FAULTS)
    assert [title for title, times in titles.items() if times > 1] == []


def test_the_capture_is_what_verify_asks_today() -> None:
    wanted, have = asked(plan_of(SPEC)), captured()[1]
    stale = sorted(
        name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name)
    )
    assert not stale, (
        f"these sections were asked otherwise when the virtual rig was captured: "
        f"{', '.join(stale)}; make it anew: python -m tests.mutation.capture"
    )


def test_every_section_that_is_lost_makes_a_row_unknown_or_red() -> None:
    healthy = RIGS["home"]()
    for name in healthy.raw.sections.keys() - FOR_DRIFT_ONLY - UNJUDGED - NEVER_MEASURED:
        lost = healthy.raw.lost(name).observed(healthy.plan)
        rows = verify_rig(healthy.plan, lost)
        before = {v.id: v.outcome for v in judged("home")}
        assert any(v.outcome in RED for v in rows if before.get(v.id) not in RED), name


LOADS = {"fabric-run": "fabric.", "burn-run": "burn."}


@pytest.mark.parametrize(("section", "prefix"), LOADS.items())
def test_a_load_that_was_never_made_does_not_apply(section: str, prefix: str) -> None:
    healthy = RIGS["metal"]()
    rows = verify_rig(healthy.plan, healthy.raw.put(section, "").observed(healthy.plan))
    own = [v for v in rows if v.id.startswith(prefix)]
    assert own and all(v.outcome is Outcome.NOT_APPLICABLE and v.reason for v in own), own


@pytest.mark.parametrize(("section", "prefix"), LOADS.items())
def test_a_load_that_cannot_be_read_to_its_end_is_unknown(section: str, prefix: str) -> None:
    healthy = RIGS["metal"]()
    text = healthy.raw.text(section)
    middle = text[: len(text) // 2] + "\n##RIG-CUT"
    beginning = text[:9] + "\n##RIG-CUT"
    for spoilt_text in ("##RIG-EXIT 1 head", "##RIG-CUT", beginning, text[:9], middle):
        seen = healthy.raw.put(section, spoilt_text).observed(healthy.plan)
        own = [v for v in verify_rig(healthy.plan, seen) if v.id.startswith(prefix)]
        assert any(v.outcome is Outcome.UNKNOWN and v.reason for v in own), spoilt_text[-60:]


def test_a_benchmark_that_measured_nothing_says_why_for_all_pairs() -> None:
    healthy = RIGS["metal"]()
    seen = only_an_error(healthy.raw).observed(healthy.plan)
    (row,) = (v for v in verify_rig(healthy.plan, seen) if v.id.startswith("fabric.pair"))
    assert (row.id, row.outcome) == ("fabric.pairs", Outcome.WARN)
    assert "the cards do not answer" in words_of(row)


def test_unknown_has_a_reason() -> None:
    seen = Observation()
    for spec in SPECS:
        for verdict in verify_rig(plan_of(spec), seen):
            assert verdict.outcome is not Outcome.PASS, verdict
            assert verdict.reason, verdict
    assert isinstance(seen.tree, Unknown)
