"""What hangs on each supply and on the circuit, and the uplinks of declared switches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rigspec.plan.expected import Budget
from rigspec.plan.pcie import plan_pcie
from rigspec.plan.power import plan_power
from rigspec.spec.rig import Rig

TWO_GROUPS = {
    "a": {"sku": "rtx-3090", "count": 2, "power_limit_w": 290},
    "b": {"sku": "rtx-3090", "count": 2, "power_limit_w": 290},
}
SUPPLIES = [
    {"name": "left", "watts": 1200, "efficiency": 0.9, "gpus": ["a"], "feeds_host": True},
    {"name": "right", "watts": 1000, "count": 2, "efficiency": 0.8, "gpus": ["b"]},
]


def budgets(rig: Rig) -> dict[str, Budget]:
    return {budget.name: budget for budget in plan_power(rig).budgets}


def watts(budget: Budget, card_w: float) -> float:
    """By hand: (cards × cap × spikes + host) / efficiency, part by part."""
    return sum(
        (len(part.members) * card_w * part.spikes + part.base_w) / part.efficiency
        for part in budget.parts
    )


def test_each_supply_and_the_circuit_are_summed_as_declared(make_rig: Callable[..., Rig]) -> None:
    power: dict[str, Any] = {
        "circuit": {"volts": 230, "amps": 16},
        "base_load_w": 200,
        "transient_factor": 1.5,
        "psus": SUPPLIES,
    }
    found = budgets(make_rig(gpus=TWO_GROUPS, power=power))
    assert list(found) == ["supply.left", "supply.right", "circuit"]
    assert found["supply.left"].limit_w == 1200
    assert watts(found["supply.left"], 290) == pytest.approx(2 * 290 * 1.5 + 200)
    assert found["supply.right"].limit_w == 2000
    assert watts(found["supply.right"], 290) == pytest.approx(2 * 290 * 1.5)
    wall = (2 * 290 + 200) / 0.9 + 2 * 290 / 0.8
    assert watts(found["circuit"], 290) == pytest.approx(wall)
    assert found["supply.right"].origin == "power.psus[1]"


def test_every_declared_switch_has_its_uplink(make_rig: Callable[..., Rig]) -> None:
    leaf = {"model": "c-payne-pm40100", "generation": 4, "upstream_width": 8}
    root = {
        "name": "root",
        "model": "c-payne-pm40100",
        "generation": 5,
        "switches": [leaf | {"name": "one", "gpus": ["a"]}, leaf | {"name": "two", "gpus": ["b"]}],
    }
    pcie = {"generation": 4, "switches": [root], "direct": []}
    links = plan_pcie(make_rig(gpus=TWO_GROUPS, pcie=pcie)).uplinks
    assert [(u.name, u.generation, u.width, u.depth) for u in links] == [
        ("root", 5, 16, 1),
        ("one", 4, 8, 0),
        ("two", 4, 8, 0),
    ]
    assert links[1].members == ("a.0", "a.1")
    assert links[2].origin == "pcie.switches[0].switches[1]"
