"""What a circuit gives for hours, and how the host's watts spread over its supplies."""

from __future__ import annotations

import math

from rigspec.spec.power import Circuit, Psu
from rigspec.spec.rig import Rig
from rigspec.units import text_w

SOCKET_W = 2300
"""10 A × 230 V: what a domestic socket takes for hours (Schuko is type-tested at 16 A for hours,
not days; sockets burnt at lasting loads above 10 A)."""


def socket_w(circuit: Circuit) -> float | None:
    """Watts for hours if the circuit ends in a domestic socket; None where it cannot, or carries
    no more anyway."""
    domestic = circuit.phases == 1 and 220 <= circuit.volts <= 250 and circuit.amps <= 16
    return SOCKET_W if domestic and circuit_w(circuit)[0] > SOCKET_W else None


def circuit_w(circuit: Circuit) -> tuple[float, str]:
    """Watts the circuit gives for hours, and how that comes about.

    `volts` lies between two live wires: three of them give √3 × V × A, two V × A, as both carry
    the same current. Read as that to neutral it would promise more; that it is so, nothing shows.
    """
    factor, shown = (math.sqrt(3), "√3 × ") if circuit.phases == 3 else (1.0, "")
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
