"""Servers that the owner has started in place of others (`instead_of`), and those that keep ending.

systemd stops the one that is replaced (`Conflicts=`) and never starts it again by itself, so a
rival that ends leaves nothing behind that serves. A server that ends within seconds is `active` for
half of the looks: only its restarts and what is missing behind it tell it from one that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown, known
from rigspec.observed.units import Unit
from rigspec.plan.sections import ServicePlan
from rigspec.verify.observation import Observation

_OFTEN = 3
"""Restarts since boot that no owner makes (`systemctl restart` is not counted)."""
_MOMENT_S = 60
"""A server that has been up so long has loaded, or opened its port, at least."""


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
    """Failed, or begun again and silent; one that was begun again and answers has recovered.

    Between two starts it is not the one who answers.
    """
    again = bool(known(unit.n_restarts))
    between = unit.active_state == "activating"
    return unit.active_state == "failed" or (again and (between or _is_silent(plan, seen)))


def _is_silent(plan: ServicePlan, seen: Observation) -> bool:
    said = seen.answers.get(plan.name)
    return said is None or isinstance(said.models, Unknown)


def loops(plan: ServicePlan, seen: Observation) -> bool:
    """Whether a server that is active at this moment ends and is started again, over and over."""
    unit, said = (known(seen.units) or {}).get(plan.unit), seen.answers.get(plan.name)
    if unit is None or said is None or not unit.active or (known(unit.n_restarts) or 0) < _OFTEN:
        return False
    image = said.image.running
    words = f"{image.reason} {image.line}" if isinstance(image, Unknown) else ""
    gone = "no such container" in words.lower()
    return gone or (_is_silent(plan, seen) and 0 < up_s(unit, seen) < _MOMENT_S)


def up_s(unit: Unit, seen: Observation) -> float:
    """How long a unit has been up; 0 where nobody could tell."""
    host = known(seen.host)
    uptime_s, since_us = known(host.uptime_s) if host else None, known(unit.active_enter_us)
    return uptime_s - since_us / 1e6 if uptime_s and since_us else 0
