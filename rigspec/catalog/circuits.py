"""Circuits in the wall: what a breaker gives for hours."""

from __future__ import annotations

from pathlib import Path

from rigspec.catalog.data import Span, load_table
from rigspec.frozen import dataclass

_VOLTS = Span(100, 480, "voltage of a circuit")
_AMPS = Span(1, 200, "current of this circuit in amperes")
_KEYS = ("volts", "amps", "continuous_amps", "region", "source")


@dataclass(frozen=True)
class Circuit:
    """One kind of circuit."""

    name: str
    volts: int
    amps: float
    continuous_amps: float
    """What a load of three hours and more may draw, amperes."""
    region: str
    source: str

    @property
    def continuous_factor(self) -> float:
        """Share of the breaker that a continuous load may use."""
        return self.continuous_amps / self.amps

    @property
    def continuous_w(self) -> float:
        """Watts at the wall that may be drawn for hours."""
        return self.volts * self.continuous_amps


def all_circuits(extra: Path | None = None) -> tuple[Circuit, ...]:
    """Every known circuit: ours, then those of the owner's folder `extra`."""
    found = []
    for row in load_table("circuits", extra).values():
        row.allow(*_KEYS)
        found.append(
            Circuit(
                name=row.id,
                volts=row.whole("volts", _VOLTS),
                amps=(amps := row.number("amps", _AMPS)),
                continuous_amps=row.number("continuous_amps", _AMPS._replace(most=amps)),
                region=row.text("region"),
                source=row.text("source"),
            )
        )
    return tuple(found)


def circuits_like(volts: int, amps: float, extra: Path | None = None) -> tuple[Circuit, ...]:
    """Known circuits of this rating, volts within 5 % (120 and 115 V name the same outlet)."""
    return tuple(
        circuit
        for circuit in all_circuits(extra)
        if circuit.amps == amps and abs(circuit.volts - volts) <= 0.05 * circuit.volts
    )
