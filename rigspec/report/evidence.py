"""What a verdict rests on: the records it was judged from, as they were read off the host."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rigspec.observed.record import NOT_ASKED, Unknown, known, plain
from rigspec.plan.rig import PLAN_FILE
from rigspec.report.judged import Judged, check_and_subject
from rigspec.verify.observation import Observation
from rigspec.verify.pcie_links import gpu_paths
from rigspec.verify.verdict import Verdict

_PARTS = {
    "host": ("host", "cpu_vendor", "secure_boot", "key_enrolled"),
    "kernel": ("modules", "refused"),
    "driver": ("modules", "packages"),
    "containers": ("cdi",),
    "storage": ("storage",),
    "model": ("models",),
    "boot": ("units",),
    "load": ("load",),
    "burn": ("burn",),
}
"""Fields of the observation by the first word of a check."""


_FABRIC = {
    "pcie.acs": ("acs",),
    "pcie.groups": ("acs", "iommu_group"),
    "pcie.aspm": ("aspm_enabled",),
    "pcie.uplink": ("kind", "link_status", "link_cap"),
    "pcie.frozen": ("speed_disabled", "link_target_gen", "link_status"),
}
"""Fields of the functions on GPU paths, by check."""
_BY_CHECK = {
    "host.space": ("storage.space",),
    "kernel.iommu": ("iommu",),
    "kernel.arguments": ("host.cmdline", "refused"),
    "kernel.contradictions": ("host.cmdline", "refused"),
    "kernel.next-boot": ("next_boot",),
    "kernel.understood": ("host.cmdline", "refused"),
    "host.last-boot": ("last_boot", "log"),
    "gpus.xid": ("log",),
    "gpus.nvlink": ("topology",),
    "pcie.flaps": ("log",),
    "pcie.errors": ("aer",),
    "power.circuit": ("cards",),
    "power.supply": ("cards",),
}
"""Fields of the observation by check, where its first word alone does not tell."""


def evidence(verdict: Verdict, judged: Judged, hide: Callable[[str], str] = str) -> str:
    """JSON of the records behind a row; empty where no single record is.

    `hide` is applied to each text and then to the whole: JSON's escapes would cover a quoted key,
    and only the whole shows that a value stands behind `"password":`.
    """
    found = evidence_record(verdict, judged)
    if found is None:
        return ""
    return hide(json.dumps(_hidden(found, hide), indent=1, ensure_ascii=False))


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {hide(key): _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value


def evidence_record(verdict: Verdict, judged: Judged) -> Any:
    """The records behind a row as plain data; None where no single record is."""
    found = _records(*check_and_subject(verdict.id), judged.seen)
    return None if not found or found == NOT_ASKED else _asked(plain(found))


def seconds(verdict: Verdict, judged: Judged) -> float | None:
    """How long what a row rests on took; None where nobody timed it (one probe reads the rest)."""
    check, subject = check_and_subject(verdict.id)
    if check != "service.completion" or subject not in judged.seen.answers:
        return None
    return known(judged.seen.answers[subject].seconds)


def _asked(value: Any) -> Any:
    """Without the fields that nobody asked the host for."""
    if isinstance(value, dict):
        asked = {key: item for key, item in value.items() if item != NOT_ASKED.to_json()}
        return {key: _asked(item) for key, item in asked.items()}
    return [_asked(item) for item in value] if isinstance(value, list) else value


def _records(check: str, subject: str, seen: Observation) -> Any:
    section = check.partition(".")[0]
    if section == "units":
        return (known(seen.units) or {}).get(subject)
    if section in _BY_SECTION:
        return _BY_SECTION[section](check, subject, seen)
    if check in _FABRIC:
        return _fabric(check, seen)
    if check in _BY_CHECK or section in _PARTS:
        return _fields(_BY_CHECK.get(check) or _PARTS[section], seen)
    if section == "pcie":
        return _card_function(subject, seen)
    if section in {"power", "gpus"} and subject in seen.bound:
        card = seen.card(subject)
        return card if isinstance(card, Unknown) else card.cells
    if section == "gpus":
        tree = known(seen.tree)
        return {"on the bus": tree.gpus if tree else seen.tree, "answering": seen.cards}
    return None


def _fields(names: tuple[str, ...], seen: Observation) -> dict[str, Any]:
    """Fields of the observation, `storage.space` a field of a field."""
    found: dict[str, Any] = {}
    for name in names:
        value: Any = seen
        for step in name.split("."):
            value = value if isinstance(value, Unknown) else getattr(value, step)
        found[name] = value
    return found


def _service(check: str, subject: str, seen: Observation) -> Any:
    if check == "service.bind":
        return {"listening": seen.listeners}
    if check == "service.mounts":
        return {"mounted": seen.upkeep.mounted}
    if subject in seen.bound:
        card = seen.card(subject)
        return card if isinstance(card, Unknown) else card.cells
    units = known(seen.units) or {}
    return seen.answers.get(subject) or units.get(f"rigspec-{subject}.service")


def _upkeep(check: str, subject: str, seen: Observation) -> Any:
    """The file's state and, where it was edited, its text; for secrets where they were found."""
    if check.startswith("secrets"):
        return {"secrets": seen.upkeep.secrets}
    path = PLAN_FILE if check == "files.plan" else subject
    files = seen.upkeep.files
    state = files if isinstance(files, Unknown) else files.get(path)
    return {"file": state, "text": seen.upkeep.edited.get(path)}


def _measured(check: str, subject: str, seen: Observation) -> Any:
    """The benchmark's readings of a pair, a pattern or a service's group."""
    if isinstance(seen.fabric, Unknown):
        return seen.fabric
    fabric = seen.fabric
    if check == "fabric.pair":
        ways = ((fabric.member(p.source), fabric.member(p.target)) for p in fabric.pairs)
        return [
            pair
            for pair, (a, b) in zip(fabric.pairs, ways, strict=True)
            if subject in {f"{a}-{b}", f"{b}-{a}"}
        ]
    if check == "fabric.pattern":
        return [pattern for pattern in fabric.patterns if pattern.name == subject]
    return [run for run in fabric.all_reduce if run.service == subject]


_BY_SECTION: dict[str, Callable[[str, str, Observation], Any]] = {
    "service": _service,
    "fabric": _measured,
    "files": _upkeep,
    "secrets": _upkeep,
}


def _fabric(check: str, seen: Observation) -> Any:
    """One line per function on GPU paths."""
    steps = gpu_paths(seen.tree)
    if isinstance(steps, Unknown):
        return steps
    return {
        step.address: {field: getattr(step, field) for field in _FABRIC[check]} for step in steps
    }


def _card_function(subject: str, seen: Observation) -> Any:
    """The card and the bridge above it."""
    if subject not in seen.bound:
        return None
    function = seen.function(seen.bound[subject].slot)
    if isinstance(function, Unknown):
        return function
    above = seen.function(function.parent) if isinstance(function.parent, str) else None
    return {"card": function, "bridge above": above}
