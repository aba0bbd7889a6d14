"""Reading raw text: terminal dressing off, numbers and bus ids out, or the reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.observed.record import Unknown

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
_DROPPED = {ord("\r"): None, 0: None, 0xA0: " ", 0xFEFF: None}
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)\s*([A-Za-z%/]*)")
_UNITS = frozenset(
    ("", "W", "mW", "MiB", "KiB", "GiB", "MB", "KB", "GB", "MHz", "C", "%", "x", "us", "ms", "s",
     "KB/s", "MB/s", "GB/s", "J", "mJ")
)  # fmt: skip
"""Units that nvidia-smi and its like print behind a number."""
_BDF = re.compile(
    r"(?<![0-9a-fA-F:.])"
    r"(?:(?P<domain>[0-9a-fA-F]{4,8}):(?P<bus>[0-9a-fA-F]{2}):(?P<device>[01][0-9a-fA-F])"
    r"(?:\.(?P<function>[0-7])|(?![0-9a-fA-F:.]))"
    r"|(?P<bus2>[0-9a-fA-F]{2}):(?P<device2>[01][0-9a-fA-F])\.(?P<function2>[0-7]))"
    r"(?![0-9a-fA-F])"
)
_NO_VALUE = frozenset(
    {"", "n/a", "not supported", "unknown error", "unknown", "not found", "err!", "none found"}
)


def clean_lines(text: str | Iterable[str]) -> list[str]:
    """Lines without ANSI escapes, carriage returns, NUL bytes and blanks of web pages."""
    if isinstance(text, str):
        text = text.split("\n")
    lines = [line if line.isprintable() else _undressed(line) for line in text]
    return [piece for line in lines for piece in line.split("\n")]


def _undressed(line: str) -> str:
    return _ANSI.sub("", line).translate(_DROPPED)


def normal_bdf(text: str) -> str | None:
    """The first bus id in the text as `0000:41:00.0`, whatever its width; None if there is none.

    nvidia-smi prints eight digits of domain, lspci none or four; Xid lines leave the function out
    (never both: `16:18` is a time of day).
    """
    match = _BDF.search(text.replace("PCI:", " "))
    if match is None:
        return None
    domain = int(match["domain"] or "0", 16)
    bus, device = match["bus"] or match["bus2"], match["device"] or match["device2"]
    return f"{domain:04x}:{bus}:{device}.{match['function'] or match['function2'] or 0}".lower()


def read_cell(cell: str) -> str | Unknown:
    """A cell of nvidia-smi: its text, or Unknown for `[N/A]` and its relatives."""
    bare = cell.strip()
    inner = bare.strip("[]").strip()
    if inner.lower() in _NO_VALUE:
        return Unknown(inner.lower() or "empty", bare)
    if bare.startswith("[") and bare.endswith("]"):
        return Unknown(inner.lower(), bare)
    if inner.lower().startswith(("requested functionality", "gpu is lost", "gpu requires reset")):
        return Unknown(inner.lower(), bare)
    return bare


def read_float(cell: str) -> float | Unknown:
    """The number at the start of a cell, its unit dropped."""
    value = read_cell(cell)
    if isinstance(value, Unknown):
        return value
    match = _NUMBER.match(value)
    if match is None or match.end() < len(value) or match.group(2) not in _UNITS:
        return Unknown("not a number", value)
    return float(match.group(1))


def read_measure(cell: str) -> float | Unknown:
    """A number that is always printed with its unit: without one the line was cut."""
    value = read_float(cell)
    if isinstance(value, Unknown) or not cell.strip()[-1].isdecimal():
        return value
    return Unknown("the unit is missing: the line was cut", cell.strip())


def read_int(cell: str) -> int | Unknown:
    """The whole number at the start of a cell; `0x…` is hexadecimal."""
    value = read_cell(cell)
    if isinstance(value, Unknown):
        return value
    if value.lower().startswith("0x"):
        return read_hex(value)
    number = read_float(value.replace(",", "").lstrip("xX"))
    if isinstance(number, Unknown):
        return number
    return int(number) if abs(number) < 1e18 else Unknown("out of range", value)


def read_hex(cell: str) -> int | Unknown:
    """A hexadecimal word with or without `0x`."""
    try:
        return int(cell.strip(), 16)
    except ValueError:
        return Unknown("not a hexadecimal number", cell.strip())


def read_bool(cell: str) -> bool | Unknown:
    """Enabled/Disabled, Yes/No, On/Off, Active/Not Active, Y/N, 1/0."""
    value = read_cell(cell)
    if isinstance(value, Unknown):
        return value
    word = value.lower()
    if word in {"enabled", "yes", "on", "active", "y", "1", "true"}:
        return True
    if word in {"disabled", "no", "off", "not active", "n", "0", "false"}:
        return False
    return Unknown("neither yes nor no", value)


_SCALE = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(?:iB|B)?$", re.IGNORECASE)


def read_size(cell: str) -> int | Unknown:
    """A size of powers of two (`64G`, `128GB`, `256 MiB`) in bytes."""
    match = _SIZE.match(cell.strip())
    if match is None:
        return Unknown("not a size", cell.strip())
    return int(float(match.group(1)) * _SCALE[match.group(2).upper()])


def cpu_list(text: str) -> tuple[int, ...] | Unknown:
    """The CPUs of a kernel list such as `0-31,64-95`."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return Unknown("not a list of CPUs", text.strip())
        if not int(first) <= int(last or first) < _MAX_CPUS:
            return Unknown("not a list of CPUs", text.strip())
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


_MAX_CPUS = 1 << 16
"""More than any machine has; a damaged list must not fill our memory."""


def ends_open(text: object) -> bool:
    """Whether a text stops in its last line: what stands at its very end may be half a word.

    Lines that come as a list are whole.
    """
    return isinstance(text, str) and bool(text) and not text.endswith("\n")


HIDDEN = "(hidden)"
_SECRET_NAME = re.compile(r"(?:api[-_]?key|token|secret|password|passwd)s?$", re.IGNORECASE)


def hide_secrets(words: Iterable[str]) -> tuple[str, ...]:
    """Words of a command or `NAME=value` pairs, values of secret names replaced by `(hidden)`.

    The name stays: that a secret stands in argv or in an environment is itself an observation.
    """
    shown: list[str] = []
    follows = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_secret = bool(_SECRET_NAME.search(name.rstrip()))
        if follows and not word.startswith("--"):
            shown.append(HIDDEN)
        else:
            shown.append(f"{name}={HIDDEN}" if is_secret and equals else word)
        follows = is_secret and not equals and word.startswith("--")
    return tuple(shown)
