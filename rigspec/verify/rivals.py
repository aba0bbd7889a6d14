"""Servers that the owner has started in place of others (`instead_of`), and those that keep ending.

systemd stops the one that is replaced (`Conflicts=`) and never starts it again by itself, so a
rival that ends leaves nothing behind that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rigspec.observed.record import Unknown, known
from rigspec.observed.units import Unit
from rigspec.plan.sections import ServicePlan
from rigspec.verify.observation import Observation


@dataclass(frozen=True)
class Swap:
    """Who stands in a unit's place."""

    rival: str
    keeps_ending: bool

    @property
    def said(self) -> str:
        """Why the replaced one is not judged."""
        if self.keeps_ending:
            return f"{self.rival} was started in its place and keeps ending: see its row"
        return f"{self.rival} runs in its place"


def displaced(services: Iterable[ServicePlan], is_active: Callable[[str], bool]) -> dict[str, str]:
    """Units that stand back for one that runs in their place: unit → rival; for a deploy."""
    services = tuple(services)
    units = {service.name: service.unit for service in services}
    found: dict[str, str] = {}
    for service in services:
        if service.instead_of and is_active(service.unit):
            found |= {units[n]: service.unit for n in service.instead_of if n in units}
    return found


def swapped(services: Iterable[ServicePlan], seen: Observation) -> dict[str, Swap]:
    """By unit that stands back: the rival in its place, running, starting, or ending again."""
    services, units = tuple(services), known(seen.units) or {}
    unit_of = {service.name: service.unit for service in services}
    found: dict[str, Swap] = {}
    for rival in services:
        unit = units.get(rival.unit)
        if unit is None or not rival.instead_of:
            continue
        replaced = [unit_of[name] for name in rival.instead_of if name in unit_of]
        if unit.active_state == "failed":  # it may have failed long before its partner went down
            replaced = [name for name in replaced if _was_stopped(units.get(name))]
        elif not unit.active and unit.active_state != "activating":
            replaced = []
        found |= {name: Swap(rival.unit, _keeps_ending(rival, unit, seen)) for name in replaced}
    return found


def ending(swaps: Mapping[str, Swap]) -> frozenset[str]:
    """Units of the rivals that do not stay up: they are red, and not what they replaced."""
    return frozenset(swap.rival for swap in swaps.values() if swap.keeps_ending)


def _was_stopped(unit: Unit | None) -> bool:
    """Down, and not by itself."""
    return unit is not None and unit.active_state == "inactive" and unit.result == "success"


def _keeps_ending(plan: ServicePlan, unit: Unit, seen: Observation) -> bool:
    """Failed, or begun again and silent; one that was begun again and answers has recovered."""
    said = seen.answers.get(plan.name)
    silent = said is None or isinstance(said.models, Unknown)
    return unit.active_state == "failed" or (bool(known(unit.n_restarts)) and silent)
