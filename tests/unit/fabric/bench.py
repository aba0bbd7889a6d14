"""The benchmark as a host gets it, and a torch to run it with."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from rigspec.observed.load import Event, read_events
from rigspec.plan.fabric import BENCH
from rigspec.plan.rig import all_files, plan_rig
from rigspec.spec.load import load

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "/usr/bin/python3"
"""Has the distribution's torch: `scripts/setup` installs python3-torch."""

DRIVER = """
import importlib.util, os, sys, time
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("bench", sys.argv[1])
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
"""


@cache
def program() -> str:
    """Text of the benchmark."""
    rig = load(ROOT / "rigs/home.yaml").rig
    assert rig is not None
    return next(f.content for f in all_files(plan_rig(rig)) if f.dest == BENCH)


def run(python: str, folder: Path, text: str, limit_s: float = 240) -> tuple[Event, ...]:
    """Run a driver's text after the benchmark was loaded as `bench`; what it printed."""
    file, driver = folder / "fabric-bench.py", folder / "driver.py"
    file.write_text(program())
    driver.write_text(DRIVER + text)
    done = subprocess.run(
        [python, str(driver), str(file)], capture_output=True, text=True, timeout=limit_s
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return read_events(done.stdout.splitlines())


@cache
def _has_torch(python: str) -> bool:
    words = [python, "-c", "import torch.distributed"]
    return subprocess.run(words, capture_output=True).returncode == 0


def torch_python() -> str:
    """An interpreter that has torch; the test fails where there is none."""
    named = os.environ.get("RIGSPEC_TORCH_PYTHON")
    for python in (named,) if named else (SYSTEM, sys.executable):
        if Path(python).exists() and _has_torch(python):
            return python
    pytest.fail("no torch here: run scripts/setup, or name an interpreter: RIGSPEC_TORCH_PYTHON")


def is_gone(pid: int) -> bool:
    """Whether no process has this id, or only its zombie is left for somebody else to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
