"""A virtual rig per spec, driven as an owner would: edit the spec, run pyinfra, read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rigspec.lab.session import Rehearsal, open_rehearsal

ROOT = Path(__file__).resolve().parents[2]


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
        """`pyinfra -y inventory/lab.py deploys/rig.py`, and what changed by its own count."""
        argv = (sys.executable, "-m", "pyinfra", "-y", "--json", "inventory/lab.py")
        done = subprocess.run(
            [*argv, f"deploys/{deploy}"],
            cwd=ROOT,
            env={**os.environ, "RIGSPEC_LAB_SPECS": str(self.spec.resolve())},
            capture_output=True,
            text=True,
            timeout=2400,  # emulated, perhaps two of them on two slow cores
        )
        print(done.stderr)  # pytest shows it when a test fails
        return Run(done.returncode, done.stderr, changed_operations(done.stdout))

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


def changed_operations(stdout: str) -> tuple[str, ...]:
    """Names of the operations that pyinfra's JSON counts as changed."""
    start = stdout.find("{")
    if start < 0:
        return ("(no JSON: the run did not get as far as an operation)",)
    operations = json.loads(stdout[start:])["results"]["operations"]
    return tuple(entry["name"] for entry in operations if entry["success"])


@contextmanager
def playing(name: str, folder: Path) -> Iterator[Player]:
    """A copy of `rigs/NAME.yaml` on its own virtual rig, deleted afterwards."""
    spec = folder / "rigs" / f"{name}.yaml"
    spec.parent.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "rigs" / f"{name}.yaml").read_text()
    spec.write_text(text.replace(f"name: {name}\n", f"name: test-{name}\n", 1))
    player = Player(spec)
    try:
        player.up()
        yield player
    finally:
        player.machine.destroy()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Four cards behind a switch."""
    with playing("home", tmp_path_factory.mktemp("home")) as player:
        yield player


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Two cards on the CPU."""
    with playing("starter", tmp_path_factory.mktemp("starter")) as player:
        yield player
