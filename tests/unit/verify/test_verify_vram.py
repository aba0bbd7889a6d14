"""Memory in use beside its estimate: inside the band passes, outside warns, nothing fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from home_in_order import GOOD, PLAN, gpu

from rigspec.observed.record import Unknown
from rigspec.report.vram_estimate import card_estimates
from rigspec.rules.context import saved_context
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Outcome, Verdict
from rigspec.verify.vram import CardEstimate

STARTER = Path(__file__).resolve().parents[3] / "rigs" / "starter.yaml"
ESTIMATES = tuple(CardEstimate("glm", f"main.{n}", 90.0, 88.0, 93.0) for n in range(4))


def used(gib: float | None) -> Observation:
    mib = Unknown("[N/A]") if gib is None else int(gib * 1024)
    return replace(GOOD, cards=tuple(gpu(n, memory_used_mib=mib) for n in range(4)))


def row(seen: Observation, estimates: tuple[CardEstimate, ...] = ESTIMATES) -> Verdict | None:
    found = verify_rig(PLAN, seen, estimates)
    return next((v for v in found if v.id == "service.memory.main.0"), None)


@pytest.mark.parametrize(
    ("gib", "outcome"),
    [
        (91.0, Outcome.PASS),
        (88.0, Outcome.PASS),
        (95.5, Outcome.WARN),
        (40.0, Outcome.WARN),
        (None, Outcome.UNKNOWN),
    ],
)
def test_an_estimate_warns_and_never_fails(gib: float | None, outcome: Outcome) -> None:
    verdict = row(used(gib))
    assert verdict is not None
    assert verdict.outcome is outcome
    if outcome is Outcome.WARN:
        assert f"{gib:.1f} GiB" in verdict.found
        assert "88.0 to 93.0 GiB, estimated 90.0" in verdict.expected


def test_a_card_without_an_estimate_has_no_row() -> None:
    assert row(used(91.0), ()) is None
    assert row(replace(used(91.0), answers={})) is None  # nothing runs there


def test_a_simulated_card_is_not_judged() -> None:
    verdict = row(replace(used(1.0), simulated=True))
    assert verdict is not None
    assert verdict.outcome is Outcome.NOT_APPLICABLE


def test_the_band_of_a_real_service_holds_its_estimate_and_what_cuda_takes_beside_it() -> None:
    rig = check_file(str(STARTER)).rig
    assert rig is not None
    estimates = card_estimates(rig, saved_context(rig, STARTER))
    assert len(estimates) == 2
    for estimate in estimates:
        assert estimate.low <= estimate.gib < estimate.high
        assert estimate.high - estimate.gib < 0.2 * estimate.gib
