"""Plans made in this process, by key: the inventory makes them, deploys ask for theirs.

Plans stay out of pyinfra's host data: it prints all of that, and cannot print objects.
"""

from __future__ import annotations

from rigspec.plan.sections import Plan
from rigspec.verify.vram import CardEstimate

_PLANS: dict[str, Plan] = {}
_MEMORY: dict[str, tuple[CardEstimate, ...]] = {}


def remember(key: str, plan: Plan, memory: tuple[CardEstimate, ...] = ()) -> None:
    """Keep a plan under a key that stands in a host's data, and what its servers should take."""
    _PLANS[key] = plan
    _MEMORY[plan.rig] = memory


def recall(key: str) -> Plan | None:
    """The plan, None if none was made under this key."""
    return _PLANS.get(key)


def expected_memory(plan: Plan) -> tuple[CardEstimate, ...]:
    """What each server should take of its cards; none where no model's facts are at hand."""
    return _MEMORY.get(plan.rig, ())
