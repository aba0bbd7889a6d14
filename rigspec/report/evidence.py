"""What a verdict rests on: the records it was judged from, as they were read off the host."""

from __future__ import annotations

import json
from typing import Any

from rigspec.observed.record import NOT_ASKED, Unknown, known, plain
from rigspec.report.judged import Judged, check_and_subject
from rigspec.verify.observation import Observation
from rigspec.verify.pcie import gpu_paths
from rigspec.verify.verdict import Verdict

_PARTS = {
    "host": ("host", "cpu_vendor", "secure_boot", "key_enrolled"),
    "kernel": ("modules", "refused"),
    "driver": ("modules", "packages"),
    "containers": ("cdi",),
    "storage": ("storage",),
    "model": ("models",),
    "fabric": ("fabric",),
    "load": ("load",),
    "burn": ("burn",),
}
"""Fields of the observation by the first word of a check."""


def evidence(verdict: Verdict, judged: Judged) -> str:
    """JSON of the records behind a row; empty where no single record is."""
    found = _records(*check_and_subject(verdict.id), judged.seen)
    return json.dumps(_asked(plain(found)), indent=1, ensure_ascii=False) if found else ""


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
    if section == "service":
        return seen.answers.get(subject) or (known(seen.units) or {}).get(
            f"rigspec-{subject}.service"
        )
    if check in {"pcie.acs", "pcie.aspm", "pcie.uplinks"}:
        return _fabric(check, seen)
    if section == "pcie":
        return _card_function(subject, seen)
    if section in {"power", "gpus"} and subject in seen.bound:
        card = seen.card(subject)
        return card if isinstance(card, Unknown) else card.cells
    if section == "gpus":
        tree = known(seen.tree)
        return {"on the bus": tree.gpus if tree else seen.tree, "answering": seen.cards}
    if check == "host.space":
        return seen.storage.space
    if check == "kernel.iommu":
        return seen.iommu
    if check in {"kernel.arguments", "kernel.contradictions", "kernel.understood"}:
        host = known(seen.host)
        return {"cmdline": host.cmdline if host else seen.host, "refused": seen.refused}
    return {name: getattr(seen, name) for name in _PARTS.get(section, ())}


def _fabric(check: str, seen: Observation) -> Any:
    """One line per function on GPU paths."""
    steps = gpu_paths(seen.tree)
    if isinstance(steps, Unknown):
        return steps
    field = {"pcie.acs": "acs", "pcie.aspm": "aspm_enabled"}.get(check, "link_status")
    return {step.address: getattr(step, field) for step in steps}


def _card_function(subject: str, seen: Observation) -> Any:
    """The card and the bridge above it."""
    if subject not in seen.bound:
        return None
    function = seen.function(seen.bound[subject].slot)
    if isinstance(function, Unknown):
        return function
    above = seen.function(function.parent) if isinstance(function.parent, str) else None
    return {"card": function, "bridge above": above}
