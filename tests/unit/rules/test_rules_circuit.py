"""What a circuit promises, and the words for a voltage or a phase that may mean something else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rigspec.rules.power_budget import circuit_w
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.power import Circuit
from rigspec.spec.rig import Rig

HOME = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"
RULES = (
    "circuit.volts-of-one-phase",
    "circuit.volts-between-wires",
    "circuit.phases-evenly-loaded",
)


def hints(volts: int, phases: int, supplies: int = 1) -> dict[str, str]:
    """What the rules about this circuit advise, by rule."""
    rig = load(HOME).rig
    assert rig is not None
    data = rig.model_dump()
    data["power"]["circuit"] |= {"volts": volts, "amps": 20, "phases": phases}
    data["power"]["psus"] = [data["power"]["psus"][0] | {"count": supplies}]
    return {
        f.rule: f.hint for f in check(Rig.model_validate(data)) if f.rule.startswith("circuit.")
    }


@given(
    volts=st.integers(100, 480), amps=st.floats(1, 200), phases=st.integers(1, 3),
    factor=st.floats(0.1, 1),
)  # fmt: skip
def test_no_circuit_promises_more_than_its_wires_carry(
    volts: int, amps: float, phases: int, factor: float
) -> None:
    circuit = Circuit(volts=volts, amps=amps, phases=phases, continuous_factor=factor)
    wires = math.sqrt(3) if phases == 3 else 1  # by IEC 60038 `volts` lies between two of them
    assert circuit_w(circuit)[0] <= volts * amps * factor * wires * (1 + 1e-9)


@pytest.mark.parametrize(
    ("volts", "phases", "supplies"),
    [(120, 1, 1), (240, 1, 1), (277, 1, 1), (240, 2, 1), (208, 2, 1), (208, 3, 3), (400, 3, 6),
     (480, 3, 3), (400, 2, 2), (200, 3, 3)],
)  # fmt: skip
def test_usual_circuits_are_not_talked_about(volts: int, phases: int, supplies: int) -> None:
    assert hints(volts, phases, supplies) == {}


@pytest.mark.parametrize(
    ("volts", "phases", "written"),
    [
        (120, 2, "`volts: 240` for the two hot legs of a house, `volts: 208` for two"),
        (230, 2, "if it is that to neutral, write `volts: 400`"),
        (120, 3, "write `volts: 208`"),
        (127, 3, "write `volts: 220`"),
        (230, 3, "if it is that to neutral, write `volts: 400`"),
        (240, 3, "if it is that to neutral, write `volts: 415`"),
        (277, 3, "if it is that to neutral, write `volts: 480`"),
    ],
)
def test_voltage_to_neutral_is_asked_back(volts: int, phases: int, written: str) -> None:
    assert written in hints(volts, phases, supplies=6)["circuit.volts-between-wires"]


@pytest.mark.parametrize(("volts", "outlet"), [(380, 220), (400, 230), (415, 240), (480, 277)])
def test_panel_voltage_of_three_phases_is_refused_for_one(volts: int, outlet: int) -> None:
    assert f"`volts: {outlet}`" in hints(volts, 1)["circuit.volts-of-one-phase"]


@pytest.mark.parametrize(
    ("volts", "phases", "supplies", "sure"),
    [
        (208, 3, 1, "`phases: 2`"),
        (208, 3, 4, "`phases: 2`"),
        (400, 3, 2, "`phases: 2`"),
        (400, 3, 1, "`volts: 230, phases: 1`"),
        (400, 2, 3, "`volts: 230, phases: 1`"),
        (400, 3, 4, "`phases: 2`"),
        (400, 3, 5, "`volts: 230, phases: 1`"),
        (480, 3, 5, "`volts: 277, phases: 1`"),
        (208, 3, 5, "`phases: 2`"),
    ],
)
def test_supplies_that_leave_a_phase_emptier(
    volts: int, phases: int, supplies: int, sure: str
) -> None:
    hint = hints(volts, phases, supplies)["circuit.phases-evenly-loaded"]
    assert hint.startswith(f"{sure} counts what is surely there, ")
    written = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", sure)}
    told = {"volts": volts, "phases": phases} | written
    assert hints(**told, supplies=supplies) == {}
    given = circuit_w(Circuit(amps=20, continuous_factor=0.8, **told))[0]
    assert f", {given:.0f} W" in hint
    if supplies > phases:
        (more,) = re.findall(r"; (\d+) supplies load all alike$", hint)
        assert hints(volts, phases, int(more)) == {}
