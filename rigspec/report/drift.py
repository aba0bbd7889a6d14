"""How drift is said: one paragraph per change, evidence below it; JSON for programs."""

from __future__ import annotations

import json

from rigspec.observed.record import plain
from rigspec.units import count
from rigspec.verify.drift import Drift

FORMAT, VERSION = "rigspec-drift", 1


def as_text(found: Drift, since: str) -> str:
    """For people; `since` says what was compared."""
    lines = [] if found.changes else [f"no drift since {since}"]
    for change in found.changes:
        lines.append(f"DRIFT: {change.what}  [{change.kind}: {change.subject}]")
        lines += [f"    {line}" for line in change.evidence]
        lines += [f"    do: {change.next_action}"] if change.next_action else []
        lines.append("")
    lines += [f"UNKNOWN: {sentence}" for sentence in found.unmeasured]
    if found.changes:
        lines.append(f"{count(len(found.changes), 'change')} since {since}")
    return "\n".join(lines)


def as_json(found: Drift, rig: str, since: str) -> str:
    """For programs; `version` changes when a field is removed or changes its meaning."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "rig": rig,
        "since": since,
        "exit_code": found.exit_code,
        "changes": plain(found.changes),
        "unmeasured": list(found.unmeasured),
    }
    return json.dumps(data, indent=2, ensure_ascii=False)
