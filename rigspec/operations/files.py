"""Files as the plan has them: one look at all, one atomic command for whatever differs."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Generator, Iterable, Mapping

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.files import Files
from rigspec.facts.managed import FileState
from rigspec.operations.shell import UNREADABLE, refuse, shell, shell_with_input
from rigspec.plan.sections import RenderedFile

_END = "RIGSPEC_END_OF_FILE"


def digest(text: str) -> str:
    """SHA-256 of a file with this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_as_planned(file: RenderedFile, seen: Mapping[str, FileState]) -> bool:
    """Whether the host's file has the planned content, mode and owner."""
    state = seen.get(file.dest)
    return (
        state is not None
        and state.sha256 == digest(file.content)
        and state.mode == file.mode.lstrip("0")
        and state.owner == "root:root"
    )


def differing(
    files: Iterable[RenderedFile], seen: Mapping[str, FileState]
) -> tuple[RenderedFile, ...]:
    """The files that must be written."""
    return tuple(file for file in files if not is_as_planned(file, seen))


def write(files: Iterable[RenderedFile], *, before: str = "") -> StringCommand:
    """Write files in one command: each to a new name, synced, then moved over the old one.

    `before` is a script that runs first: it leaves the mark by which a later run finds out what
    an interrupted one still owes (a reboot).
    """
    files = tuple(files)
    folders = sorted({file.dest.rpartition("/")[0] for file in files})
    lines = ["set -e; umask 022", before, f"mkdir -p -- {shlex.join(folders)}"]
    for file in files:
        lines += _write_one(file)
    listed = shlex.join([file.dest for file in files])
    return shell_with_input(f"sh -s -- {listed}", "\n".join(filter(None, lines)) + "\n")


def _write_one(file: RenderedFile) -> list[str]:
    if not file.content.endswith("\n"):
        raise ValueError(f"{file.dest} does not end with a newline")
    if _END in file.content:
        raise ValueError(f"{file.dest} holds {_END}")
    path, new = shlex.quote(file.dest), shlex.quote(f"{file.dest}.new")
    return [
        f"rm -f -- {new}",
        f"(umask 077; cat >{new}) <<'{_END}'\n{file.content}{_END}",
        f"chmod {int(file.mode, 8):o} {new}; chown root:root {new}; sync {new}",
        f"mv -f -- {new} {path}",
    ]


def remove(paths: Iterable[str]) -> StringCommand:
    """Remove files that rigspec wrote earlier."""
    return shell('rm -f -- "$@"', *paths)


@operation()
def written(
    *, files: tuple[RenderedFile, ...], absent: tuple[str, ...] = ()
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The files are as planned, the absent ones are gone."""
    seen = host.get_fact(Files, paths=(*(file.dest for file in files), *absent))
    if seen is None:
        yield refuse(UNREADABLE)
        return
    wrong = differing(files, seen)
    stale = tuple(path for path in absent if path in seen)
    if wrong:
        yield write(wrong)
    if stale:
        yield remove(stale)
    if not wrong and not stale:
        host.noop(f"{len(files)} files are as planned")
