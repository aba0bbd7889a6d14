"""What a circuit gives for hours, and how the host's watts spread over its supplies."""

from __future__ import annotations

import math

from rigspec.spec.power import Circuit, Psu
from rigspec.spec.rig import Rig
from rigspec.units import text_w


def circuit_w(circuit: Circuit) -> tuple[float, str]:
    """Watts the circuit gives for hours, and how that comes about.

    Three phases named by the voltage between them (208, 400 V …) give √3 × V × A, named by the
    voltage to neutral (120, 230 V) 3 × V × A.
    """
    between = circuit.phases == 3 and (circuit.volts > 300 or 200 <= circuit.volts <= 219)
    factor = math.sqrt(3) if between else float(circuit.phases)
    shown = "√3 × " if between else f"{circuit.phases} × " if circuit.phases > 1 else ""
    watts = factor * circuit.volts * circuit.amps * circuit.continuous_factor
    return watts, (
        f"{shown}{circuit.volts} V × {circuit.amps:g} A × {circuit.continuous_factor:g} "
        f"= {text_w(watts)}"
    )


def base_share_w(rig: Rig, psu: Psu) -> float:
    """The host's watts on this supply: all of them, or by rating where several feed it."""
    if not psu.feeds_host:
        return 0.0
    rated = sum(p.watts * p.count for p in rig.power.psus if p.feeds_host)
    return rig.power.base_load_w * psu.watts * psu.count / rated
