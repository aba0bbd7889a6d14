"""Deploys on the virtual rig of a spec: pyinfra run on it alone, heard out, or read in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import click

from rigspec.errors import LabError
from rigspec.lab.session import Rehearsal, open_rehearsal
from rigspec.resources import folder
from rigspec.verify.observation_file import OUT_VARIABLE


class Unread(LabError):
    """There is no virtual rig to look at: it does not run, or does not answer."""


def running(spec: Path) -> Rehearsal:
    """The rehearsal of a spec whose virtual rig is up; Unread says how to start it."""
    rehearsal = open_rehearsal(spec)
    if not rehearsal.machine.machine.is_running:
        why = f"the virtual rig `{rehearsal.name}` does not run"
        raise Unread(why, hint=f"rigspec lab up {spec}")
    return rehearsal


def looked(spec: Path, *, talk: bool = True) -> str:
    """What the verify deploy reads off the virtual rig; its table goes to stderr as always.

    Without `talk` its words are shown only where they say why nothing was read: its verdicts, and
    that a host with a red one has failed, are no answer to another question.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out, words = Path(temporary) / "observed.json", Path(temporary) / "words"
        argv, environment = command(spec, "verify.py", {OUT_VARIABLE: str(out)})
        with words.open("wb") as file:
            run_to_its_end(argv, environment, None if talk else file)
        if not out.is_file():
            click.echo(words.read_bytes(), err=True, nl=False)
            raise Unread("the virtual rig could not be read", hint=f"rigspec lab up {spec}")
        return out.read_text(encoding="utf-8")


def pyinfra(spec: Path, deploy: str, more: Mapping[str, str] | None = None) -> int:
    """Run a deploy on this spec's virtual rig only; pyinfra's own words are the report."""
    argv, environment = command(spec, deploy, more)
    return run_to_its_end(argv, environment)


def command(
    spec: Path, deploy: str, more: Mapping[str, str] | None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """pyinfra's words and environment for one deploy on the running virtual rig of a spec."""
    running(spec)
    files = (folder("inventory") / "lab.py", folder("deploys") / deploy)
    argv = (sys.executable, "-m", "pyinfra", "-y", *map(str, files))
    return argv, {**os.environ, "RIGSPEC_LAB_SPECS": str(spec.resolve()), **(more or {})}


def run_to_its_end(
    argv: Sequence[str], environment: Mapping[str, str], words: IO[bytes] | None = None
) -> int:
    """The exit status of a deploy; an interrupt is its own to answer, however long that takes.

    `subprocess.run` would kill it after a quarter of a second, before it says what goes on.
    `words`: a file for what it says, which else goes where our own words go.
    """
    with subprocess.Popen(argv, env=environment, stdout=words, stderr=words) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
