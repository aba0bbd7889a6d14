"""What `rigspec check` costs on this machine: wall time, memory, a thousand specs in one process.

    python -m benchmarks.check [SPEC ...] [--runs 9] [--specs 1000] [--json OUT]

Every spec (default: all of `rigs/`) is checked by fresh processes, as an owner does it: the median
wall time and the largest resident memory are printed beside their goals. Then so many different
specs, made of the same files, are checked in one process of their own. Ends with 1 when a goal is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOAL_WALL_S, GOAL_RSS_MB, GOAL_MANY_S = 0.3, 80.0, 10.0
"""Per process, per process, for a thousand specs."""
THOUSAND = 1000
PEAK = """
import atexit, sys
def peak():
    lines = open("/proc/self/status").read().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")), file=sys.stderr)
atexit.register(peak)
"""
"""The child's own word: `wait4` still counts the memory of the parent it was forked of."""
CHECK = "import sys; from rigspec.cli import main; main(['check', *sys.argv[1:]])"
CHECK_MANY = """
import sys, time
from pathlib import Path
begun = time.perf_counter()
from rigspec.rules.run import check_file
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    if check_file(str(file)).rig is None:
        sys.exit(f"{file} is no rig")
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Cost:
    """One line of the table; `what` is a spec, or how many were checked in one process."""

    what: str
    wall_s: float
    cpu_s: float
    """What it would take on an idle machine: a wall time far above it is other people's load."""
    rss_mb: float
    goal_s: float

    @property
    def met(self) -> bool:
        """Whether both goals are met; memory is a goal of the single check."""
        return self.wall_s <= self.goal_s and self.rss_mb <= GOAL_RSS_MB


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether the goals are met."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="rigspec-check-") as compiled:
        costs = [single(spec, options.runs, compiled) for spec in options.specs_at]
        costs.append(many(options.specs_at, options.specs, compiled))
    print(markdown(costs))
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    return 0 if all(cost.met for cost in costs) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("specs_at", metavar="SPEC", type=Path, nargs="*")
    parser.add_argument("--runs", type=int, default=9, help="processes per spec")
    parser.add_argument("--specs", type=int, default=THOUSAND, help="specs in one process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    options.specs_at = options.specs_at or sorted((ROOT / "rigs").glob("*.yaml"))
    missing = [str(spec) for spec in options.specs_at if not spec.is_file()]
    if missing or options.runs < 1 or options.specs < 1:
        parser.error(f"no such file: {', '.join(missing)}" if missing else "at least one run")
    return options


def single(spec: Path, runs: int, compiled: str) -> Cost:
    """Fresh processes that check one spec; the first, which fills caches, is not counted."""
    argv = [sys.executable, "-c", PEAK + CHECK, str(spec)]
    found = [_process(argv, compiled) for _ in range(runs + 1)][1:]
    wall, cpu = (statistics.median(run[column] for run in found) for column in (0, 1))
    return Cost(
        f"`rigspec check {spec.name}`", wall, cpu, max(run[2] for run in found), GOAL_WALL_S
    )


def many(specs: Sequence[Path], count: int, compiled: str) -> Cost:
    """Different specs in one process, imports included."""
    with tempfile.TemporaryDirectory(prefix="rigspec-check-") as folder:
        rigs = Path(folder) / "rigs"
        rigs.mkdir()
        for number in range(count):
            text = specs[number % len(specs)].read_text(encoding="utf-8")
            named = f"# rig {number}\n{text}"  # no two are equal: nothing can be remembered
            (rigs / f"rig-{number:05}.yaml").write_text(named, encoding="utf-8")
        for saved in {spec.parent / "models" for spec in specs}:
            if saved.is_dir():
                shutil.copytree(saved, rigs / "models", dirs_exist_ok=True)
        _, cpu, rss, said = _process([sys.executable, "-c", PEAK + CHECK_MANY, str(rigs)], compiled)
    goal = GOAL_MANY_S * count / THOUSAND
    return Cost(f"{count:,} specs, one process", float(said), cpu, rss, goal)


def _process(argv: Sequence[str], compiled: str) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak resident MB and stdout of one child.

    Bytecode is kept in `compiled`, as pip leaves it beside an installed package.
    """
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"NO_COLOR": "1", "PYTHONPYCACHEPREFIX": compiled}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        begun = time.perf_counter()
        child = os.posix_spawn(
            argv[0], argv, environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, said.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, complained.fileno(), 2),
            ],
        )  # fmt: skip
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - begun
        complained.seek(0)
        text = complained.read().decode()
        peak = re.search(r"VmHWM:\s*(\d+) kB\s*$", text)
        if os.waitstatus_to_exitcode(status) not in (0, 2) or peak is None:
            sys.exit(f"no measurement, the check failed:\n{text}")
        said.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return wall, cpu, int(peak[1]) * 1024 / 1e6, said.read().decode()


def markdown(costs: Sequence[Cost]) -> str:
    """The table, with the goals."""
    lines = ["| what | wall | goal | CPU | peak memory | goal |", "|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {cost.what} | {cost.wall_s:.3f} s | {cost.goal_s:g} s | {cost.cpu_s:.3f} s "
        f"| {cost.rss_mb:.0f} MB | {GOAL_RSS_MB:g} MB |"
        for cost in costs
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
