"""What a converged run costs beside one shell script that makes the same checks over ssh.

    python -m benchmarks.cost inventory/home.py [--limit NAME] [--runs 5]

prints the median of both, their ratio, and how many commands the run sent (each costs two network
round trips plus its work). The goal is a ratio of at most 3. The rig must be converged: a run
that changes something is no measurement, and is said to be none.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pyinfra.context import ctx_host, ctx_state

from rigspec.connector import COUNT_FILE
from rigspec.operations.containers import engine_and_toolkit
from rigspec.operations.driver import driver_installed
from rigspec.operations.kernel import next_boot
from rigspec.operations.models import weights_present
from rigspec.operations.pcie import acs_unit
from rigspec.operations.plans import recall
from rigspec.operations.power import bound_and_capped
from rigspec.operations.preflight import host_as_declared
from rigspec.operations.reboot import booted_as_planned
from rigspec.operations.services import served
from rigspec.operations.storage import mounted
from rigspec.operations.verify import rig_verified
from rigspec.plan.sections import Plan


class Recorder:
    """A host that keeps each fact's command and tells nothing: operations stop after reading."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def get_fact(self, cls: Any, **kwargs: Any) -> None:
        self.scripts.append(str(cls().command(**kwargs)))

    def noop(self, text: str) -> None:
        """Nothing to say."""


def checks(plan: Plan) -> str:
    """Everything a converged run reads, as one script."""
    host = Recorder()
    stages: tuple[tuple[Any, dict[str, Any]], ...] = (
        (host_as_declared, {"plan": plan}),
        (next_boot, {"rig": plan.rig, "plan": plan.kernel, "pcie": plan.pcie}),
        (driver_installed, {"plan": plan.driver}),
        (booted_as_planned, {"plan": plan.kernel}),
        (acs_unit, {"plan": plan.pcie}),
        (
            bound_and_capped,
            {"rig": plan.rig, "members": plan.preflight.gpus, "plan": plan.power},
        ),
        (engine_and_toolkit, {"plan": plan.containers}),
        (mounted, {"plan": plan.storage}),
        (weights_present, {"plan": plan.models}),
        (served, {"plan": plan}),
        (rig_verified, {"plan": plan}),
    )
    with ctx_host.use(host), ctx_state.use(SimpleNamespace(is_executing=True)):
        for operation, arguments in stages:
            list(operation._inner(**arguments))
    return "\n".join(f"(\n{script}\n)" for script in host.scripts)


def ssh_argv(data: dict[str, Any]) -> list[str]:
    """One ssh session that runs a script from stdin as root."""
    words = ["ssh", "-p", str(data["ssh_port"]), "-o", "BatchMode=yes"]
    if "ssh_key" in data:
        words += ["-i", data["ssh_key"]]
    if "ssh_known_hosts_file" in data:
        words += ["-o", f"UserKnownHostsFile={data['ssh_known_hosts_file']}"]
    shell = "sudo -n bash -s" if data["_sudo"] else "bash -s"
    return [*words, f"{data['ssh_user']}@{data['ssh_hostname']}", shell]


def median_s(runs: int, once: Callable[[], None]) -> float:
    """Median of the seconds a call takes."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        once()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def run_script(argv: list[str], script: str) -> None:
    """The same checks as one script."""
    subprocess.run(argv, input=script, text=True, capture_output=True, check=True)


def run_deploy(inventory: str, name: str, count_file: str) -> None:
    """One converged run."""
    words = [sys.executable, "-m", "pyinfra", "-y", "--json", "--limit", name]
    done = subprocess.run(
        [*words, inventory, "deploys/rig.py"],
        capture_output=True,
        text=True,
        env={**os.environ, COUNT_FILE: count_file},
        check=False,
    )
    if done.returncode:
        sys.exit(f"the run failed:\n{done.stderr}")
    report = json.loads(done.stdout[done.stdout.index("{") :])
    changed = [op["name"] for op in report["results"]["operations"] if op["success"]]
    if changed:
        sys.exit(f"no measurement: the rig was not converged, the run changed {changed}")


def main() -> None:
    """Measure every chosen host and print one block each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("inventory")
    parser.add_argument("--limit", default="")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    sys.argv = sys.argv[:1]  # the inventory looks for pyinfra's own words there
    for host, data in runpy.run_path(chosen.inventory)["rigs"]:
        name = host.removeprefix("@rig/")
        plan = recall(data["plan_key"])
        if plan is not None and chosen.limit in {"", name}:
            measure(chosen.inventory, name, data, plan, chosen.runs)


def measure(inventory: str, name: str, data: dict[str, Any], plan: Plan, runs: int) -> None:
    """Both times and their ratio for one host."""
    script, argv = checks(plan), ssh_argv(data)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        run_script(argv, script)  # warm caches for both
        alone = median_s(runs, lambda: run_script(argv, script))
        whole = median_s(runs, lambda: run_deploy(inventory, name, str(counts)))
        commands = [json.loads(line)["commands"] for line in counts.read_text().splitlines()]
    print(f"{name}: median of {runs}")
    print(f"  one script over ssh, the same checks  {alone:6.2f} s")
    print(f"  converged run, all stages and verify  {whole:6.2f} s  ({max(commands)} commands)")
    print(f"  ratio                                 {whole / alone:6.2f}    (goal: at most 3)")


if __name__ == "__main__":
    main()
