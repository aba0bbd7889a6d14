"""What every report of `verify` is made from: the plan, the look, the verdicts, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from rigspec.errors import RigspecError
from rigspec.observed.record import known
from rigspec.plan.rig import digest
from rigspec.plan.sections import Plan
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import SavedObservation
from rigspec.verify.rig import marked, verify_rig
from rigspec.verify.verdict import Outcome, Verdict, exit_code
from rigspec.verify.vram import CardEstimate

WORST_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.WARN)
"""What needs a hand, in the order to read it."""


@dataclass(frozen=True)
class Judged:
    """One rig at one moment; `observed_at` is UTC in ISO 8601, empty when nobody noted it."""

    plan: Plan
    seen: Observation
    verdicts: tuple[Verdict, ...]
    observed_at: str = ""
    plan_changed: bool = False
    """The plan is not the one that the rig was looked at for: something may not have been asked."""
    estimates: tuple[CardEstimate, ...] = ()
    """Of all services, whether they run or not."""

    @property
    def findings(self) -> tuple[Verdict, ...]:
        """What is wrong, unknown or worth a warning, worst first."""
        return tuple(v for o in WORST_FIRST for v in self.verdicts if v.outcome is o)

    @property
    def counts(self) -> dict[Outcome, int]:
        """Rows by outcome, none left out."""
        found = Counter(verdict.outcome for verdict in self.verdicts)
        return {outcome: found[outcome] for outcome in Outcome}

    @property
    def exit_code(self) -> int:
        """0 as planned, 1 not, 3 could not measure."""
        return exit_code(self.verdicts)

    @property
    def simulated(self) -> bool:
        """Whether the rig is a virtual one, whose GPUs, driver and engine are stand-ins."""
        return self.seen.simulated

    @cached_property
    def header(self) -> dict[str, str]:
        """Which rig, spec, plan and system this is about; unknown values are left out."""
        host, cards = known(self.seen.host), known(self.seen.cards) or ()
        drivers = sorted({d for card in cards if (d := known(card.driver_version))})
        facts = {
            "rig": self.plan.rig,
            "observed": self.observed_at,
            "rigspec": version("rigspec"),
            "spec": self.plan.spec_digest,
            "plan": digest(self.plan),
            "plan changed": "yes, since this look" if self.plan_changed else "",
            "boot": known(host.boot_id) if host else None,
            "kernel": known(host.release) if host else None,
            "driver": ", ".join(drivers),
            "simulated": "yes: GPUs, driver and engine are stand-ins" if self.simulated else "no",
        }
        return {name: text for name, text in facts.items() if text}


def judge(
    plan: Plan,
    saved: SavedObservation,
    estimates: tuple[CardEstimate, ...] = (),
    more: tuple[Verdict, ...] = (),
) -> Judged:
    """A saved look against a plan; RigspecError when it is a look at another rig.

    `more` are rows that were measured beside the look, under load.
    """
    if saved.rig != plan.rig:
        raise RigspecError(
            f"this is a look at the rig `{saved.rig}`, the spec is that of `{plan.rig}`",
            hint="give the spec that was deployed there",
        )
    seen = saved.observation
    changed = saved.plan_digest != digest(plan)
    verdicts = (*verify_rig(plan, seen, estimates), *marked(more, seen))
    return Judged(plan, seen, verdicts, saved.observed_at, changed, estimates)


def sections(verdicts: Iterable[Verdict]) -> dict[str, tuple[Verdict, ...]]:
    """Rows by the first word of their id: `host`, `gpus`, `pcie`, …; in their order."""
    found: dict[str, tuple[Verdict, ...]] = {}
    for verdict in verdicts:
        name = verdict.id.partition(".")[0]
        found[name] = (*found.get(name, ()), verdict)
    return found


def check_and_subject(verdict_id: str) -> tuple[str, str]:
    """`power.limit.main.0` is the check `power.limit` of `main.0`; `units.NAME` names a unit."""
    section, _, rest = verdict_id.partition(".")
    if section == "units":
        return section, rest
    check, _, subject = rest.partition(".")
    return f"{section}.{check}", subject
