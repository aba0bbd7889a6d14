"""The baseline of a rig, and its floor: three spreads, never tighter than a tenth."""

from __future__ import annotations

import pytest

from rigspec.observed.pace import PaceRun
from rigspec.observed.record import Unknown
from rigspec.verify.from_json import WrongShape
from rigspec.verify.pace import (
    Baseline,
    Measured,
    baseline_of,
    measured_from_json,
    measured_to_json,
    verify_pace,
)
from rigspec.verify.verdict import Outcome


def runs(rate: float, ttft: float = 0.2) -> tuple[PaceRun, ...]:
    """Three runs around a rate: the median is the rate itself."""
    return tuple(PaceRun(ttft, 101, 100 / (rate + off)) for off in (-2, 0, 3))


STEADY = baseline_of([runs(100), runs(101), runs(99)])


def outcomes(rate: float, ttft: float = 0.2) -> tuple[Outcome, Outcome]:
    assert isinstance(STEADY, Baseline)
    speed, first = verify_pace({"glm": runs(rate, ttft)}, {"glm": STEADY})
    return speed.outcome, first.outcome


def test_the_baseline_is_the_median_of_starts_with_its_spread() -> None:
    assert Baseline(3, 100.0, 1.0, 0.2, 0.0) == STEADY


def test_a_steady_baseline_is_never_tighter_than_a_tenth() -> None:
    assert isinstance(STEADY, Baseline)
    assert STEADY.floor == pytest.approx(90)
    assert Baseline(3, 100, 5, 0.2, 0).floor == pytest.approx(85)


def test_an_engine_slower_by_a_fifth_is_red_and_one_slower_by_noise_is_not() -> None:
    assert outcomes(80)[0] is Outcome.FAIL
    assert outcomes(95)[0] is Outcome.PASS
    assert outcomes(140)[0] is Outcome.PASS


def test_a_late_first_token_is_red_and_a_hiccup_is_not() -> None:
    assert outcomes(100, ttft=0.29)[1] is Outcome.PASS
    assert outcomes(100, ttft=0.5)[1] is Outcome.FAIL


def test_without_a_baseline_the_pace_is_said_and_not_judged() -> None:
    for row in verify_pace({"glm": runs(100)}, {}):
        assert row.outcome is Outcome.NOT_APPLICABLE
        assert row.found
        assert "rigspec baseline" in row.reason


def test_a_pace_that_could_not_be_measured_is_unknown() -> None:
    for row in verify_pace({"glm": Unknown("no piece with text came")}, {}):
        assert row.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        ([runs(100)], "no spread"),
        ([], "no spread"),
        ([runs(100), Unknown("the stream broke off")], "broke off"),
        ([runs(100), runs(60), runs(140)], "differ too much"),
    ],
    ids=["one start", "none", "a broken one", "noise"],
)
def test_what_is_no_baseline_says_why(starts: list[object], why: str) -> None:
    made = baseline_of(starts)  # type: ignore[arg-type]
    assert isinstance(made, Unknown)
    assert why in made.reason


def test_a_measurement_is_read_back_as_it_was_written() -> None:
    measured = Measured("home", "d", "2026-11-24T21:00:00+00:00", {"glm": (runs(50), Unknown("x"))})
    assert measured_from_json(measured_to_json(measured)) == measured


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "rigspec-pace", "version": 9}'])
def test_a_damaged_measurement_is_said(text: str) -> None:
    with pytest.raises(WrongShape):
        measured_from_json(text)
