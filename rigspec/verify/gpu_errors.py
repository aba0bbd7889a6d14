"""Errors of the cards: ECC, row remapping, retired pages, and Xid lines of this boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rigspec.observed.kernel_log import Event, KernelEvent
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import GpuMember, Plan
from rigspec.units import count
from rigspec.verify.observation import Observation
from rigspec.verify.pcie_health import whole
from rigspec.verify.verdict import Check, Verdict, listed

NO_COUNTER = frozenset({"n/a", "not supported"})
"""What nvidia-smi prints for a counter that a card does not have (GeForce: all of them)."""

HARMLESS = frozenset({43})
"""The application stopped its own channel (NVIDIA's catalogue: ignore)."""
OF_THE_APPLICATION = frozenset({13, 31, 45})
"""Caused by a program as a rule: worth a look, no fault of the rig."""


def verify_gpu_errors(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """One row per card, one for the log."""
    for member in plan.preflight.gpus:
        yield counters(member, seen)
    yield xid(seen)


def counters(member: GpuMember, seen: Observation) -> Verdict:
    """No uncorrected error, no row or page that waits for a reset, no recovery asked for."""
    check = Check(
        f"gpus.errors.{member.member}",
        f"{member.member}: memory errors",
        "nvidia-smi ecc.errors, remapped_rows, retired_pages, gpu_recovery_action",
        "no uncorrected error, nothing waits for a reset",
    )
    card = seen.card(member.member)
    if isinstance(card, Unknown):
        return check.unknown(card)
    readings = _readings(card)
    lost = [r for r in readings.values() if isinstance(r, Unknown) and not _is_absent(r)]
    if lost:
        return check.unknown(lost[0])
    wrong = [name for name, reading in readings.items() if known(reading)]
    if wrong:
        return check.failed(
            listed(_worded(name, readings[name]) for name in wrong),
            "the card's memory is failing, or waits for a reset that takes bad rows out of use",
            "drain the rig and reboot; if it comes back: nvidia-smi -q -d ECC,ROW_REMAPPER and the "
            "vendor",
        )
    there = [name for name, reading in readings.items() if not isinstance(reading, Unknown)]
    if there:
        return check.passed(f"none in {count(len(there), 'counter')}")
    return check.not_applicable("this card has no such counters")


def _readings(card: GpuReading) -> Mapping[str, Reading[int | bool | str]]:
    action = card.recovery_action
    return {
        "uncorrected ECC errors": card.ecc_uncorrected,
        "row remapping waits for a reset": card.remap_pending,
        "row remapping failed": card.remap_failed,
        "page retirement waits for a reset": card.retired_pending,
        "the driver asks for": "" if action == "None" else action,
    }


def _is_absent(reading: Unknown) -> bool:
    # an older driver does not know the field, and so has no such counter
    return reading.reason in NO_COUNTER or "is not a valid field" in reading.reason


def _worded(name: str, reading: Reading[int | bool | str]) -> str:
    return name if reading is True else f"{name}: {reading}"


def xid(seen: Observation) -> Verdict:
    """The driver reported no fault in this boot's kernel log."""
    check = Check(
        "gpus.xid",
        "driver faults since boot",
        "journalctl -k -b: NVRM Xid, fallen off the bus",
        "none",
    )
    log = whole(seen.log)
    if isinstance(log, Unknown):
        return check.unknown(log)
    events = [e for e in log.of(Event.XID, Event.FALLEN_OFF) if e.xid not in HARMLESS]
    faults = [e for e in events if e.xid not in OF_THE_APPLICATION]
    if faults:
        return check.failed(
            listed(dict.fromkeys(map(_said, faults))),
            "the driver lost control of a card in this boot",
            listed(dict.fromkeys(_action(e) for e in faults), 3),
        )
    if events:
        return check.warned(
            listed(dict.fromkeys(map(_said, events))),
            "a program made the card report an error, or the driver cleaned up after one",
            "look at the log of whatever ran then",
        )
    return check.passed("none")


def _said(event: KernelEvent) -> str:
    where = event.address or "?"
    if event.xid is None:
        return f"{where} fell off the bus"
    meaning = event.fact.meaning if event.fact else "not in the catalogue"
    return f"{where} Xid {event.xid} ({meaning})"


def _action(event: KernelEvent) -> str:
    if event.xid is None:
        return "power cable, riser and seating of that card; a cold start"
    return event.fact.action if event.fact else "look up the number at docs.nvidia.com, XID errors"
