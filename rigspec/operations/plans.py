"""Plans made in this process, by key: the inventory makes them, deploys ask for theirs.

Plans stay out of pyinfra's host data: it prints all of that, and cannot print objects.
"""

from __future__ import annotations

from rigspec.plan.sections import Plan

_PLANS: dict[str, Plan] = {}


def remember(key: str, plan: Plan) -> None:
    """Keep a plan under a key that stands in a host's data."""
    _PLANS[key] = plan


def recall(key: str) -> Plan | None:
    """The plan, None if none was made under this key."""
    return _PLANS.get(key)
