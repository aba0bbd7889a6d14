"""A folder of texts read off a host: each file is recognised by what it says, never by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from rigspec.discover.encoding import decoded, is_packed, is_text
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.letters import harmless
from rigspec.observed.dressing import bare_lines
from rigspec.observed.sections import split_sections
from rigspec.observed.text import clean_lines, hide_secrets

MAX_BYTES = 32 << 20
"""32 MiB: a day of kernel log and more than any probe of ours prints."""


class Kind(StrEnum):
    """What a text is."""

    PROBE = "probe"
    SAVED_LOOK = "rigspec verify --save"
    LSPCI = "lspci"
    LSPCI_TREE = "lspci -t"
    SMI_LOG = "nvidia-smi -q"
    SMI_XML = "nvidia-smi -q -x"
    SMI_CSV = "nvidia-smi --query-gpu"
    SMI_LIST = "nvidia-smi -L"
    SMI_BANNER = "nvidia-smi"
    TOPO = "nvidia-smi topo -m"
    P2P = "nvidia-smi topo -p2p"
    CMDLINE = "/proc/cmdline"
    LSCPU = "lscpu"
    OS_RELEASE = "/etc/os-release"
    DRIVER = "/proc/driver/nvidia/version"
    FINDMNT = "findmnt -P"
    IOMMU_GROUPS = "IOMMU groups"
    DMESG = "kernel log"
    LOG = "log"


_SIGNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.PROBE, re.compile(r"^##RIG ", re.M)),
    (Kind.SAVED_LOOK, re.compile(r'^ "format": "rigspec-observation"', re.M)),
    (Kind.SMI_XML, re.compile(r"<nvidia_smi_log>")),
    (Kind.SMI_LOG, re.compile(r"^=+NVSMI LOG=+|^GPU [0-9A-Fa-f]{8}:[0-9A-Fa-f:.]+\s*$", re.M)),
    (Kind.SMI_CSV, re.compile(
        r"^(?:timestamp|index|name|uuid|gpu_\w+|pci\.\w+),|"
        r"^(?:memory|utilization|temperature|power|clocks|pcie|fan)\.[\w.]+(?: \[\S+\])?, ?[a-z]",
        re.M)),
    (Kind.LSPCI_TREE, re.compile(r"^-(?:\+-)?\[[0-9a-f:]+", re.M)),
    (Kind.TOPO, re.compile(r"^\W*(?:\[4m)?GPU0\s+CPU Affinity", re.M)),
    (Kind.TOPO, re.compile(r"^\W*GPU0\s[\s|]*X\s.*\b(?:PIX|PXB|PHB|NODE|SYS|NV\d+)\b", re.M)),
    (Kind.P2P, re.compile(r"^\W*GPU0\s[\s|]*X\s.*\b(?:OK|CNS|GNS|TNS|NS|DR|U)\b", re.M)),
    (Kind.LSCPU, re.compile(r"^ *(?:Architecture|Thread\(s\) per core|Socket\(s\)):\s", re.M)),
    (Kind.OS_RELEASE, re.compile(r"^VERSION_ID=", re.M)),
    (Kind.CMDLINE, re.compile(
        r"\A(?:[$#] [^\n]*\n)?"  # `$ cat /proc/cmdline`
        r"(?:[^\n:]|:(?! ))*\b(?:BOOT_IMAGE|root|initrd)=(?:[^\n:]|:(?! ))*\n?\Z")),
    (Kind.FINDMNT, re.compile(r'^TARGET="', re.M)),
    (Kind.IOMMU_GROUPS, re.compile(
        r"^(?!\s+IOMMU group: \d+$)\W*IOMMU group:? +\d+\b|/iommu_groups/\d+/devices/",
        re.M | re.I)),
    (Kind.LSPCI, re.compile(r"^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7] [A-Z]", re.M)),
    (Kind.DMESG, re.compile(
        r"^(?:<\d+>)?\[ *\+?\d+\.\d{6}\](?:\[ *[TC]\d+\])? |kernel: |^NVRM: |"
        r"^\d+,\d+,\d+,[-\w,=]+;|"  # /dev/kmsg
        # dmesg -T, whatever the language of its days and months; --decode
        r"^ *\[\w{1,4}\.? +\w{1,5}\.? +\d+ [\d:]{8} \d{4}\] |^kern +:\w+ *: |"
        r"NVRM: Xid \(|PCIe Bus Error: severity=|nvidia-nvswitch\d+: ", re.M)),
    (Kind.DRIVER, re.compile(r"\ANVRM version:")),
    (Kind.SMI_BANNER, re.compile(
        r"\| NVIDIA-SMI |^\| +\d+ .*\| *[0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.0 +\S+ *\|", re.M)),
    (Kind.SMI_LIST, re.compile(r"^GPU \d+: .* \(UUID: GPU-", re.M)),
)  # fmt: skip
"""The first sign that a text shows decides; later ones are the weaker ones."""


def recognise(text: str) -> Kind:
    """What a text is; any other is a log, of which only sentences are read."""
    head = text[:200_000].strip("\n")
    kind = _signed(head)
    return _signed("\n".join(bare_lines(head))) if kind is Kind.LOG else kind


_MIXED = frozenset({
    Kind.SMI_LOG, Kind.SMI_BANNER, Kind.TOPO, Kind.P2P, Kind.LSPCI, Kind.LSCPU, Kind.DMESG,
    Kind.IOMMU_GROUPS, Kind.SMI_LIST,
})  # fmt: skip
"""What stands in one file with others: their parsers pass over lines that are not theirs."""


_PASTED = 4 << 20
"""4 MiB: more than any paste; a longer text is one log."""


def others(text: str, kind: Kind) -> frozenset[Kind]:
    """What else a text holds: the output of many commands, pasted into one file."""
    if kind not in _MIXED | {Kind.LSPCI_TREE}:
        return frozenset()
    bare = "\n".join(bare_lines(text[:_PASTED]))
    return frozenset(k for k, sign in _SIGNS if k in _MIXED and sign.search(bare)) - {kind}


def _signed(head: str) -> Kind:
    if re.match(r"NVRM version:", head):
        return Kind.DRIVER
    return next((kind for kind, sign in _SIGNS if sign.search(head)), Kind.LOG)


@dataclass(frozen=True)
class Place:
    """A line of a capture, as it may be shown: secrets are covered."""

    file: str
    line: int
    text: str

    @override
    def __str__(self) -> str:
        """`dmesg.txt:12: …`."""
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class CaptureFile:
    """One text of the folder."""

    name: str
    kind: Kind
    lines: tuple[str, ...]
    also: frozenset[Kind] = frozenset()
    """Kinds of which it holds an output, too."""

    def place(self, number: int) -> Place:
        """The line of a number (from 1)."""
        return Place(self.name, number, masked(self.lines[number - 1]))

    @cached_property
    def sections(self) -> dict[str, list[str]]:
        """Sections of our own probe; empty for any other text."""
        return split_sections(self.lines) if self.kind is Kind.PROBE else {}


@dataclass(frozen=True)
class Capture:
    """All texts, in the order of their names."""

    name: str
    files: tuple[CaptureFile, ...]
    packed: tuple[str, ...] = ()
    """Files that were not read, since they are compressed."""

    def of(self, *kinds: Kind) -> tuple[CaptureFile, ...]:
        """The texts of some kinds, and those that hold one among others."""
        return tuple(f for f in self.files if f.kind in kinds or not f.also.isdisjoint(kinds))

    def places(self) -> Iterator[tuple[CaptureFile, int, str]]:
        """Every line with its file and number."""
        for file in self.files:
            for number, line in enumerate(file.lines, 1):
                yield file, number, line

    def find(self, *needles: str) -> Place | None:
        """The first line that holds one text after the other (`06:00.0`, then `LnkSta:`).

        Each further text is looked for from the line before's on, so a field is found in the
        block of its device.
        """
        for file in self.files:
            at = _find_in(file.lines, needles)
            if at is not None:
                return file.place(at + 1)
        return None


def _find_in(lines: tuple[str, ...], needles: tuple[str, ...]) -> int | None:
    at = 0
    for needle in needles:
        found = next((n for n in range(at, len(lines)) if needle in lines[n]), None)
        if found is None:
            return None
        at = found
    return at


_SECRETS = (
    re.compile(r"\b(?:hf|sk|ghp|nvapi)[-_][A-Za-z0-9_-]{8,}"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(r"(?i)(?<=serial number: )\S+|(?<=serial number : )\S+"),
    re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"),
    re.compile(r"(?i)(?<=[\"']api_key[\"']: )[\"'][^\"']*[\"']|(?<=api_key=)[\"'][^\"']*[\"']"),
)
_WINDOW = 200


def masked(line: str) -> str:
    """A line as it may be printed: without secrets and control characters, 200 letters at most."""
    shown = " ".join(hide_secrets(line.strip().split(" ")))
    for pattern in _SECRETS:
        shown = pattern.sub("(hidden)", shown)
    shown = harmless(shown.replace("\t", " "))
    return shown if len(shown) <= _WINDOW else shown[: _WINDOW - 1] + "…"


def capture_text(name: str, text: str) -> Capture:
    """One text as a capture of its own, for example what a host has just said."""
    return Capture(name, (_captured(name, text),))


def _captured(name: str, text: str) -> CaptureFile:
    lines = tuple(clean_lines(text))
    kind = recognise("\n".join(lines))
    return CaptureFile(name, kind, lines, others("\n".join(lines), kind))


def read_capture(folder: str | Path) -> Capture:
    """Every text of a folder (not below it), pages of words (`*.md`) left out; or one file."""
    try:
        return _read(folder, Path(folder))
    except OSError as problem:
        raise RigspecError(
            f"`{problem.filename or folder}` cannot be read: {problem.strerror}",
            hint="look at its owner and mode: `ls -l`",
        ) from problem


def _read(folder: str | Path, path: Path) -> Capture:
    if path.is_file() and _is_text(path):
        return Capture(path.stem, (_file(path),))
    if path.is_file() and is_packed(_head(path)):
        raise RigspecError(f"`{folder}` is packed", hint="unpack it first (`gunzip -k`, `tar xf`)")
    if not path.is_dir():
        raise RigspecError(
            f"`{folder}` is no text" if path.exists() else f"the folder `{folder}` does not exist",
            hint="save `rigspec discover --print-probe` as probe.sh, then "
            "`ssh root@host 'sh -s' < probe.sh > capture/probe.txt`",
        )
    entries = sorted(entry for entry in path.iterdir() if entry.is_file())
    packed = tuple(entry.name for entry in entries if is_packed(_head(entry)))
    files = tuple(_file(entry) for entry in entries if _is_text(entry))
    if not files:
        raise RigspecError(
            f"the folder `{folder}` holds no text",
            hint=f"unpack {packed[0]} first" if packed else "`rigspec discover --print-probe`",
        )
    return Capture(path.resolve().name, files, packed)


def _head(entry: Path) -> bytes:
    with entry.open("rb") as stream:
        return stream.read(4096)


def _is_text(entry: Path) -> bool:
    if not entry.is_file() or entry.suffix == ".md" or entry.name.startswith("."):
        return False
    head = _head(entry)
    return is_text(head) and not is_packed(head)


def _file(entry: Path) -> CaptureFile:
    with entry.open("rb") as stream:
        return _captured(entry.name, decoded(stream.read(MAX_BYTES)))
