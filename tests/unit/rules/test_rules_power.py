"""The power arithmetic against sums done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rigspec.rules.context import CheckContext
from rigspec.rules.power_budget import circuit_w, highest_cap, loads, wall_w
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.power import Circuit
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
NOTHING_SAVED = CheckContext()


@pytest.fixture
def home() -> Rig:
    rig = load(ROOT / "rigs" / "home.yaml").rig
    assert rig is not None
    return rig


def changed(rig: Rig, **power: Any) -> Rig:
    data = rig.model_dump()
    data["power"] |= power
    return Rig.model_validate(data)


def test_home_draws_what_the_sum_says(home: Rig) -> None:
    found = loads(home, NOTHING_SAVED)
    assert found is not None
    watts, words = wall_w(found)
    assert watts == pytest.approx((4 * 350 + 280) / 0.92)
    assert words == "(4 × 350 W + 280 W host) / 0.92 = 1826 W"
    assert found[0].peak_w == pytest.approx(1.2 * 1400 + 280)


@pytest.mark.parametrize(
    ("circuit", "watts"),
    [
        ({"volts": 120, "amps": 15}, 1440),  # the figures every contractor quotes
        ({"volts": 120, "amps": 20}, 1920),
        ({"volts": 240, "amps": 30}, 5760),
        ({"volts": 230, "amps": 16, "continuous_factor": 1}, 3680),
        ({"volts": 240, "amps": 20, "phases": 2}, 3840),  # two hot legs, one breaker of two poles
        ({"volts": 208, "amps": 20, "phases": 2}, 3328),  # two of three phases
        ({"volts": 240, "amps": 30, "phases": 3}, 9977),  # a delta: nothing lies to neutral
        ({"volts": 400, "amps": 16, "phases": 3, "continuous_factor": 1}, 11085),
        ({"volts": 208, "amps": 30, "phases": 3}, 8646),
    ],
)
def test_circuit_gives_its_continuous_watts(circuit: dict[str, float], watts: float) -> None:
    assert circuit_w(Circuit.model_validate(circuit))[0] == pytest.approx(watts, abs=1)


def test_highest_cap_fits_and_five_watts_more_do_not(home: Rig) -> None:
    cap = highest_cap(home, NOTHING_SAVED)
    # the circuit rules: (1920 W × 0.92 − 280 W) / 4 = 371.6 W
    assert cap == 370
    for watts, fits in ((370, True), (375, False)):
        data = home.model_dump()
        data["gpus"]["main"]["power_limit_w"] = watts
        found = check(Rig.model_validate(data))
        assert ("power.circuit-overloaded" in {f.rule for f in found}) is not fits


def test_no_cap_is_proposed_that_the_card_refuses(home: Rig) -> None:
    # 150 W is the least this card takes: (150 × 4 + 280) / 0.92 is above 120 V × 8 A × 0.8 = 768 W
    small = changed(home, circuit={"volts": 120, "amps": 8})
    assert highest_cap(small, NOTHING_SAVED) is None
    hints = [f.hint for f in check(small) if f.rule == "power.circuit-overloaded"]
    assert "no cap that these cards take fits" in hints[0]


def test_host_load_is_shared_by_rating_where_two_groups_feed_it(home: Rig) -> None:
    psus = [
        {"name": "a", "watts": 2000, "gpus": ["main.0", "main.1"], "feeds_host": True},
        {"name": "b", "watts": 1000, "gpus": ["main.2", "main.3"], "feeds_host": True},
    ]
    found = loads(changed(home, psus=psus, base_load_w=300), NOTHING_SAVED)
    assert found is not None
    assert [load.base_w for load in found] == [200, 100]


def test_unknown_card_without_cap_is_not_summed_as_nothing(home: Rig) -> None:
    data = home.model_dump()
    data["gpus"]["main"] |= {"sku": "mystery", "power_limit_w": None}
    rig = Rig.model_validate(data)
    assert loads(rig, NOTHING_SAVED) is None
    assert "gpus.sku-known" in {f.rule for f in check(rig)}


def test_uncapped_card_counts_with_its_default(home: Rig) -> None:
    data = home.model_dump()
    data["gpus"]["main"]["power_limit_w"] = None
    found = loads(Rig.model_validate(data), NOTHING_SAVED)
    assert found is not None
    assert found[0].steady_w == 4 * 600 + 280
