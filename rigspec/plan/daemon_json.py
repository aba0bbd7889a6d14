"""Docker's own settings file: our keys into what the owner has there."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rigspec.errors import RigspecError

DAEMON_FILE = "/etc/docker/daemon.json"


def merge_daemon_json(current_text: str, wanted: Mapping[str, object]) -> str:
    """The text with our keys set and every other key kept; the same text when nothing differs."""
    current = _parse(current_text)
    merged = _merge(current, wanted)
    if merged == current:
        return current_text
    return json.dumps(merged, indent=2, ensure_ascii=False) + "\n"


def _parse(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as slip:
        raise RigspecError(
            f"{DAEMON_FILE} on the host is not JSON: {slip}",
            hint="repair it by hand (`dockerd --validate` says where it is wrong), then run again",
        ) from slip
    if not isinstance(found, dict):
        raise RigspecError(
            f"{DAEMON_FILE} on the host holds no JSON object",
            hint="make it an object (`{}` if nothing is to be set), then run again",
        )
    return found


def _merge(current: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    merged = dict(current)
    for key, value in wanted.items():
        inner = merged.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = value
    return merged
