"""What the spec lets expect, to stand beside what was read: memory of each card, watts."""

from __future__ import annotations

from rigspec.frozen import dataclass
from rigspec.report.vram_estimate import card_estimates
from rigspec.rules.context import CheckContext
from rigspec.rules.power_budget import loads
from rigspec.sizing.supplies import circuit_w
from rigspec.spec.rig import Rig
from rigspec.verify.vram import CardEstimate


@dataclass(frozen=True)
class Supply:
    """A group of power supplies: what hangs on it and what it gives, watts of its outputs."""

    name: str
    members: tuple[str, ...]
    base_w: float
    """Everything but the GPUs."""
    rating_w: float
    efficiency: float
    spike_factor: float
    """What GPUs draw for moments above their caps."""


@dataclass(frozen=True)
class PowerBudget:
    """The supplies, and what the circuit in the wall gives for hours, with its arithmetic."""

    supplies: tuple[Supply, ...]
    circuit_w: float
    circuit_text: str


@dataclass(frozen=True)
class Estimates:
    """Of one rig; `power` None: the watts of a card are unknown."""

    cards: tuple[CardEstimate, ...] = ()
    power: PowerBudget | None = None


def estimates(rig: Rig, facts: CheckContext) -> Estimates:
    """From the spec and what is saved beside it."""
    return Estimates(card_estimates(rig, facts), power_budget(rig, facts))


def power_budget(rig: Rig, facts: CheckContext) -> PowerBudget | None:
    """The same sums that `check` judges by."""
    found = loads(rig, facts)
    if found is None:
        return None
    supplies = (
        Supply(
            load.psu.name,
            load.gpus,
            load.base_w,
            load.rating_w,
            load.psu.efficiency,
            rig.power.transient_factor,
        )
        for load in found
    )
    return PowerBudget(tuple(supplies), *circuit_w(rig.power.circuit))
