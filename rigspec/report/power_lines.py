"""Watts of a rig in words: at the wall, on its circuit, on each supply, and the highest caps."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.rules.power_budget import caps_text
from rigspec.rules.power_states import PowerStates
from rigspec.units import text_w


def power_lines(states: PowerStates | None) -> Iterator[str]:
    """The sum of a rig with its arithmetic; one line where a card is unknown."""
    if states is None:
        yield "power: unknown, a card is not in the catalog"
        return
    yield (
        f"power at the wall: idle at most {_watts(states.idle_w)}, at the caps "
        f"{_watts(states.capped_w)}, at default limits {_watts(states.default_w)}"
    )
    yield f"  caps     {states.arithmetic}"
    yield f"  circuit  {states.circuit_text}, for hours"
    for load in states.supplies:
        yield (
            f"  {load.psu.name:<8} {text_w(load.steady_w)}, with spikes {text_w(load.peak_w)}, of "
            f"{text_w(load.rating_w)} at {load.psu.efficiency * 100:.0f} % efficiency"
        )
    if states.default_w is not None:
        caps, on_socket = states.highest_caps_w, states.socket_caps_w
        what = "caps" if caps and len(set(caps.values())) > 1 else "equal cap"
        also = f", on a domestic socket {caps_text(on_socket)}" if on_socket else ""
        said = caps_text(caps) if caps else "none"
        yield f"  highest {what} that everything carries: {said}{also}"


def _watts(watts: float | None) -> str:
    return "unknown" if watts is None else text_w(watts)
