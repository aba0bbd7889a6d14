"""Where a verb's answer goes: what cannot take it is said in one line, without a traceback.

A full disk, a closed descriptor, and letters that the terminal's encoding lacks are none of a
verb's business; `guarded` is wrapped around each. A reader that has seen enough (`| head -1`)
ends it without a word.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

import click

UNTOLD = 3
"""The exit code: nobody could be told, whatever was found."""
_T = TypeVar("_T")


def guarded(verb: Callable[[], _T]) -> _T:
    """What the verb gives back; ends with 3 where its answer finds no place."""
    if sys.stdout is None:  # a file that is opened next would get the number of standard output
        _end("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        return verb()
    except OSError as problem:
        if not _was_telling(problem):
            raise
        if problem.errno == errno.EPIPE:
            _forget()
            sys.exit(1)  # as click does it
        _end(f"the answer cannot be written: {problem.strerror}")


def _was_telling(problem: OSError) -> bool:
    """Whether it was click that wrote, not some file of ours that could not be read."""
    frames = traceback.walk_tb(problem.__traceback__)
    return any(frame.f_code is click.echo.__code__ for frame, _ in frames)


def _end(said: str) -> NoReturn:
    with suppress(OSError, AttributeError):
        click.echo(said, err=True)
    _forget()
    sys.exit(UNTOLD)


def _forget() -> None:
    """Python writes what is left once more when it ends, and would complain once more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
