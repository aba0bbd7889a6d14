"""A saved look at a host: written by the verify stage, judged again without the host."""

from __future__ import annotations

import json

from rigspec.frozen import dataclass
from rigspec.observed.record import plain
from rigspec.verify.from_json import WrongShape, read_as
from rigspec.verify.observation import Observation

OUT_VARIABLE = "RIGSPEC_OBSERVED_OUT"
"""Environment variable: the verify stage saves what it read in the file of this name."""

FORMAT, VERSION = "rigspec-observation", 1


@dataclass(frozen=True)
class SavedObservation:
    """Which rig was looked at, for which plan, when (UTC, ISO 8601), what was read, and how."""

    rig: str
    plan_digest: str
    observed_at: str
    observation: Observation
    probe_digest: str = ""
    """SHA-256 of the shell text that asked, 64 hex digits; empty in a look of an older rigspec."""


def observation_to_json(saved: SavedObservation) -> str:
    """The text of the file."""
    head = {"format": FORMAT, "version": VERSION}
    return json.dumps(head | plain(saved), indent=1, ensure_ascii=False) + "\n"


def observation_from_json(text: str) -> SavedObservation:
    """The file read back; WrongShape says which field is not as it must be."""
    try:
        data = json.loads(text)
    except ValueError as problem:
        raise WrongShape(f"no JSON: {problem}", hint="save it again with --save") from problem
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise WrongShape("no saved observation", hint="`rigspec verify SPEC --save FILE` makes one")
    if data.get("version") != VERSION:
        raise WrongShape(
            f"saved in version {data.get('version')} of the format, this rigspec reads {VERSION}",
            hint="observe again",
        )
    content = {key: value for key, value in data.items() if key not in {"format", "version"}}
    saved = read_as(SavedObservation, content)
    assert isinstance(saved, SavedObservation)  # noqa: S101 - for the type checker
    return saved
