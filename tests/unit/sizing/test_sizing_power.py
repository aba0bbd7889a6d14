"""What measured caps cost in speed, and which are marked as measured."""

from __future__ import annotations

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.power import speed_at_cap


def capped(sku: str, watts: float | None) -> Card:
    gpu = find_gpu(sku)
    assert gpu is not None
    return card_of(gpu, power_limit_w=watts)


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
