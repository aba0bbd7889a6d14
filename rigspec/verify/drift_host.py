"""Drift of what we put on a host: files, units, packages, caps, ACS bits."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from rigspec.observed.record import Unknown, known
from rigspec.observed.units import Unit
from rigspec.plan.power import POWER_TABLE
from rigspec.plan.relied import planned_units
from rigspec.plan.rig import PLAN_FILE, all_files, to_json
from rigspec.plan.sections import Plan, RenderedFile
from rigspec.verify.change import Change
from rigspec.verify.files import difference, sha256, state_of
from rigspec.verify.observation import Observation
from rigspec.verify.proof import Proof, acs_of
from rigspec.verify.rivals import ending, swapped
from rigspec.verify.units import bring_up, is_active, is_written, keeps_ending, why_not_up
from rigspec.verify.verdict import listed

_DEPLOY = "run the deploy: it writes planned files again"
_SHOWN_LINES = 12
POWER_UNIT = "rigspec-power.service"
_RELOAD = "systemctl reload rigspec-power"


def edited_files(plan: Plan, seen: Observation, proof: Proof | None) -> Iterator[Change]:
    """Files that differ from the plan; those that only wait for a deploy are one change."""
    waiting: list[str] = []
    record = state_of(PLAN_FILE, seen)
    older = not isinstance(record, Unknown) and record.sha256 != sha256(to_json(plan))
    for file in all_files(plan):
        state = state_of(file.dest, seen)
        if isinstance(state, Unknown):
            continue
        wrong = difference(file, state)
        accepted = proof.files.get(file.dest) if proof else None
        as_accepted = wrong == "other content" and state.sha256 == accepted
        not_yet = wrong == "absent" and proof is not None and accepted is None
        # without a proof nobody knows whether an older plan or an edit explains it
        unclear = proof is None and older and wrong in {"absent", "other content"}
        if as_accepted or not_yet or unclear:
            waiting.append(file.dest)
        elif wrong is not None:
            yield _edited(file, wrong, seen)
    if waiting or older:
        yield Change(
            "not-deployed", "plan", "the spec, the catalog or rigspec has changed since the last "
            "deploy: the host is not as it is planned now",
            tuple(waiting) or (f"{PLAN_FILE} holds another plan",), "run the deploy",
        )  # fmt: skip


def _edited(file: RenderedFile, wrong: str, seen: Observation) -> Change:
    said = {
        "absent": f"{file.dest} was removed",
        "other content": f"{file.dest} was edited by hand or by another tool",
    }.get(wrong, f"{file.dest} has another {wrong.partition(' ')[0]} than planned")
    text = seen.upkeep.edited.get(file.dest)
    lines = _changed_lines(file.content, text) if text is not None else (wrong,)
    return Change(
        "edited-file", file.dest, said, lines, f"{_DEPLOY}; wanted changes go to the spec"
    )


def _changed_lines(planned: str, found: str) -> tuple[str, ...]:
    """The lines that differ, `-` planned and `+` found."""
    compared = difflib.unified_diff(planned.splitlines(), found.splitlines(), "", "", n=0)
    lines = [x for x in compared if x[:1] in "+-" and x[:3] not in {"+++", "---"}]
    more = [f"… {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
    return (*lines[:_SHOWN_LINES], *more)


def units(plan: Plan, seen: Observation) -> Iterator[Change]:
    """Units that would not come back, do not run, or are overridden by a drop-in."""
    if isinstance(seen.units, Unknown):
        return
    at_boot = (*planned_units(plan), *(s.unit for s in plan.services if s.at_boot))
    by_hand = [s.unit for s in plan.services if not s.at_boot]
    away = swapped(plan.services, seen)
    for name in dict.fromkeys((*at_boot, *by_hand)):
        unit = seen.units.get(name)
        if unit is None:
            continue
        yield from _overridden(name, unit)
        if name in at_boot and name not in away:
            yield from _stopped(plan, name, seen)
    for service in plan.services:
        if service.unit in ending(away):
            row = keeps_ending(service, seen)
            said = f"{service.unit}: {row.reason}"
            yield Change("unit", service.unit, said, (row.found,), row.next_action)


def _overridden(name: str, unit: Unit) -> Iterator[Change]:
    extra = unit.properties.get("DropInPaths", "").split()
    if extra:
        yield Change(
            "unit-drop-in", name, f"{name} is changed by drop-in files that are not in the plan",
            tuple(extra), f"look at: systemctl cat {name}; move what you want into the spec",
        )  # fmt: skip


def _stopped(plan: Plan, name: str, seen: Observation) -> Iterator[Change]:
    unit = (known(seen.units) or {})[name]
    next_action = bring_up(name, unit, written=is_written(plan, name))
    why = next((why_not_up(s, seen) for s in plan.services if s.unit == name), None)
    if not unit.exists:
        said = f"{name} is masked or its file is gone"
    elif not unit.enabled:
        said = f"{name} was disabled: it will not come back after a boot"
    elif why:  # also of one that is active for a moment only
        said, next_action = f"{name} does not stay up: {why[0]}", why[1]
    elif not unit.active:
        said = f"{name} does not run"
    else:
        return
    state = f"{known(unit.unit_file_state) or '?'}, {known(unit.active_state) or '?'}"
    yield Change("unit", name, said, (state,), next_action)


def packages(plan: Plan, seen: Observation, proof: Proof | None) -> Iterator[Change]:
    """Lost holds, and versions other than accepted."""
    found = known(seen.packages)
    if found is None:
        return
    held = known(found.held)
    wanted = (*plan.driver.hold, *plan.containers.hold)
    lost = [name for name in dict.fromkeys(wanted) if held is not None and name not in held]
    if lost:
        yield Change(
            "hold", "packages", "packages are not held any more: the next upgrade may change them",
            tuple(lost), "run the deploy: it holds them again",
        )  # fmt: skip
    changed = [
        f"{name}: {was} → {found.version(name) or 'removed'}"
        for name, was in (proof.packages if proof else {}).items()
        if found.version(name) != was
    ]
    if changed:
        yield Change(
            "packages", "packages", "packages have other versions than accepted: unattended "
            "upgrades, or apt by hand", tuple(changed),
            "look at: /var/log/apt/history.log; if that was wanted, verify and accept again",
        )  # fmt: skip


def power(plan: Plan, seen: Observation) -> Iterator[Change]:
    """Caps other than planned although our unit has set and read them."""
    limits, deployed = dict(plan.power.limits_w), _caps_on_host(seen)
    wrong = []
    for gpu in plan.preflight.gpus:
        card = known(seen.card(gpu.member))
        enforced = known(card.power_enforced_w) if card else None
        default = known(card.power_default_w) if card else None
        watts = limits.get(gpu.member, default)
        if enforced is None or watts is None:
            continue
        # a cap that the host's own table still asks for only waits for a deploy
        if round(enforced) not in {round(watts), deployed.get(gpu.member)}:
            wrong.append(f"{gpu.member}: planned {watts:.0f} W, enforced {enforced:.0f} W")
    if not wrong:
        return
    if not is_active(seen, POWER_UNIT):
        yield Change(
            "power-unit", "power", f"caps are not in effect, and {POWER_UNIT} is not active",
            tuple(wrong), f"look at: systemctl status {POWER_UNIT}",
        )  # fmt: skip
        return
    yield _set_again(wrong, known(seen.upkeep.cap_writers) or ())


def _set_again(wrong: list[str], writers: Sequence[str]) -> Change:
    """One that nobody is known to write was most likely set once, by hand."""
    if not writers:
        return Change(
            "power-writer", "power", f"power limits were set again after {POWER_UNIT}, and none of "
            "the usual places sets any: by hand, it seems", tuple(wrong),
            f"{_RELOAD}; if it comes back, look at: grep -rIl nvidia-smi /etc /usr/local /opt | "
            "grep -v rigspec",
        )  # fmt: skip
    return Change(
        "power-writer", "power", f"something else sets power limits after {POWER_UNIT}: likely "
        f"{listed(writers)}",
        (*wrong, *(f"sets limits or clocks too: {name}" for name in writers)),
        f"switch the other one off, then: {_RELOAD}",
    )  # fmt: skip


def _caps_on_host(seen: Observation) -> dict[str, int]:
    """Watts by member in the host's table, where it differs from the planned one."""
    text = seen.upkeep.edited.get(POWER_TABLE) or ""
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def other_bits(plan: Plan, seen: Observation) -> Iterator[Change]:
    """Redirect bits that were set again after the unit had cleared them."""
    if not plan.pcie.acs_off or seen.is_guest:
        return
    bad = [f"{address}: {bits}" for address, bits in acs_of(seen).items() if "+" in bits]
    if bad:
        yield Change(
            "acs", "pcie", "ACS redirects peer traffic again: bits were written after boot, or a "
            "bridge was reset (hot plug, error recovery, suspend)",
            tuple(bad), "systemctl reload rigspec-acs clears them; look at: dmesg | grep -i acs",
        )  # fmt: skip
