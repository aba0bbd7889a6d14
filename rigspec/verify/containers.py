"""Engine, toolkit, CDI: containers can be given every card."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator

from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import Plan
from rigspec.units import count
from rigspec.verify.advice import run_stage
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed


def verify_containers(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about containers as such."""
    yield packages(plan, seen)
    yield held(plan, seen)
    yield cdi(plan, seen)
    yield stale_cdi(seen)


def packages(plan: Plan, seen: Observation) -> Verdict:
    """Engine and toolkit are installed, in their versions."""
    wanted = plan.containers.packages
    check = Check(
        "containers.packages",
        "engine and toolkit",
        "dpkg-query",
        listed(p.name for p in wanted),
        "containers",
    )
    if isinstance(seen.packages, Unknown):
        return check.unknown(seen.packages)
    wrong = []
    for package in wanted:
        found = seen.packages.version(package.name)
        if found is None or (package.version and not fnmatch.fnmatchcase(found, package.version)):
            wrong.append(f"{package.name} {found or 'is not installed'}")
    if not wrong:
        return check.passed(f"{len(wanted)} installed")
    return check.failed(listed(wrong), "changed by hand", run_stage("containers"))


def held(plan: Plan, seen: Observation) -> Verdict:
    """apt leaves the toolkit alone: another version may describe the cards in another way."""
    wanted = plan.containers.hold
    check = Check(
        "containers.hold", "toolkit is held", "dpkg-query -W", listed(wanted), "containers"
    )
    if not wanted:
        return check.not_applicable("no package of it is to be held")
    holds = seen.packages if isinstance(seen.packages, Unknown) else seen.packages.held
    if isinstance(holds, Unknown):
        return check.unknown(holds)
    missing = [name for name in wanted if name not in holds]
    if not missing:
        return check.passed(count(len(wanted), "package"))
    return check.failed(
        f"not held: {listed(missing)}", "an upgrade may change it unasked", run_stage("containers")
    )


def cdi(plan: Plan, seen: Observation) -> Verdict:
    """CDI offers every bound card by its UUID."""
    check = Check(
        "containers.cdi", "CDI offers every card", "nvidia-ctk cdi list", "every UUID", "gpus"
    )
    if isinstance(seen.cdi.devices, Unknown):
        return check.unknown(seen.cdi.devices)
    if not seen.binding:
        return check.unknown("no card is bound in /etc/rigspec/gpus.tsv")
    names = set(seen.cdi.devices)
    missing = [c.uuid for c in seen.binding if f"nvidia.com/gpu={c.uuid}" not in names]
    if missing:
        return check.failed(
            f"missing: {listed(missing)}", "the description is older than the cards", _REFRESH
        )
    stale = _absent(names, seen)
    if stale:
        return check.failed(
            f"also {listed(stale)}",
            "it offers cards that do not answer: a container that is given one does not start",
            _REFRESH,
        )
    return check.passed(f"{len(seen.binding)} cards")


_REFRESH = "look at: systemctl status rigspec-ready nvidia-cdi-refresh; ls /etc/cdi /var/run/cdi"


def _absent(names: Iterable[str], seen: Observation) -> list[str]:
    """UUIDs that CDI offers and no card has; none where the cards do not answer at all."""
    offered = {n.partition("=")[2] for n in names if n.startswith("nvidia.com/gpu=GPU-")}
    if isinstance(seen.cards, Unknown):
        return []
    return sorted(offered - {str(known(card.uuid)) for card in seen.cards})


def stale_cdi(seen: Observation) -> Verdict:
    """A hand-made file in /etc/cdi would shadow or contradict the one kept up to date."""
    check = Check("containers.cdi-files", "one CDI description", "/etc/cdi, /var/run/cdi")
    if isinstance(seen.cdi.devices, Unknown):
        return check.unknown(seen.cdi.devices)
    if isinstance(seen.cdi.spec_files, Unknown):
        return check.unknown(seen.cdi.spec_files)
    ours = [f for f in seen.cdi.spec_files if f.startswith("/etc/cdi/nvidia")]
    if not ours:
        return check.passed("nothing in /etc/cdi")
    return check.failed(
        listed(ours),
        "a second description of the cards, as they were on the day it was made",
        f"rm {' '.join(ours)}",
    )
