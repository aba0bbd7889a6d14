"""`systemctl show`: the state of units, including what systemd has not reread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import ends_open, hide_secrets

UNIT_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "Result",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "NRestarts",
    "MainPID",
    "StatusText",
    "FragmentPath",
    "DropInPaths",
    "Environment",
)
"""For `systemctl show -p`; times are µs since boot, 0 is "not in this boot"."""


@dataclass(frozen=True)
class Unit(Record):
    """One unit of systemd, by the properties asked for."""

    id: str
    load_state: Reading[str]
    active_state: Reading[str]
    sub_state: Reading[str]
    unit_file_state: Reading[str]
    need_daemon_reload: Reading[bool]
    result: Reading[str]
    exec_main_status: Reading[int]
    n_restarts: Reading[int]
    main_pid: Reading[int]
    active_enter_us: Reading[int]
    """Time it became active, µs since boot; 0: not in this boot."""
    start_us: Reading[int]
    """Time it left the inactive state, µs since boot."""
    status_text: str
    properties: Mapping[str, str]

    @property
    def exists(self) -> bool:
        """Whether systemd has a unit file of that name."""
        return self.load_state not in {"not-found", "masked"} and not isinstance(
            self.load_state, Unknown
        )

    @property
    def active(self) -> bool:
        """Whether it is up (a oneshot with RemainAfterExit counts)."""
        return self.active_state == "active"

    @property
    def enabled(self) -> bool:
        """Whether it comes up by itself; static and generated units hang on others."""
        return self.unit_file_state in {"enabled", "enabled-runtime", "generated", "static"}


def parse_units(text: str | Iterable[str]) -> dict[str, Unit]:
    """Blocks of `systemctl show`, by Id; a value may hold `=` and run over several lines."""
    found: dict[str, Unit] = {}
    block: dict[str, str] = {}
    last = ""
    lines = bare_lines(text)
    if ends_open(text):
        lines.pop()  # systemd ends every line: the last one is half a value
    for line in [*lines, ""]:
        key, equals, value = line.partition("=")
        if equals and key.isalnum() and key[:1].isupper():
            if key == "Id" and "Id" in block:
                _close(found, block)
                block = {}
            block[key], last = value, key
        elif not line.strip():
            _close(found, block)
            block, last = {}, ""
        elif last:
            block[last] += "\n" + line
    return found


def parse_units_probe(sections: Mapping[str, Sequence[str]]) -> Reading[dict[str, Unit]]:
    """Units of the section `units`."""
    lines = section(sections, "units")
    if isinstance(lines, Unknown):
        return lines
    units = parse_units(lines)
    if units or not any(line.strip() for line in lines):
        return units
    return Unknown("systemctl shows no units", next(line for line in lines if line.strip()))


def _close(found: dict[str, Unit], block: dict[str, str]) -> None:
    name = block.get("Id")
    if not name:
        return
    found[name] = Unit(
        id=name,
        load_state=_text(block, "LoadState"),
        active_state=_text(block, "ActiveState"),
        sub_state=_text(block, "SubState"),
        unit_file_state=_text(block, "UnitFileState"),
        need_daemon_reload=_yes(block, "NeedDaemonReload"),
        result=_text(block, "Result"),
        exec_main_status=_number(block, "ExecMainStatus"),
        n_restarts=_number(block, "NRestarts"),
        main_pid=_number(block, "MainPID"),
        active_enter_us=_number(block, "ActiveEnterTimestampMonotonic"),
        start_us=_number(block, "InactiveExitTimestampMonotonic"),
        status_text=block.get("StatusText", ""),
        properties=_without_secrets(block),
    )


def _without_secrets(block: Mapping[str, str]) -> dict[str, str]:
    shown = dict(block)
    if "Environment" in shown:
        shown["Environment"] = " ".join(hide_secrets(shown["Environment"].split(" ")))
    return shown


def _text(block: Mapping[str, str], key: str) -> Reading[str]:
    """An empty value is systemd's "not so" (UnitFileState of a unit without a file)."""
    return block[key] if key in block else Unknown(f"`{key}` was not shown")


def _yes(block: Mapping[str, str], key: str) -> Reading[bool]:
    value = _text(block, key)
    if isinstance(value, Unknown) or value in {"yes", "no"}:
        return value if isinstance(value, Unknown) else value == "yes"
    return Unknown("neither yes nor no", value)


def _number(block: Mapping[str, str], key: str) -> Reading[int]:
    value = _text(block, key)
    if isinstance(value, Unknown):
        return value
    return int(value) if value.lstrip("-").isdecimal() else Unknown("not a number", value)
