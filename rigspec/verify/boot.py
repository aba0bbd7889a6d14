"""Boots: how the last one ended, and whether this one started things in the right order."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.kernel_log import Event
from rigspec.observed.record import Unknown
from rigspec.observed.units import Unit
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

READY = "rigspec-ready.service"


def last_boot(seen: Observation) -> Iterator[Verdict]:
    """The boot before this one ended by a shutdown; no record of a crash is left."""
    check = Check(
        "host.last-boot",
        "the boot before ended in order",
        "journalctl -b -1, BERT, /sys/fs/pstore, watchdog bootstatus",
        "shut down in order, no crash record",
    )
    yield _ended(check, seen)


def _ended(check: Check, seen: Observation) -> Verdict:
    last = seen.last_boot
    if isinstance(last, Unknown):
        return check.unknown(last)
    if isinstance(seen.log, Unknown):
        return check.unknown(seen.log)
    hardware = seen.log.of(Event.HARDWARE_RECORD)
    records = [*last.crash_records, *last.watchdogs, *(event.line for event in hardware)]
    if records:
        return check.failed(
            listed(records, 3),
            "the machine crashed, or was reset by hardware, and left a record",
            "read it (dmesg | grep -A 30 BERT; /var/lib/systemd/pstore), find the cause (power, "
            "PCIe link, memory), then move the record away",
        )
    if last.is_clean is None:
        return check.not_applicable("no earlier boot is recorded")
    if isinstance(last.is_clean, Unknown):
        return check.unknown(last.is_clean)
    if last.is_clean:
        return check.passed("shut down in order")
    return check.warned(
        f"its log ends with: {last.last_line}",
        "it ended without a shutdown: power lost, a hang, or a silent reset",
        "if nobody pulled the plug: supplies and circuit under load; journalctl -b -1 -e",
    )


def verify_order(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """Each running server was started after the fabric, the caps and the cards were ready."""
    for service in plan.services:
        yield in_order(plan, service, seen)


def in_order(plan: Plan, service: ServicePlan, seen: Observation) -> Verdict:
    """By the times at which systemd brought the units up in this boot."""
    before = tuple(dict.fromkeys((*plan.pcie.units, *plan.power.units, READY)))
    check = Check(
        f"boot.order.{service.name}",
        f"{service.name} started on a ready rig",
        "systemctl show: ActiveEnter and InactiveExit timestamps",
        f"after {', '.join(before)}",
        f"services.{service.name}",
    )
    if isinstance(seen.units, Unknown):
        return check.unknown(seen.units)
    unit = seen.units.get(service.unit)
    if unit is None:
        return check.unknown("systemd does not show it")
    if not unit.active:
        return check.not_applicable("it does not run")
    if isinstance(unit.start_us, Unknown):
        return check.unknown(unit.start_us)
    early = []
    for name in before:
        up = _up_at(seen.units.get(name))
        if isinstance(up, Unknown):
            return check.unknown(up)
        if up is None or up > unit.start_us:
            early.append(name)
    if early:
        return check.failed(
            f"started before {listed(early)}",
            "it may have opened cards whose fabric or caps were not set up yet",
            f"systemctl restart {service.unit}; look at: systemctl cat {service.unit} {READY}",
        )
    return check.passed(f"{unit.start_us / 1e6:.0f} s after boot")


def _up_at(unit: Unit | None) -> int | Unknown | None:
    """When a unit came up, µs since boot; None while it is down."""
    if unit is None:
        return Unknown("systemd does not show it")
    return unit.active_enter_us if unit.active else None
