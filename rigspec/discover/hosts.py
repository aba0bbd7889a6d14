"""Whether the texts of one capture are of one host: they are read as one, whatever they are of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.discover.capture import Capture, CaptureFile, Kind

_TIME = r"(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)"
_NAMES = (
    re.compile(rf"^{_TIME} (?P<host>[A-Za-z][\w.-]*) kernel: "),
    re.compile(r"^Linux (?P<host>[A-Za-z][\w.-]*) \d+\.\d+\S* #\d"),  # uname -a
    re.compile(r"^NODENAME=(?P<host>\S+)"),
)
_BOOT = re.compile(r"^rig_boot_id=(\S+)")


def notes_of(capture: Capture) -> Iterator[str]:
    """What an owner must know before believing what the texts say together."""
    for name in capture.packed:
        yield f"{name} is packed and was not read: unpack it first"
    told = _two_of("hosts", _hosts(capture)) or _two_of("boots", _boots(capture))
    probes = [file.name for file in capture.files if file.kind is Kind.PROBE]
    if not told and len(probes) > 1:
        told = f"there are {len(probes)} probes ({', '.join(probes)})"
    if told:
        yield f"{told}, which are read as one host: give each a folder of its own"


def _two_of(what: str, found: dict[str, str]) -> str:
    """`two hosts (a in x.txt, b in y.txt)`, empty for one or none."""
    if len(found) < 2:
        return ""
    shown = ", ".join(f"{value} in {name}" for value, name in found.items())
    return f"these texts are of {len(found)} {what} ({shown})"


def _hosts(capture: Capture) -> dict[str, str]:
    """Host to the first file that names it; a domain behind the name says nothing new."""
    found: dict[str, str] = {}
    for file in capture.files:
        for name in _hosts_in(file):
            found.setdefault(name.partition(".")[0].lower(), file.name)
    return found


def _hosts_in(file: CaptureFile) -> Iterator[str]:
    for line in file.lines:
        if "kernel: " in line or line.startswith(("Linux ", "NODENAME=")):
            yield from (match["host"] for name in _NAMES if (match := name.match(line)))


def _boots(capture: Capture) -> dict[str, str]:
    """Boot id, shortened, to the first probe that has it."""
    found: dict[str, str] = {}
    for file in capture.of(Kind.PROBE):
        for line in file.sections.get("host", ()):
            if match := _BOOT.match(line):
                found.setdefault(match[1][:8], file.name)
    return found
