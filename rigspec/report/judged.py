"""What every report of `verify` is made from: the plan, the look, the verdicts, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from functools import cached_property
from importlib.metadata import version

from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown, known
from rigspec.plan.rig import digest
from rigspec.plan.sections import Plan
from rigspec.report.estimates import Estimates
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import SavedObservation
from rigspec.verify.rig import marked, verify_rig
from rigspec.verify.verdict import Outcome, Verdict, exit_code

WORST_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.WARN)
"""What needs a hand, in the order to read it."""


@dataclass(frozen=True)
class BoundGpu:
    """One card: its member, where it sits, which it is; what it did not tell is empty."""

    member: str
    slot: str
    uuid: str
    name: str = ""
    vbios: str = ""


@dataclass(frozen=True)
class Judged:
    """One rig at one moment; `observed_at` is UTC in ISO 8601, empty when nobody noted it.

    `probe_digest` is that of the shell text which asked the host.
    """

    plan: Plan
    seen: Observation
    verdicts: tuple[Verdict, ...]
    observed_at: str = ""
    probe_digest: str = ""
    plan_changed: bool = False
    """The plan is not the one that the rig was looked at for: something may not have been asked."""
    estimates: Estimates = field(default_factory=Estimates)
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

    @property
    def cards(self) -> tuple[BoundGpu, ...]:
        """Every bound card in the order of the binding, whether it answers or not."""
        return tuple(
            BoundGpu(bound.member, bound.slot, bound.uuid, *self._told(bound.member))
            for bound in self.seen.binding
        )

    def _told(self, member: str) -> tuple[str, str]:
        card = self.seen.card(member)
        if isinstance(card, Unknown):
            return "", ""
        return known(card.name) or "", known(card.vbios) or ""

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
            "probe": self.probe_digest,
            "plan changed": "yes, since this look" if self.plan_changed else "",
            "boot": known(host.boot_id) if host else None,
            "kernel": known(host.release) if host else None,
            "driver": ", ".join(drivers),
            "vbios": ", ".join(sorted({card.vbios for card in self.cards if card.vbios})),
            "simulated": "yes: GPUs, driver and engine are stand-ins" if self.simulated else "no",
        }
        return {name: text for name, text in facts.items() if text}


def judge(
    plan: Plan,
    saved: SavedObservation,
    estimates: Estimates | None = None,
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
    seen, expected = saved.observation, estimates or Estimates()
    return Judged(
        plan,
        seen,
        (*verify_rig(plan, seen, expected.cards), *marked(more, seen)),
        saved.observed_at,
        saved.probe_digest,
        plan_changed=saved.plan_digest != digest(plan),
        estimates=expected,
    )


@dataclass(frozen=True)
class Finding:
    """One cause with one cure: the row that is shown, and what it holds for, too."""

    lead: Verdict
    same: str = ""


def grouped(rows: Iterable[Verdict]) -> tuple[Finding, ...]:
    """Rows of one check that say the same of several subjects, together; so are all rows that
    nobody could read for one and the same reason, whatever they would have said.

    `found` may differ where it is about the subject's own place.
    """
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for row in rows:
        groups.setdefault(_cause(row), []).append(row)
    return tuple(_finding(group) for group in groups.values())


def _cause(row: Verdict) -> tuple[str, ...]:
    if row.outcome is Outcome.UNKNOWN:
        return row.outcome, row.reason, row.found
    check, _ = check_and_subject(row.id)
    return row.outcome, check, row.expected, row.reason, row.next_action, row.method


def _finding(group: Sequence[Verdict]) -> Finding:
    """What to do stands in the row that knows it; what is found is not said twice."""
    first, *more = group
    advice = next((row.next_action for row in group if row.next_action), "")
    found = "" if first.found == first.reason else first.found
    lead = replace(first, next_action=advice, found=found)
    checks = {check_and_subject(row.id)[0] for row in group}
    return Finding(lead, ", ".join(_named(row, first, len(checks) > 1) for row in more))


def _named(row: Verdict, first: Verdict, by_title: bool) -> str:
    """`main.1 (x8 at 0000:04:00.0)`; among several checks the title, which names the subject."""
    name = row.title if by_title else check_and_subject(row.id)[1] or row.title
    return f"{name} ({row.found})" if row.found and row.found != first.found else name


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
