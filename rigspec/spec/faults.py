"""Faults of the fabric that a measurement has found: `NAME.fabric.json` beside the spec.

Written by `rigspec verify --load`, kept in the owner's git like the spec: the plan of a rig is made
from both, so a reinstalled host gets the same one. Without the file nothing is known to be wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from rigspec.errors import SpecFileError
from rigspec.regular import no_file

Member = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*\.[0-9]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,300}$")]
"""One printable line: it is written into a script as a comment."""

AGAIN = "`rigspec verify SPEC --load` writes it anew; or remove it if the fault is cured"


class _Strict(BaseModel):
    # few rigs have the file: 8 ms of every check else
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Fault(_Strict):
    """Cards that must not copy to each other directly."""

    members: Annotated[tuple[Member, ...], Field(min_length=2)]
    """Two of a bad pair, or all of a group whose all-reduce went wrong."""
    verdict: Literal["wrong data", "moves nothing", "hang", "slower than through the host"]
    found: Line
    """What was seen, in one line."""


class FabricFaults(_Strict):
    """The content of the file."""

    format: Literal["rigspec-fabric"] = "rigspec-fabric"
    version: Literal[1] = 1
    rig: str
    measured_at: Line
    """UTC, ISO 8601."""
    uuids: dict[Member, Line] = {}
    """Which cards they were: after a swap the file is about cards that are gone."""
    faults: Annotated[tuple[Fault, ...], Field(min_length=1)]

    def within(self, members: tuple[str, ...]) -> tuple[Fault, ...]:
        """The faults between cards of one group."""
        return tuple(fault for fault in self.faults if set(fault.members) <= set(members))


def faults_file(spec: Path) -> Path:
    """`rigs/home.yaml` → `rigs/home.fabric.json`."""
    return spec.with_name(f"{spec.stem}.fabric.json")


def load_faults(spec: Path, rig: str) -> FabricFaults | None:
    """What is known to be wrong; None without the file. SpecFileError when it cannot be read."""
    file = faults_file(spec)
    instead = no_file(file)
    if instead:
        raise SpecFileError(f"{file} {instead}", hint=AGAIN)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise SpecFileError(f"{file} cannot be read: {problem}", hint=AGAIN) from problem
    try:
        found = FabricFaults.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SpecFileError(
            f"{file} is no list of fabric faults: {place}: {first['msg']}", hint=AGAIN
        ) from problem
    if found.rig != rig:
        raise SpecFileError(
            f"{file} was measured on the rig `{found.rig}`, the spec is that of `{rig}`", hint=AGAIN
        )
    return found


def faults_text(faults: FabricFaults) -> str:
    """The text of the file, the same for the same faults."""
    return json.dumps(faults.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
