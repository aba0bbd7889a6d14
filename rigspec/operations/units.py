"""systemd units as planned: enabled, started, reloaded, each only when the state asks.

What is compared is the running state, never "did an earlier step change something": a run that was
killed between writing a file and restarting its unit finds the same work again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from pyinfra.api import StringCommand

from rigspec.facts.managed import FileState, UnitState
from rigspec.operations.shell import shell
from rigspec.plan.sections import RenderedFile

UNIT_FOLDER = "/etc/systemd/system/"

_START = """\
if ! out=$(systemctl "$1" -- "$2" 2>&1); then
  echo "$2 did not start:" >&2
  systemctl show -p Result,ExecMainStatus -- "$2" | tr '\\n' ' ' >&2; echo >&2
  journalctl -q --no-pager -o cat -n 12 -u "$2" >&2 || echo "$out" >&2
  echo "look at: systemctl status $2; journalctl -b -u $2" >&2
  exit 1
fi
"""


def daemon_reload() -> StringCommand:
    """Let systemd read unit files again; only yielded when it has to."""
    return shell("systemctl daemon-reload")


_ENABLE = """\
for unit do # a package enables its own units when it is installed
  shift
  [ "$(systemctl is-enabled -- "$unit" 2>/dev/null)" = enabled ] || set -- "$@" "$unit"
done
if [ $# -gt 0 ]; then systemctl -q enable -- "$@"
"""


def enabled(units: Iterable[str], *, unread: bool) -> StringCommand:
    """Enable units for the next boot, which lets systemd read unit files again, too.

    With `unread` they are read even if there is nothing to enable; each reading takes long.
    """
    otherwise = "else systemctl daemon-reload\n" if unread else ""
    return shell(f"{_ENABLE}{otherwise}fi\n", *units)


def start(unit: str, verb: str = "start") -> StringCommand:
    """Start, restart or reload a unit and wait for it; on failure its last own words."""
    return shell(_START, verb, unit)


def unit_changes(
    units: Iterable[str],
    seen: Mapping[str, UnitState],
    written: Iterable[RenderedFile],
    *,
    inputs: Mapping[str, tuple[str, ...]] | None = None,
    files: Mapping[str, FileState] | None = None,
    enable: bool = True,
) -> Iterator[StringCommand]:
    """Commands that make the units enabled and active on their current inputs.

    `written` are files that this operation has just written; `inputs` names the files each unit
    reads at its start, `files` their state before: newer than the unit's start is a reload.
    """
    units, inputs, files = tuple(units), inputs or {}, files or {}
    fresh = {file.dest for file in written}
    disabled = [unit for unit in units if not _enabled(seen.get(unit))]
    unread = needs_reload(units, seen, fresh)
    if disabled and enable:
        yield enabled(disabled, unread=unread)
    elif unread:
        yield daemon_reload()
    for unit in units:
        verb = verb_for(seen.get(unit), reads_changed(unit, inputs, files, fresh, seen.get(unit)))
        if verb:
            yield start(unit, verb)


def needs_reload(units: Iterable[str], seen: Mapping[str, UnitState], fresh: Iterable[str]) -> bool:
    """Whether systemd holds an older reading of a unit file than the disk."""
    stale = any(unit in seen and seen[unit].needs_reload for unit in units)
    return stale or any(path.startswith(UNIT_FOLDER) for path in fresh)


def reads_changed(
    unit: str,
    inputs: Mapping[str, tuple[str, ...]],
    files: Mapping[str, FileState],
    fresh: Iterable[str],
    state: UnitState | None,
) -> bool:
    """Whether a file the unit reads is newer than the unit's start."""
    paths = inputs.get(unit, ())
    if set(paths) & set(fresh):
        return True
    if state is None or not state.since:
        return False
    return any(path in files and files[path].modified > state.since for path in paths)


def verb_for(state: UnitState | None, changed: bool) -> str | None:
    """`start`, `reload` or nothing.

    Our oneshots reload by running their script again: a restart would stop what requires them.
    """
    if state is None or not state.is_active:
        return "start"
    return "reload" if changed else None


def _enabled(state: UnitState | None) -> bool:
    return state is not None and state.is_enabled


def stop_and_disable(units: Iterable[str]) -> StringCommand:
    """Stop units and take them out of the boot; units that are gone already do no harm."""
    listed = shlex.join(list(units))
    return shell(f'for u in {listed}; do systemctl -q disable --now -- "$u" || true; done')
