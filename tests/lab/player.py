"""A virtual rig per spec, driven as an owner would: edit the spec, run pyinfra, read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from said import changed_operations

from rigspec.lab.session import Rehearsal, open_rehearsal

ROOT = Path(__file__).resolve().parents[2]
APPLY_LIMIT_S = 2400  # emulated, perhaps two of them on two slow cores


@dataclass(frozen=True)
class Run:
    """One pyinfra run: exit code, what it said, and which operations changed something."""

    code: int
    said: str
    changed: tuple[str, ...]


class Player:
    """One spec on its virtual rig."""

    def __init__(self, spec: Path) -> None:
        self.spec = spec
        self.rehearsal: Rehearsal = open_rehearsal(spec)

    @property
    def machine(self) -> Any:
        """The virtual rig."""
        return self.rehearsal.machine

    def up(self) -> None:
        """Boot it with whatever tree it has now."""
        self.machine.up()
        self.rehearsal.remember()

    def apply(self, deploy: str = "rig.py") -> Run:
        """`pyinfra -y inventory/lab.py deploys/rig.py`; shown with seconds, so slow stages show."""
        with subprocess.Popen(
            [sys.executable, "-m", "pyinfra", "-y", "inventory/lab.py", f"deploys/{deploy}"],
            cwd=ROOT,
            env={**os.environ, "RIGSPEC_LAB_SPECS": str(self.spec.resolve())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            late = threading.Timer(APPLY_LIMIT_S, process.kill)
            late.daemon = True  # a run that is interrupted must not wait for it
            late.start()
            said = heard(process.stderr)
            late.cancel()
        return Run(process.returncode, said, changed_operations(said))

    def plan_digest(self) -> str:
        """The digest of the plan this virtual rig is given."""
        from rigspec.plan.rig import digest, plan_rig

        return digest(plan_rig(self.rehearsal.rehearsed()))

    def edit(self, before: str, after: str) -> None:
        """Change the spec as its owner would."""
        text = self.spec.read_text()
        assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in the spec"
        self.spec.write_text(text.replace(before, after))

    def wait_until_served(self, port: int) -> None:
        """Wait for the engine; its systemd unit alone must have started it."""
        self.said(
            f"timeout 400 sh -c 'until curl -sf -m 5 -o /dev/null http://127.0.0.1:{port}/v1/models;"
            " do sleep 1; done'"
        )

    def said(self, command: str) -> str:
        """What a command prints on the rig; it must succeed."""
        code, out = self.machine.ssh(command)
        assert code == 0, f"{command}: {out}"
        return str(out)


def heard(pipe: IO[str] | None) -> str:
    """What a run says until it ends."""
    assert pipe is not None
    begun, lines = time.monotonic(), []
    for line in pipe:
        print(f"{time.monotonic() - begun:5.0f} {line}", end="", flush=True)
        lines.append(line)
    return "".join(lines)


@contextmanager
def playing(name: str, folder: Path) -> Iterator[Player]:
    """A copy of `rigs/NAME.yaml` on its own virtual rig, deleted afterwards."""
    spec = folder / "rigs" / f"{name}.yaml"
    spec.parent.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "rigs" / f"{name}.yaml").read_text()
    spec.write_text(text.replace(f"name: {name}\n", f"name: test-{name}\n", 1))
    Player(spec).machine.destroy()  # one that an interrupted run left behind is not blank
    player = Player(spec)
    # two rigs on two cores: with two processors each, both wait for each other's locks (two blank
    # rigs through the same work: 255 s with one, 348 s with two, emulated)
    player.machine.tree = replace(player.machine.tree, cpus=1)
    try:
        player.up()
        yield player
    finally:
        player.machine.destroy()
