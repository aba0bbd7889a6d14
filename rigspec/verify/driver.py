"""The driver: version, flavour, hold, persistence."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import DriverPlan, Plan
from rigspec.verify.advice import run_stage
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed


def verify_driver(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the driver."""
    yield version(plan.driver, seen)
    yield packages(plan.driver, seen)
    yield flavour(plan.driver, seen)
    yield held(plan.driver, seen)
    yield persistence(seen)


def version(plan: DriverPlan, seen: Observation) -> Verdict:
    """The driver that answers is the planned one, module and library alike."""
    wanted = plan.version or f"{plan.branch}.*"
    field = "driver.version" if plan.version else "driver.branch"
    check = Check("driver.version", "driver version", "nvidia-smi, /proc/driver", wanted, field)
    if isinstance(seen.cards, Unknown):
        return _without_answer(check, seen.cards, seen)
    found = {known(card.driver_version) for card in seen.cards}
    if len(found) != 1 or None in found:
        return check.unknown("nvidia-smi does not tell the driver's version")
    said = str(found.pop())
    module = None if isinstance(seen.modules, Unknown) else known(seen.modules.nvidia_version)
    if module and module != said:
        return check.failed(
            f"module {module}, library {said}", "only half of it was upgraded", "reboot"
        )
    if fnmatch.fnmatchcase(said, wanted):
        return check.passed(said)
    return check.failed(
        said, "another driver runs", f"{run_stage('driver', 'reboot')}; apt-cache policy"
    )


_LOOK_AT_BUILD = "look at: dmesg | grep -i nvrm; dkms status"


def _without_answer(check: Check, why: Unknown, seen: Observation) -> Verdict:
    """No card could be listed: a fault where the tool itself names the driver, else unknown."""
    if "version mismatch" in why.line:
        return check.failed(why.reason, "only half of it was upgraded", "reboot")
    if "communicate with the NVIDIA driver" not in why.line:
        return check.unknown(why, _LOOK_AT_BUILD)
    host = known(seen.host)
    kernel = known(host.release) if host else None
    if not isinstance(seen.modules, Unknown) and seen.modules.nvidia_version is None:
        for_it = f" of kernel {kernel}" if kernel else ""
        reason = f"no NVIDIA module{for_it} is loaded: not built for it, or refused"
        return check.failed("no answer", reason, f"{_LOOK_AT_BUILD}; then {run_stage('driver')}")
    return check.failed("no answer", "the module is there, but reaches no card", _LOOK_AT_BUILD)


def packages(plan: DriverPlan, seen: Observation) -> Verdict:
    """Every planned package is installed in its version; dpkg is in order."""
    names = [package.name for package in plan.packages]
    check = Check(
        "driver.packages", "driver packages", "dpkg-query, dpkg --audit", listed(names), "driver"
    )
    if isinstance(seen.packages, Unknown):
        return check.unknown(seen.packages)
    wrong = []
    for package in plan.packages:
        found = seen.packages.version(package.name)
        if found is None or (package.version and not fnmatch.fnmatchcase(found, package.version)):
            wrong.append(f"{package.name} {found or 'is not installed'}")
    audit = known(seen.packages.audit)
    if not wrong and isinstance(seen.packages.audit, Unknown):
        return check.unknown(seen.packages.audit)
    if wrong or audit:
        return check.failed(
            listed([*wrong, *(audit or ())]),
            "apt was interrupted or changed by hand",
            run_stage("driver"),
        )
    return check.passed(f"{len(names)} installed as pinned")


def flavour(plan: DriverPlan, seen: Observation) -> Verdict:
    """Open or proprietary kernel modules, as the loaded one says itself."""
    check = Check(
        "driver.flavour",
        "kernel module",
        "/proc/driver/nvidia/version",
        plan.flavour,
        "driver.flavour",
    )
    if isinstance(seen.modules, Unknown):
        return check.unknown(seen.modules)
    is_open = seen.modules.nvidia_is_open
    if is_open is None and seen.simulated:
        return check.not_applicable("the virtual rig has no kernel module")
    if is_open is None:
        return check.failed("not loaded", "no NVIDIA module is loaded", "look at: dkms status")
    if isinstance(is_open, Unknown):
        return check.unknown(is_open)
    found = "open" if is_open else "proprietary"
    if found == plan.flavour:
        return check.passed(found)
    return check.failed(found, "another module was built or loaded", run_stage("driver"))


def held(plan: DriverPlan, seen: Observation) -> Verdict:
    """apt leaves it alone: a half-upgraded driver does not answer until the next boot."""
    check = Check(
        "driver.hold", "driver is held", "dpkg-query -W", listed(plan.hold), "driver.hold"
    )
    if not plan.hold:
        return check.not_applicable("`driver.hold: false`")
    holds = seen.packages if isinstance(seen.packages, Unknown) else seen.packages.held
    if isinstance(holds, Unknown):
        return check.unknown(holds)
    missing = [name for name in plan.hold if name not in holds]
    if not missing:
        return check.passed(f"{len(plan.hold)} packages")
    return check.failed(
        f"not held: {listed(missing)}", "unattended upgrades may take it", run_stage("driver")
    )


def persistence(seen: Observation) -> Verdict:
    """Without persistence mode the driver unloads when idle and forgets caps."""
    check = Check("driver.persistence", "persistence mode", "nvidia-smi persistence_mode", "on")
    if isinstance(seen.cards, Unknown):
        return check.unknown(seen.cards)
    unread = [card for card in seen.cards if isinstance(card.persistence, Unknown)]
    if unread or not seen.cards:
        return check.unknown("not every card tells its persistence mode")
    off = [known(card.uuid) for card in seen.cards if card.persistence is False]
    if not off:
        return check.passed(f"on for {len(seen.cards)} cards")
    return check.failed(
        f"off: {listed(off)}",
        "caps and clock ceilings are lost when the card goes idle",
        "look at: systemctl status nvidia-persistenced rigspec-power",
    )
