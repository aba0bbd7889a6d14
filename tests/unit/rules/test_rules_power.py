"""The power arithmetic against sums done by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigspec.report.sizing import as_text
from rigspec.rules.context import CheckContext
from rigspec.rules.power_budget import circuit_w, equal_cap, highest_caps, loads, wall_w
from rigspec.rules.power_states import power_states
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
    cap = equal_cap(highest_caps(home, NOTHING_SAVED))
    # the circuit rules: (1920 W × 0.92 − 280 W) / 4 = 371.6 W
    assert cap == 370
    for watts, fits in ((370, True), (375, False)):
        data = home.model_dump()
        data["gpus"]["main"]["power_limit_w"] = watts
        found = check(Rig.model_validate(data))
        assert ("power.circuit-overloaded" in {f.rule for f in found}) is not fits


@settings(max_examples=60, deadline=None)
@given(
    watts=st.integers(300, 2000), cap=st.integers(150, 600), factor=st.sampled_from([1.1, 1.2, 1.5])
)
def test_what_an_overloaded_supply_is_advised_works(watts: int, cap: int, factor: float) -> None:
    data = two_cards(watts, cap, factor)
    for hint in overloads(data):
        if proposed := re.search(r"`power_limit_w: (\d+)`", hint):
            assert overloads(two_cards(watts, int(proposed[1]), factor)) == []
        if "transient_factor" in hint:
            assert factor > 1.1
            assert overloads(two_cards(watts, cap, 1.1)) == []


def two_cards(watts: int, cap: int, factor: float) -> dict[str, Any]:
    """The rig at home with two of its cards on one supply of so many watts."""
    rig = load(ROOT / "rigs" / "home.yaml").rig
    assert rig is not None
    data = rig.model_dump()
    data["gpus"]["main"] |= {"count": 2, "power_limit_w": cap}
    data["power"] |= {
        "psus": [data["power"]["psus"][0] | {"watts": watts, "count": 1}],
        "transient_factor": factor,
        "circuit": {"volts": 240, "amps": 30},
    }
    return data


def overloads(data: dict[str, Any]) -> list[str]:
    found = check(Rig.model_validate(data))
    return [f.hint for f in found if f.rule == "power.psu-overloaded"]


def test_check_and_plan_name_one_cap_for_a_domestic_socket(home: Rig) -> None:
    # (2300 W × 0.92 − 280 W) / 4 = 459 W; the breaker alone: (2944 W × 0.92 − 280 W) / 4 = 607 W
    data = changed(home, circuit={"volts": 230, "amps": 16}).model_dump()
    data["power"]["psus"] = [data["power"]["psus"][0] | {"watts": 4000}]
    data["gpus"]["main"]["power_limit_w"] = 500
    rig = Rig.model_validate(data)
    states = power_states(rig, NOTHING_SAVED)
    assert states is not None
    assert (states.highest_caps_w, states.socket_caps_w) == ({"main": 600}, {"main": 455})
    assert "600 W, on a domestic socket 455 W" in as_text(rig, NOTHING_SAVED)
    (hint,) = (f.hint for f in check(rig) if f.rule == "power.domestic-socket")
    assert "`power_limit_w: 455`" in hint
    data["gpus"]["main"]["power_limit_w"] = 455
    assert "power.domestic-socket" not in {f.rule for f in check(Rig.model_validate(data))}


def test_unequal_cards_get_a_cap_each_and_none_above_its_own_default(home: Rig) -> None:
    # 2 × 350 W + 2 × 170 W fit at their defaults; of 1320 W, (1100 − 280 − 2 × 170) / 2 = 240 W
    data = home.model_dump()
    data["gpus"] = {
        "big": data["gpus"]["main"] | {"sku": "rtx-3090", "count": 2, "power_limit_w": None},
        "small": data["gpus"]["main"] | {"sku": "rtx-3060", "count": 2, "power_limit_w": None},
    }
    data["pcie"] |= {"switches": [], "direct": [{"gpus": ["big", "small"]}]}
    psu = data["power"]["psus"][0] | {"gpus": ["big", "small"], "count": 1}
    data["power"] |= {"base_load_w": 280, "transient_factor": 1.0}
    data["power"] |= {"psus": [psu | {"watts": 3000}], "circuit": {"volts": 240, "amps": 30}}
    data["services"] = {}
    rig = Rig.model_validate(data)
    states = power_states(rig, NOTHING_SAVED)
    assert states is not None
    assert states.highest_caps_w == {"big": 350, "small": 170}
    said = "highest caps that everything carries: big 350 W, small 170 W"
    assert said in as_text(rig, NOTHING_SAVED)
    data["power"]["psus"] = [psu | {"watts": 1100}]
    (hint,) = overloads(data)
    assert hint.startswith("`power_limit_w: 240` in `big`, `power_limit_w: 170` in `small` fits")


def test_a_card_whose_lowest_cap_is_high_does_not_keep_the_others_up(home: Rig) -> None:
    # 2 × 5090 take 400 W at least: (1600 − 200 − 800) / 2 leaves 300 W for each 3090
    data = home.model_dump()
    data["gpus"] = {
        "old": data["gpus"]["main"] | {"sku": "rtx-3090", "count": 2, "power_limit_w": None},
        "new": data["gpus"]["main"] | {"sku": "rtx-5090", "count": 2, "power_limit_w": None},
    }
    data["pcie"] |= {"switches": [], "direct": [{"gpus": ["old", "new"]}]}
    psu = data["power"]["psus"][0] | {"gpus": ["old", "new"], "count": 1, "watts": 1600}
    data["power"] |= {"base_load_w": 200, "transient_factor": 1.0, "psus": [psu]}
    data["power"] |= {"circuit": {"volts": 240, "amps": 30}}
    data["services"] = {}
    (hint,) = overloads(data)
    assert hint.startswith("`power_limit_w: 300` in `old`, `power_limit_w: 400` in `new` fits")
    data["gpus"]["old"]["power_limit_w"], data["gpus"]["new"]["power_limit_w"] = 300, 400
    assert not overloads(data)


@pytest.mark.parametrize(
    ("volts", "warned"),
    [(100, True), (120, True), (208, True), (230, False), (240, True), (400, False)],
)
def test_a_whole_breaker_is_warned_about_where_the_nec_holds(
    home: Rig, volts: int, warned: bool
) -> None:
    circuit = {"volts": volts, "amps": 30, "continuous_factor": 1}
    found = {f.rule for f in check(changed(home, circuit=circuit))}
    assert ("power.whole-breaker" in found) is warned


def test_no_cap_is_proposed_that_the_card_refuses(home: Rig) -> None:
    # 150 W is the least this card takes: (150 × 4 + 280) / 0.92 is above 120 V × 8 A × 0.8 = 768 W
    small = changed(home, circuit={"volts": 120, "amps": 8})
    assert highest_caps(small, NOTHING_SAVED) is None
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
