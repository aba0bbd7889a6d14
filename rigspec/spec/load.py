"""A spec file → `Rig`, with every finding about its text and shape.

`load` never raises for bad input: it gives back what could be read and all that is wrong with it.
"""

from __future__ import annotations

import os
from pathlib import Path as FilePath

from pydantic import ValidationError

from rigspec.finding import Finding
from rigspec.frozen import dataclass
from rigspec.regular import no_file
from rigspec.spec import slips
from rigspec.spec.rig import Rig
from rigspec.spec.source import Source, parse
from rigspec.spec.wording import findings_of

MAX_BYTES = 1 << 20
"""1 MiB: two hundred times the largest spec we know."""


@dataclass(frozen=True)
class Loaded:
    """What a file holds: its source, the rig when its shape is right, and what is wrong."""

    source: Source
    rig: Rig | None
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()
    """What no rule could judge, and what would let it, in words."""


def load(file: str | os.PathLike[str]) -> Loaded:
    """Read and validate one spec file."""
    shown = os.fspath(file)
    text = _read(FilePath(shown))
    if isinstance(text, slips.PlacedFinding):
        return Loaded(Source(shown, ""), None, (text,))
    return load_text(shown, text)


def load_text(shown: str, text: str) -> Loaded:
    """Validate the text of a spec; `shown` names it in messages."""
    source, data, findings = parse(shown, text)
    if data is None and findings:
        return Loaded(source, None, findings)
    if not isinstance(data, dict):
        return Loaded(source, None, (*findings, slips.not_a_mapping(source.locate(()))))
    try:
        return Loaded(source, Rig.model_validate(data), findings)
    except ValidationError as problem:
        shapes = (f for f in findings_of(problem, source) if not _explained(f, findings))
        return Loaded(source, None, (*findings, *shapes))


def _explained(shape: Finding, slips_found: tuple[Finding, ...]) -> bool:
    """Whether a value has the wrong shape only because YAML lost it (a tag, an endless alias)."""
    return any(slip.path and shape.path[: len(slip.path)] == slip.path for slip in slips_found)


def _read(file: FilePath) -> str | slips.PlacedFinding:
    """The text without byte order mark, or why there is none."""
    try:
        if not file.is_file():
            return slips.unreadable(f"the file {no_file(file) or 'does not exist'}", _meant(file))
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        return slips.unreadable(f"the file cannot be read: {reason}", "look at its permissions")
    if len(data) > MAX_BYTES:
        return slips.unreadable(
            f"the file is larger than {MAX_BYTES >> 20} MiB", "this is hardly a rig spec"
        )
    return _decode(data)


def _meant(file: FilePath) -> str:
    """The spec that a bare name or a folder may stand for, where there is one."""
    if file.is_dir() and any(file.glob("*.yaml")):
        return f"give its files: `{file}/*.yaml`"
    named = file.name if file.suffix in (".yaml", ".yml") else f"{file.name}.yaml"
    places = (file.with_name(named), FilePath("rigs") / named) if file.name else ()
    there = next((place for place in places if place != file and place.is_file()), None)
    if there is None:
        from difflib import get_close_matches  # a spec that is there does not need it

        beside = [place.stem for place in file.parent.glob("*.yaml") if place.is_file()]
        near = get_close_matches(file.stem, beside)
        there = file.with_name(f"{near[0]}.yaml") if near else None
    return f"did you mean {there}?" if there else "give the path of a rig spec"


def _decode(data: bytes) -> str | slips.PlacedFinding:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return slips.unreadable("the file is UTF-16", "save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = data[: problem.start]
        line = before.count(b"\n") + 1
        start = before.rfind(b"\n") + 1
        column = len(before[start:].decode("utf-8", "replace")) + 1
        return slips.unreadable(
            f"byte 0x{data[problem.start]:02x} is not UTF-8",
            "save the file as UTF-8",
            slips.Place(line, column),
        )
