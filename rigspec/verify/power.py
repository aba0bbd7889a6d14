"""Caps and ceilings, as the cards enforce them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.expected import Budget, Supplied
from rigspec.plan.sections import GpuMember, Plan
from rigspec.units import text_w
from rigspec.verify.gpus import group_of
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict


def verify_power(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about power."""
    ceilings = dict(plan.power.ceilings_mhz)
    limits = dict(plan.power.limits_w)
    for member in plan.preflight.gpus:
        yield limit(member, limits.get(member.member), seen)
        if member.member in ceilings:
            yield ceiling(member, ceilings[member.member], seen)
    for budget in plan.power.budgets:
        yield within(budget, limits, seen)


def limit(member: GpuMember, planned_w: int | None, seen: Observation) -> Verdict:
    """The *enforced* limit: the smallest of all limiters, not what was asked for."""
    wanted = member.power_default_w if planned_w is None else planned_w
    check = Check(
        f"power.limit.{member.member}",
        f"{member.member}: power limit",
        "nvidia-smi enforced.power.limit",
        f"{wanted} W",
        f"gpus.{group_of(member)}.power_limit_w",
    )
    card = seen.card(member.member)
    if isinstance(card, Unknown):
        return check.unknown(card)
    enforced = card.power_enforced_w
    if isinstance(enforced, Unknown):
        if planned_w is None:
            return check.not_applicable("no cap is planned, and the card tells none")
        return check.unknown(enforced)
    if planned_w is None:
        wanted = round(known(card.power_default_w) or wanted)
    found = f"{enforced:.0f} W"
    if round(enforced) == wanted:
        return check.passed(found)
    asked = known(card.power_limit_w)
    if asked is not None and round(asked) == wanted:
        return check.failed(
            found,
            f"{wanted} W were set, but another limiter acts (board, BMC, power brake)",
            "look at: nvidia-smi -q -d POWER,PERFORMANCE",
        )
    return check.failed(
        found,
        "the cap is not in effect: something else set it, or the unit did not run",
        "look at: systemctl status rigspec-power; systemctl reload rigspec-power sets it again",
    )


def ceiling(member: GpuMember, mhz: int, seen: Observation) -> Verdict:
    """No card may clock above its ceiling; drivers do not show the lock itself."""
    check = Check(
        f"power.ceiling.{member.member}",
        f"{member.member}: clock ceiling",
        "nvidia-smi clocks.current.sm; rigspec-power",
        f"at most {mhz} MHz",
        f"gpus.{group_of(member)}.clock_ceiling_mhz",
    )
    card = seen.card(member.member)
    if isinstance(card, Unknown):
        return check.unknown(card)
    clock = known(card.clock_sm_mhz)
    if clock is not None and clock > mhz:
        return check.failed(
            f"{clock} MHz", "the ceiling is not in effect", "systemctl reload rigspec-power"
        )
    unit = None if isinstance(seen.units, Unknown) else seen.units.get("rigspec-power.service")
    if unit is not None and unit.active:
        # nvidia-smi has no query for the lock; the unit fails when a card refuses it
        return check.passed(f"set by rigspec-power, now {clock or '?'} MHz")
    return check.unknown("nvidia-smi cannot show the lock, and rigspec-power is not active")


def within(budget: Budget, limits: Mapping[str, int], seen: Observation) -> Verdict:
    """The caps in effect, added up as declared, stay within what a supply or the circuit gives."""
    check = Check(
        f"power.{budget.name}",
        f"{budget.name.replace('.', ' ')}: sum of the caps in effect",
        "nvidia-smi enforced.power.limit, summed as the spec says",
        f"at most {text_w(budget.limit_w)}",
        budget.origin,
    )
    total = 0.0
    for part in budget.parts:
        watts = _drawn(part, seen)
        if isinstance(watts, Unknown):
            if limits.keys() & part.members:
                return check.unknown(watts)
            return check.not_applicable("no cap is planned, and a card tells none")
        total += watts
    found = text_w(total)
    if total <= budget.limit_w:
        return check.passed(found)
    return check.failed(
        found,
        "the caps that are really in effect add up to more than it gives: it trips under load",
        "look at: systemctl status rigspec-power; who else sets caps: grep -rl 'nvidia-smi' "
        "/etc/systemd/system /etc/cron*",
    )


def _drawn(part: Supplied, seen: Observation) -> Reading[float]:
    watts = 0.0
    for member in part.members:
        card = seen.card(member)
        if isinstance(card, Unknown):
            return card
        if isinstance(card.power_enforced_w, Unknown):
            return card.power_enforced_w
        watts += card.power_enforced_w
    return (watts * part.spikes + part.base_w) / part.efficiency
