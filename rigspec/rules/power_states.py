"""The rig's watts at idle, at its caps and at default limits: the arithmetic of `power_budget`."""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.frozen import dataclass
from rigspec.rules.context import CheckContext
from rigspec.rules.power_budget import Caps, Load, highest_caps, loads, socket_caps, wall_w
from rigspec.sizing.supplies import circuit_w
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.rig import Rig

IDLE_W = 30
"""Watts of an idle GPU with a driver loaded: owners' 3090s read 15 to 30 W, one by one."""


@dataclass(frozen=True)
class PowerStates:
    """Watts at the wall in three states, against what the circuit gives for hours."""

    idle_w: float | None
    """At most: idle GPUs, but the host at its full base load, because only that is declared."""
    capped_w: float
    arithmetic: str
    """How `capped_w` comes about."""
    default_w: float | None
    """None when a card's default limit is unknown; then `highest_caps_w` is, too."""
    circuit_w: float
    circuit_text: str
    supplies: tuple[Load, ...]
    highest_caps_w: Caps | None
    """Highest cap of each group that circuit and supplies carry; None when none does."""
    socket_caps_w: Caps | None = None
    """The same where the circuit ends in a domestic socket; None where that changes nothing."""


def power_states(rig: Rig, facts: CheckContext) -> PowerStates | None:
    """The three states; None when a card has neither a cap nor a known default."""
    supplies = loads(rig, facts)
    if not supplies:
        return None
    wall, arithmetic = wall_w(supplies)
    highest, on_socket = highest_caps(rig, facts), socket_caps(rig, facts)
    limit, limit_text = circuit_w(rig.power.circuit)
    return PowerStates(
        idle_w=_wall(rig, facts, IDLE_W),
        capped_w=wall,
        arithmetic=arithmetic,
        default_w=_wall(rig, facts, None),
        circuit_w=limit,
        circuit_text=limit_text,
        supplies=supplies,
        highest_caps_w=highest,
        socket_caps_w=on_socket if on_socket != highest else None,
    )


def _wall(rig: Rig, facts: CheckContext, cap: int | None) -> float | None:
    """Watts at the wall if every card had this cap."""
    groups: Mapping[str, GpuGroup] = {
        name: group.model_copy(update={"power_limit_w": cap}) for name, group in rig.gpus.items()
    }
    found = loads(rig.model_copy(update={"gpus": groups}), facts)
    return wall_w(found)[0] if found else None
