"""Files and folders of the owner's that servers read: there, and no empty folder for a file."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from rigspec.observed.record import Unknown
from rigspec.observed.upkeep import ABSENT, EMPTY
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed


def names_a_file(path: str) -> bool:
    """Whether a path ends in a suffix: `chat.jinja`, but neither `loras` nor `v1.5`.

    The spec does not say which of the two a mount is.
    """
    return fnmatchcase(path.rpartition("/")[2], "?*.[A-Za-z]*")


def mounts(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """One row per service that mounts anything."""
    for service in plan.services:
        if service.mounts:
            yield mounted(service, seen)


def mounted(plan: ServicePlan, seen: Observation) -> Verdict:
    """What the spec mounts into it is on the host: a server that runs only fails when restarted."""
    check = Check(
        f"service.mounts.{plan.name}",
        f"{plan.name}: mounted files",
        "test -e, ls -A",
        listed(plan.mounts),
        f"services.{plan.name}.mounts",
    )
    states = seen.upkeep.mounted
    if isinstance(states, Unknown):
        return check.unknown(states)
    if unread := [path for path in plan.mounts if path not in states]:
        return check.unknown(f"not asked for: {listed(unread)}")
    if gone := [path for path in plan.mounts if states[path] == ABSENT]:
        return check.failed(
            f"absent: {listed(gone)}",
            "rigspec does not copy it, and the service refuses to start without it",
            "put it there again, or take it out of the spec",
        )
    empty = [path for path in plan.mounts if states[path] == EMPTY]
    if files := [path for path in empty if names_a_file(path)]:
        return check.failed(
            f"an empty folder: {listed(files)}",
            "a container that was started while the file was absent has left a folder in its place",
            f"rmdir {' '.join(files)}; then put the file there again",
        )
    if empty:
        return check.warned(
            f"an empty folder: {listed(empty)}",
            "the server finds nothing in it",
            "put there what it shall read, or take it out of the spec",
        )
    return check.passed("there")
