"""Cards under load: each row seen passing, red and unable to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rigspec.observed.load import NEVER, CardLoad, LinkErrors, LoadReading, Spread, parse_load
from rigspec.observed.record import Unknown
from rigspec.plan.rig import plan_rig
from rigspec.rules.run import check_file
from rigspec.verify.load import verify_load
from rigspec.verify.verdict import Outcome, Verdict

RIG = check_file("rigs/home.yaml").rig
assert RIG is not None
PLAN = plan_rig(RIG)


def card(n: int, **changes: Any) -> CardLoad:
    base = CardLoad(
        f"GPU-{n}", f"main.{n}", Spread(40, 71, 78), Spread(60, 349, 350), Spread(210, 1800, 2000),
        Spread(1, 4, 4), Spread(16, 16, 16), (), 300.0 + n, 0, 0,
    )  # fmt: skip
    return replace(base, **changes)


def rows(**changes: Any) -> dict[str, Verdict]:
    cards = tuple(card(n) for n in range(4))
    first = changes.pop("first", None)
    if first is not None:
        cards = (card(0, **first), *cards[1:])
    base = LoadReading("2026-11-20T08:00:00Z", "burn", 10, "done", "", 90, cards, ())
    return {row.id: row for row in verify_load(PLAN, replace(base, **changes), "burn")}


def test_healthy_cards_pass_with_their_figures() -> None:
    found = rows()
    assert {row.outcome for row in found.values()} == {Outcome.PASS}
    assert found["burn.link.main.0"].found == "gen 4 x16"
    assert "40–78 (median 71) °C" in found["burn.clocks.main.0"].found


def test_without_a_run_one_row_says_how_to() -> None:
    (row,) = verify_load(PLAN, NEVER, "burn")
    assert (row.outcome, row.reason) == (Outcome.NOT_APPLICABLE, "load is opt-in: rigspec burn")


@pytest.mark.parametrize(
    ("row", "first", "found"),
    [
        ("burn.link.main.0", {"link_gen": Spread(1, 1, 2)}, "gen 2 x16"),
        ("burn.link.main.0", {"link_width": Spread(4, 16, 16)}, "gen 4 x4"),
        ("burn.clocks.main.0", {"held_down_by": ("power brake",)}, "power brake"),
        ("burn.values.main.0", {"wrong": 3}, "3 wrong"),
        ("burn.alike.main.0", {"tflops": 255.0}, "main.0 85% of the median"),  # 15 % down
    ],
)
def test_a_fault_of_one_card_is_its_own_row(row: str, first: dict[str, Any], found: str) -> None:
    seen = rows(first=first)
    assert seen[row].outcome is Outcome.FAIL
    assert found in seen[row].found
    assert {v.outcome for i, v in seen.items() if i != row} == {Outcome.PASS}


def test_spread_within_ten_percent_is_normal() -> None:
    assert rows(first={"tflops": 285.0})["burn.alike.main.0"].outcome is Outcome.PASS


def test_cards_of_different_caps_are_not_compared() -> None:
    gpus = PLAN.preflight.gpus
    capped = replace(
        PLAN,
        preflight=replace(PLAN.preflight, gpus=(replace(gpus[0], power_limit_w=250), *gpus[1:])),
    )
    cards = (card(0, tflops=200.0), *(card(n) for n in range(1, 4)))
    reading = LoadReading("now", "burn", 1, "done", "", 90, cards, ())
    found = {row.id: row.outcome for row in verify_load(capped, reading, "burn")}
    assert found["burn.alike.main.1"] is Outcome.PASS
    assert "burn.alike.main.0" not in found


def test_errors_on_the_way_are_a_warning_lost_packets_are_red() -> None:
    storm = (LinkErrors("0000:03:00.0", 250, 0, 0),)
    assert rows(link_errors=storm)["burn.errors"].outcome is Outcome.WARN
    lost = rows(link_errors=(LinkErrors("0000:03:00.0", 0, 1, 0),))["burn.errors"]
    assert (lost.outcome, "0000:03:00.0 0/1/0" in lost.found) == (Outcome.FAIL, True)
    assert rows(first={"replays": 9})["burn.errors"].outcome is Outcome.WARN
    no_aer = Unknown("the kernel shows no AER counters")
    assert rows(link_errors=no_aer)["burn.errors"].outcome is Outcome.PASS
    blind = tuple(card(n, replays=Unknown("none")) for n in range(4))
    assert rows(link_errors=no_aer, cards=blind)["burn.errors"].outcome is Outcome.UNKNOWN


def test_a_heat_stop_is_red() -> None:
    hot = rows(ended="temperature", words="a card reached 91 degrees, the limit is 90")[
        "burn.ended"
    ]
    assert hot.outcome is Outcome.FAIL and "91 degrees" in hot.found


IDLE = tuple(card(n, tflops=Unknown("x"), wrong=Unknown("x")) for n in range(4))


def test_a_run_that_failed_at_once_is_told_and_makes_no_rig_unprovable() -> None:
    broken = rows(ended="error", words="no such image", cards=IDLE)
    assert list(broken) == ["burn.ended"]
    row = broken["burn.ended"]
    assert (row.outcome, row.found) == (Outcome.WARN, "no such image, 2026-11-20T08:00:00Z")
    assert "rm /var/lib/rigspec/burn.jsonl" in row.next_action


@pytest.mark.parametrize(
    "run",
    [
        {"ended": "limit", "words": "it had not ended after 900 s", "cards": IDLE},
        {"ended": "", "cards": IDLE},
        {"ended": "error", "words": "no such image"},
    ],
    ids=["hung", "cut off", "after work"],
)
def test_any_other_end_stays_unknown_and_says_how_to_void_it(run: dict[str, Any]) -> None:
    row = rows(**run)["burn.ended"]
    assert row.outcome is Outcome.UNKNOWN
    assert "rm /var/lib/rigspec/burn.jsonl" in row.next_action


def test_a_run_of_which_nothing_was_read_says_how_to_void_it() -> None:
    (row,) = verify_load(PLAN, Unknown("cut"), "burn")
    assert row.outcome is Outcome.UNKNOWN
    assert "rm /var/lib/rigspec/burn.jsonl" in row.next_action


def test_what_cards_did_before_a_run_broke_off_is_judged() -> None:
    assert rows(ended="error", words="no such image")["burn.link.main.0"].outcome is Outcome.PASS


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "card", "uuid": "GPU-0", "temperature_c": [1, 2], "reasons": ["what"]}',
        '{"event": "card", "uuid": "GPU-0", "temperature_c": [true, 2, 3], "reasons": 3}',
        '{"event": "work", "uuid": "GPU-0", "tflops": "fast", "wrong": -1}',
        '{"event": "aer", "when": "before", "device": "x", "errors": [1]}',
        '{"event": "work", "uuid": ["GPU-0"]}',
        '{"event": 7}',
        "[]",
        "{",
    ],
)
def test_lines_that_are_not_ours_harm_nothing(line: str) -> None:
    head = (
        '{"event": "run", "kind": "burn", "at": "now", "minutes": 1, "limit_c": 90}',
        '{"event": "member", "member": "main.0", "uuid": "GPU-0"}',
    )
    found = parse_load([*head, line])
    assert isinstance(found, LoadReading)
    (only,) = found.cards
    assert isinstance(only.temperature_c, Unknown) and isinstance(only.tflops, Unknown)
    assert isinstance(only.wrong, Unknown)
