"""Watts by hand, and what measured caps cost."""

from __future__ import annotations

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.power import Circuit, GpuPower, Supply, budget, speed_at_cap


def capped(sku: str, watts: float | None) -> Card:
    gpu = find_gpu(sku)
    assert gpu is not None
    return card_of(gpu, power_limit_w=watts)


def rig(cap: float | None, count: int = 4) -> list[GpuPower]:
    return [GpuPower("rtx-pro-6000", 600.0, 150.0, cap) for _ in range(count)]


NEC_20A = Circuit(volts=120, amperes=20)


def test_continuous_load_is_four_fifths_of_the_breaker() -> None:
    assert NEC_20A.continuous_w == 1920
    assert Circuit(230, 16, continuous_share=1.0).continuous_w == 3680


def test_wall_watts_are_caps_plus_host_over_efficiency() -> None:
    supply = Supply("psu", 2000, (0, 1, 2, 3), efficiency=0.9, carries_host=True)
    found = budget(rig(350.0), [supply], host_idle_w=80, host_busy_w=280, circuit=NEC_20A)
    assert found.wall_capped_w == pytest.approx((4 * 350 + 280) / 0.9)
    assert found.wall_default_w == pytest.approx((4 * 600 + 280) / 0.9)
    assert found.wall_idle_w == pytest.approx((4 * 20 + 80) / 0.9)
    assert "4 × 350 W + 280 W host" in found.arithmetic


def test_over_the_circuit_names_the_highest_cap_that_fits() -> None:
    supply = Supply("psu", 4000, (0, 1, 2, 3), efficiency=0.9, carries_host=True)
    found = budget(rig(600.0), [supply], host_idle_w=80, host_busy_w=280, circuit=NEC_20A)
    assert not found.fits_circuit
    assert found.highest_cap_w == 360  # (1920 × 0.9 − 280) / 4 = 362, in steps of 5 W
    again = budget(rig(360.0), [supply], host_idle_w=80, host_busy_w=280, circuit=NEC_20A)
    assert again.fits


def test_each_supply_carries_its_own_cards_with_excursions() -> None:
    supplies = [Supply("a", 1000, (0, 1)), Supply("b", 1000, (2, 3), carries_host=True)]
    found = budget(rig(400.0), supplies, host_idle_w=80, host_busy_w=280)
    first, second = found.supplies
    assert first.transient_w == pytest.approx(880)
    assert first.fits
    assert second.transient_w == pytest.approx(880 + 280)
    assert not second.fits
    assert second.highest_cap_w == 325  # (1000 − 280) / 1.1 / 2 = 327


def test_supply_without_the_excursion_rule_needs_more_room() -> None:
    new, old = (Supply("p", 1200, (0, 1), atx3=modern) for modern in (True, False))
    loads = [
        budget(rig(450.0, 2), [psu], host_idle_w=0, host_busy_w=0).supplies[0].transient_w
        for psu in (new, old)
    ]
    assert loads[0] == pytest.approx(990)
    assert loads[1] == pytest.approx(1215)


def test_no_cap_fits_when_the_circuit_is_below_the_lowest() -> None:
    supply = Supply("psu", 4000, (0, 1, 2, 3), carries_host=True)
    small = Circuit(volts=120, amperes=5)
    found = budget(rig(600.0), [supply], host_idle_w=80, host_busy_w=280, circuit=small)
    assert found.highest_cap_w is None


def test_measured_caps_are_marked_measured() -> None:
    found = speed_at_cap(capped("rtx-3090", 280.0), "decode")
    assert (found.value, found.measured) == (0.95, True)
    workstation = capped("rtx-pro-6000-workstation", 300.0)
    assert speed_at_cap(workstation, "decode").value == pytest.approx(0.96)
    assert speed_at_cap(workstation, "batch").value == pytest.approx(0.70)


def test_server_card_loses_less_at_the_same_cap() -> None:
    work, server = (
        speed_at_cap(capped(sku, 300.0), "prefill").value
        for sku in ("rtx-pro-6000-workstation", "rtx-pro-6000-server")
    )
    assert server > work


def test_below_the_sweep_is_not_measured() -> None:
    assert not speed_at_cap(capped("rtx-3090", 200.0), "decode").measured


def test_other_cards_are_unknown() -> None:
    found = speed_at_cap(capped("rtx-4090", 300.0), "decode")
    assert (found.value, found.measured) == (1.0, False)
    assert "unknown" in found.source


def test_no_cap_costs_nothing() -> None:
    assert speed_at_cap(capped("rtx-4090", None), "decode").value == 1.0
    assert speed_at_cap(capped("rtx-3090", 400.0), "decode").value == 1.0
