"""Health of links on GPU paths: frozen speed, flaps, and the errors that ports have counted."""

from __future__ import annotations

from collections.abc import Iterable

from rigspec.observed.kernel_log import Event, KernelLog
from rigspec.observed.pci import PciFunction
from rigspec.observed.pci_probe import AerCounter
from rigspec.observed.record import Reading, Unknown, known
from rigspec.verify.observation import Observation
from rigspec.verify.pcie_links import GUEST, gpu_paths
from rigspec.verify.verdict import Check, Verdict, listed

STORM_PER_HOUR = 60
"""Corrected errors per hour and function that are no longer noise: one a minute, day and night."""


def _paths(seen: Observation) -> Reading[tuple[PciFunction, ...]]:
    return GUEST if seen.is_guest else gpu_paths(seen.tree)


def frozen(seen: Observation) -> Verdict:
    """No link is held below its target speed by the bit that forbids it to change."""
    check = Check(
        "pcie.frozen",
        "links may change speed",
        "configuration space: LnkCtl2 and LnkSta",
        "no speed disable below the target speed",
        "pcie.generation",
    )
    steps = _paths(seen)
    if isinstance(steps, Unknown):
        return check.unknown(steps)
    held = []
    for step in steps:
        if isinstance(step.speed_disabled, Unknown):
            return check.unknown(step.speed_disabled, "run as root")
        if step.speed_disabled and _is_below_target(step):
            held.append(f"{step.address} SpeedDis+ at gen {_now(step)} of {step.link_target_gen}")
    if not held:
        return check.passed(f"{len(steps)} link ends")
    return check.failed(
        listed(held),
        "the bit was set while the link was slow, so it stays slow: a speed lock gone wrong",
        "clear bit 5 of LnkCtl2 (setpci CAP_EXP+30.w=0:20), retrain the link, or a cold start; "
        "take out whatever sets it",
    )


def _now(step: PciFunction) -> int:
    status = known(step.link_status) if step.link_status else None
    return known(status.gen) or 0 if status else 0


def _is_below_target(step: PciFunction) -> bool:
    return bool(_now(step)) and _now(step) < (known(step.link_target_gen or 0) or 0)


def flaps(seen: Observation) -> Verdict:
    """No link on a GPU path went down since boot."""
    check = Check(
        "pcie.flaps",
        "links stayed up since boot",
        "journalctl -k -b: pciehp, Surprise Down",
        "none went down",
    )
    log = whole(seen.log)
    if isinstance(log, Unknown):
        return check.unknown(log)
    down = log.of(Event.LINK_DOWN)
    if not down:
        return check.passed("none went down")
    places = sorted({event.address or "?" for event in down})
    return check.failed(
        f"{len(down)} times, at {listed(places)}",
        f"a link drops out and comes back: {down[-1].line}",
        "look at: cable, riser and power of that slot; `pcie_port_pm=off`; switch hot plug off",
    )


def whole(log: Reading[KernelLog]) -> Reading[KernelLog]:
    """A log in which a missing line means something: it reaches back to the boot."""
    if isinstance(log, Unknown) or log.from_boot:
        return log
    return Unknown("the kernel log does not reach back to the boot: what is missing proves nothing")


def errors(seen: Observation) -> Verdict:
    """What ports and cards on GPU paths have counted since boot."""
    check = Check(
        "pcie.errors",
        "PCIe errors on GPU paths",
        "sysfs aer_dev_correctable, aer_dev_nonfatal, aer_dev_fatal",
        f"none uncorrected, at most {STORM_PER_HOUR} corrected an hour",
    )
    steps = _paths(seen)
    if isinstance(steps, Unknown):
        return check.unknown(steps)
    log = known(seen.log)
    if log and log.of(Event.AER_WITHHELD):
        return check.not_applicable(
            "the firmware keeps AER to itself (_OSC): zero would prove nothing"
        )
    if isinstance(seen.aer, Unknown):
        return check.unknown(seen.aer)
    ours = {step.address for step in steps}
    counted = [c for c in seen.aer if c.address in ours]
    if not counted:
        return check.not_applicable("no function on a GPU path has AER counters")
    return _counted(check, counted, seen)


def _counted(check: Check, counted: list[AerCounter], seen: Observation) -> Verdict:
    bad = [c for c in counted if c.severity != "correctable" and not _is_total(c)]
    if bad:
        return check.failed(
            listed(_texts(bad)),
            "packets were lost for good: a link or a device failed since boot",
            "look at: journalctl -k -b | grep -i aer; seating, power and cable of that slot",
        )
    host = known(seen.host)
    hours = max((known(host.uptime_s) or 0.0) / 3600 if host else 0.0, 1.0)
    corrected = [c for c in counted if c.severity == "correctable" and not _is_total(c)]
    storm = [c for c in corrected if c.count / hours > STORM_PER_HOUR]
    if storm:
        return check.failed(
            f"{listed(_texts(storm))} in {hours:.1f} h",
            "a storm of corrected errors: the signal is marginal, each costs a resend",
            "a shorter cable or riser, or one generation lower in the BIOS; reseat the card",
        )
    total = sum(c.count for c in corrected)
    return check.passed(f"{total} corrected in {hours:.1f} h" if total else "none counted")


def _is_total(counter: AerCounter) -> bool:
    return counter.name.startswith("TOTAL_ERR")


def _texts(counters: Iterable[AerCounter]) -> list[str]:
    return [f"{c.address} {c.severity} {c.name} {c.count}" for c in counters]
