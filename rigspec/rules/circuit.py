"""`circuit`: its voltage and its phases mean what the sum of the circuit takes them for."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, warning
from rigspec.rules.context import CheckContext
from rigspec.sizing.supplies import circuit_w
from rigspec.spec.power import Circuit
from rigspec.spec.rig import Rig
from rigspec.units import text_w

OUTLET_V = 277
"""The highest voltage that a computer's supply is made for: one phase of 277/480 V."""
LEAST_BETWEEN_V = 200
"""The lowest voltage between two phases, or two hot legs, of a building (Japan's)."""
_THREE_PHASE_V = ((208, 120), (220, 127), (380, 220), (400, 230), (415, 240), (480, 277))
"""Nominal voltages between two phases, and of each to neutral (IEC 60038 and what came before)."""


def volts_of_one_phase(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One phase has the voltage of an outlet."""
    circuit = rig.power.circuit
    if circuit.phases == 1 and circuit.volts > OUTLET_V:
        outlet = _to_neutral(circuit.volts)
        yield error(
            "circuit.volts-of-one-phase",
            ("power", "circuit", "volts"),
            f"no outlet of one phase has {circuit.volts} V: that lies between two of three phases",
            why=f"the outlet gives about {outlet} V, so the breaker would be promised √3 times "
            "what it carries",
            hint=f"`volts: {outlet}`, or `phases: 3` where all three feed the rig",
        )


def volts_between_wires(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Several phases have the voltage between two of them."""
    circuit = rig.power.circuit
    volts, phases = circuit.volts, circuit.phases
    surely = volts < LEAST_BETWEEN_V
    if phases == 1 or not (surely or _is_either(volts, phases)):
        return
    meant = f"`volts: {_between(volts)}`"
    if phases == 2 and surely:
        meant = f"`volts: {2 * volts}` for the two hot legs of a house, {meant} for two of three "
        meant += "phases"
    yield warning(
        "circuit.volts-between-wires",
        ("power", "circuit", "volts"),
        f"{volts} V is taken for the voltage between two live wires; with {phases} phases it "
        f"{'is' if surely else 'may be'} that to neutral",
        why=f"{circuit_w(circuit)[1]} is what such a circuit gives at least",
        hint=f"write {meant}"
        if surely
        else f"if it is that to neutral, write {meant}; if not, the sum is right",
    )


def _is_either(volts: int, phases: int) -> bool:
    """What 380 to 480 V give to neutral, and some networks between two wires.

    240 V with two phases are the hot legs of a house.
    """
    return 220 <= volts <= OUTLET_V and (phases == 3 or volts != 240)


def phases_evenly_loaded(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """As many supplies as load all phases alike."""
    circuit, supplies = rig.power.circuit, sum(psu.count for psu in rig.power.psus)
    to_neutral = circuit.volts > OUTLET_V
    # what hangs between two wires loads both alike
    if circuit.phases == 1 or (circuit.phases == 2 and not to_neutral):
        return
    if supplies % circuit.phases:
        sure = _surely_there(circuit, supplies)
        words = f"`phases: {sure.phases}`"
        if sure.volts != circuit.volts:
            words = f"`volts: {sure.volts}, phases: {sure.phases}`"
        more = -(-supplies // circuit.phases) * circuit.phases
        also = f"; {more} supplies load all alike" if supplies > circuit.phases else ""
        yield warning(
            "circuit.phases-evenly-loaded",
            ("power", "circuit", "phases"),
            f"{supplies} {'supply' if supplies == 1 else 'supplies'} cannot load "
            f"{circuit.phases} phases alike, as the sum of the circuit takes them to",
            why="a supply hangs on one phase, or between two; the breaker trips when the fullest "
            "is over its rating",
            hint=f"{words} counts what is surely there, {text_w(circuit_w(sure)[0])}{also}",
        )


def _surely_there(circuit: Circuit, supplies: int) -> Circuit:
    """The most phases that so many supplies load alike: any number does what hangs between two,
    and one phase has the voltage of an outlet."""
    if circuit.volts <= OUTLET_V or (circuit.phases == 3 and supplies % 2 == 0):
        return circuit.model_copy(update={"phases": 2})
    return circuit.model_copy(update={"volts": _to_neutral(circuit.volts), "phases": 1})


def _between(volts: int) -> int:
    """The nominal voltage between two of three phases whose voltage to neutral this is."""
    return min(_THREE_PHASE_V, key=lambda pair: abs(pair[1] - volts))[0]


def _to_neutral(volts: int) -> int:
    """The nominal voltage to neutral of three phases with this between them."""
    return min(_THREE_PHASE_V, key=lambda pair: abs(pair[0] - volts))[1]
