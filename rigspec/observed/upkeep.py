"""What changes under a rig's feet: firmware, managed files, secrets, kernels, other cap writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from rigspec.frozen import dataclass
from rigspec.observed.files import FileState, parse_files_probe
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown
from rigspec.observed.sections import section, trouble
from rigspec.observed.text import hide_secrets

Sections = Mapping[str, Sequence[str]]
THERE, EMPTY, ABSENT = "there", "empty", "absent"


@dataclass(frozen=True)
class Firmware(Record):
    """The board's firmware as DMI names it, and the CPU's microcode."""

    vendor: Reading[str]
    version: Reading[str]
    date: Reading[str]
    board: Reading[str]
    microcode: Reading[str]


@dataclass(frozen=True)
class InstalledKernel(Record):
    """One kernel in /boot."""

    release: str
    has_initrd: bool


@dataclass(frozen=True)
class SecretFile(Record):
    """One secret on the host, never its value; None: the file is absent."""

    path: str
    mode: str | None
    owner: str | None
    searched: bool
    """False: the value is too short to be searched for without false alarms."""
    places: tuple[str, ...] = ()
    """Where else the value was found: `argv 812 docker`, `file /etc/x`, `log unit`."""


@dataclass(frozen=True)
class Upkeep(Record):
    """One look at all of it."""

    firmware: Reading[Firmware] = NOT_ASKED
    kernels: Reading[tuple[InstalledKernel, ...]] = NOT_ASKED
    """In the order of their versions, newest last."""
    files: Reading[Mapping[str, FileState]] = NOT_ASKED
    edited: Mapping[str, str] = field(default_factory=dict)
    """Text of managed files whose content is not the planned one; secrets are blotted out."""
    secrets: Reading[tuple[SecretFile, ...]] = NOT_ASKED
    cap_writers: Reading[tuple[str, ...]] = NOT_ASKED
    """Files and running units, not ours, that set power limits or clocks."""
    mounted: Reading[Mapping[str, str]] = NOT_ASKED
    """Each file or folder that servers read of the host: `there`, `empty` folder, or `absent`."""


def parse_firmware(sections: Sections) -> Reading[Firmware]:
    """The section `firmware`: `key=value` lines, and the microcode line of /proc/cpuinfo."""
    lines = section(sections, "firmware")
    if isinstance(lines, Unknown):
        return lines
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)
    microcode = next((line for line in lines if line.startswith("microcode")), "")

    def get(*keys: str) -> Reading[str]:
        words = " ".join(filter(None, (pairs.get(key, "").strip() for key in keys)))
        return words or Unknown(f"DMI names no {keys[0]}")

    return Firmware(
        get("bios_vendor"),
        get("bios_version"),
        get("bios_date"),
        get("board_vendor", "board_name"),
        microcode.partition(":")[2].strip() or Unknown("/proc/cpuinfo names no microcode"),
    )


def parse_kernels(sections: Sections) -> Reading[tuple[InstalledKernel, ...]]:
    """The section `kernels`: `kernel RELEASE yes|no`, sorted by version on the host."""
    lines = section(sections, "kernels")
    if isinstance(lines, Unknown):
        return lines
    words = [line.split() for line in lines if line.startswith("kernel ")]
    found = tuple(InstalledKernel(w[1], w[2] == "yes") for w in words if len(w) == 3)
    return found or Unknown("no kernel is in /boot", next(iter(lines), ""))


def parse_edited(sections: Sections) -> dict[str, str]:
    """The section `edited`: `edited PATH`, then its lines behind `> `."""
    lines = section(sections, "edited")
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in () if isinstance(lines, Unknown) else lines:
        if line.startswith("edited "):
            current = found.setdefault(line.removeprefix("edited "), [])
        elif line.startswith(">"):
            current.append(line[2:])
    return {path: "".join(map(_without_secrets, text)) for path, text in found.items()}


def _without_secrets(line: str) -> str:
    return " ".join(hide_secrets(line.split(" "))) + "\n"


def parse_secrets(sections: Sections, paths: Sequence[str]) -> Reading[tuple[SecretFile, ...]]:
    """The section `secrets`: `file PATH MODE OWNER`, `short PATH`, `place PATH WHERE…`."""
    if not paths:
        return ()
    lines = section(sections, "secrets")
    if isinstance(lines, Unknown):
        return lines
    problem = trouble(sections["secrets"])
    if problem is not None:
        return problem
    return tuple(_secret(lines, path) for path in paths)


def _secret(lines: Sequence[str], path: str) -> SecretFile:
    state = next((w for line in lines if (w := line.split())[:2] == ["file", path]), None)
    mode, owner = (state[2], state[3]) if state and len(state) == 4 else (None, None)
    head = f"place {path} "
    return SecretFile(
        path,
        mode,
        owner,
        searched=f"searched {path}" in lines,
        places=tuple(dict.fromkeys(x.removeprefix(head) for x in lines if x.startswith(head))),
    )


def parse_mounted(sections: Sections) -> Reading[Mapping[str, str]]:
    """The section `mounted`: `there PATH`, `empty PATH` of a folder, or `absent PATH`."""
    lines = section(sections, "mounted")
    if isinstance(lines, Unknown):
        return lines
    said = (line.partition(" ") for line in lines)
    return {path: word for word, _, path in said if word in {THERE, EMPTY, ABSENT}}


def parse_upkeep(sections: Sections, paths: Sequence[str], secret_paths: Sequence[str]) -> Upkeep:
    """All sections; `paths` are the managed files that were asked for."""
    writers = section(sections, "cap-writers")
    return Upkeep(
        firmware=parse_firmware(sections),
        kernels=parse_kernels(sections),
        files=parse_files_probe(sections, paths),
        edited=parse_edited(sections),
        secrets=parse_secrets(sections, secret_paths),
        mounted=parse_mounted(sections),
        cap_writers=writers
        if isinstance(writers, Unknown)
        else tuple(sorted({line.strip() for line in writers if line.strip()})),
    )
