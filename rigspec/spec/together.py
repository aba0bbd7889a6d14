"""Services that may run at the same time, and those of them that share a card."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from rigspec.spec.rig import Rig, members

MOST_AT_ONCE = 12
"""Services on one card up to which every combination is looked at."""


def concurrent(rig: Rig) -> Iterator[tuple[str, str]]:
    """Pairs of services that may run at the same time, in the order of the spec."""
    for one, other in combinations(rig.services, 2):
        apart = one in rig.services[other].instead_of or other in rig.services[one].instead_of
        if not apart:
            yield one, other


def sharers(rig: Rig) -> dict[str, list[str]]:
    """Card → services that use it, where there are several."""
    users: dict[str, list[str]] = {}
    for name, service in rig.services.items():
        for member in dict.fromkeys(members(rig.gpus, service.gpus)):
            users.setdefault(member, []).append(name)
    return {member: names for member, names in users.items() if len(names) > 1}


def groups_at_once(rig: Rig, names: list[str]) -> Iterator[tuple[str, ...]]:
    """Every set of these services that may run at the same time."""
    together = set(concurrent(rig))
    most = len(names) if len(names) <= MOST_AT_ONCE else 2
    for size in range(2, most + 1):
        for group in combinations(names, size):
            if all(pair in together for pair in combinations(group, 2)):
                yield group
