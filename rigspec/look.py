"""One rig looked at from the command line: the plain deploy, run as an owner would run it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rigspec.errors import SpecFileError
from rigspec.frozen import dataclass
from rigspec.resources import ONLY, folder
from rigspec.spec.rig import Rig
from rigspec.verify.advice import only
from rigspec.verify.observation_file import OUT_VARIABLE


@dataclass(frozen=True)
class Look:
    """The text of the saved observation, empty if nothing was read; pyinfra's words and status."""

    text: str
    said: str
    status: int
    command: str
    """To run by hand, with the spec it is about."""


def command(rig: str, stage: str = "verify.py") -> tuple[str, ...]:
    """`pyinfra …` for one rig and one deploy; an inventory in the working folder goes first."""
    own = Path("inventory/home.py")
    inventory = own if own.is_file() else folder("inventory") / "home.py"
    deploy = folder("deploys") / stage
    return ("pyinfra", "-y", str(inventory), str(deploy), "--limit", only(rig, inventory.stem))


def look(rig: Rig, file: str) -> Look:
    """Run it; what it read comes back through a file that only we can read."""
    return carry(rig, file, "verify.py", OUT_VARIABLE)


def carry(
    rig: Rig,
    file: str,
    stage: str,
    out_variable: str,
    more: Mapping[str, str] | None = None,
    *,
    talk: bool = False,
) -> Look:
    """Run one deploy that writes what it read into the file that `out_variable` names.

    `talk`: its words go to our stderr as they come, because it takes minutes.
    """
    if not rig.host.address:
        raise SpecFileError(
            f"{file} has no address: there is no host to ask",
            hint="set `host.address`; a virtual rig is asked by `rigspec lab verify`, `lab accept` "
            "and `lab drift`, a saved look by --observed FILE",
        )
    words = command(rig.name, stage)
    by_hand = f"{ONLY}={shlex.quote(file)} {shlex.join(words)}"
    print(f"asking the host: {by_hand}", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "observed.json"
        env = {**os.environ, **(more or {}), ONLY: file, out_variable: str(out)}
        said, status = (_talking if talk else _silent)((sys.executable, "-m", *words), env)
        text = out.read_text(encoding="utf-8") if out.is_file() else ""
    return Look(text, said, status, by_hand)


def _silent(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, int]:
    ended = subprocess.run(argv, env=env, capture_output=True, text=True)
    return ended.stdout + ended.stderr, ended.returncode


def _talking(argv: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, int]:
    """Each line is shown as it comes, and kept: the cause of a failure is in it."""
    lines: list[str] = []
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        for line in running.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)  # noqa: T201
            lines.append(line)
    return "".join(lines), running.returncode
