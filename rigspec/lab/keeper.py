"""The process that owns one QEMU: its parent, its editor, and the one that ends with it.

Started as `python -m rigspec.lab.keeper FOLDER`. Being the parent is what lets a normal user edit
the child's memory where yama's ptrace_scope is 1. It starts the lab's server and QEMU (paused),
edits the configuration spaces, lets the machine go, reports `ready`, and then follows resets until
QEMU ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from rigspec.errors import LabError
from rigspec.lab.configspace import Memory, apply_edit, find_devices, play_reset
from rigspec.lab.qemu_args import ConfigEdit
from rigspec.lab.qmp import Qmp
from rigspec.lab.topology import Link
from rigspec.resources import interpreter

PLAN_FILE = "keeper.json"
PID_FILE = "pids.json"


@dataclass(frozen=True)
class KeeperPlan:
    """What a keeper is to start: QEMU's and the server's argv, and the edits."""

    qemu: tuple[str, ...]
    server: tuple[str, ...]
    edits: tuple[ConfigEdit, ...]

    def save(self, folder: Path) -> None:
        """Write the plan for the keeper process."""
        (folder / PLAN_FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> KeeperPlan:
        """Read the plan back."""
        data = json.loads((folder / PLAN_FILE).read_text())
        edits = tuple(_edit_from_dict(edit) for edit in data["edits"])
        return cls(tuple(data["qemu"]), tuple(data["server"]), edits)


def _edit_from_dict(data: dict[str, Any]) -> ConfigEdit:
    links = {key: Link(**data[key]) for key in ("capable", "trained")}
    pairs = {key: tuple(data[key]) for key in ("stock", "ids", "subsystem") if data[key]}
    return ConfigEdit(**{**data, **links, **pairs})


def keep(folder: Path, report_fd: int) -> None:
    """Run the machine of this folder until its QEMU ends; `report_fd` is told when it runs."""
    plan = KeeperPlan.load(folder)
    (folder / "keep.sock").unlink(missing_ok=True)
    try:
        with (
            (folder / "qemu.log").open("wb") as log,
            (folder / "server.log").open("wb") as served,
            _child(plan.server, folder, stderr=served) as server,
            _child(plan.qemu, folder, stdout=log, stderr=log) as machine,
        ):
            pids = {"qemu": machine.pid, "server": server.pid, "keeper": os.getpid()}
            (folder / PID_FILE).write_text(json.dumps(pids))
            _run_machine(folder, plan, machine, report_fd)
    finally:
        (folder / PID_FILE).unlink(missing_ok=True)


@contextmanager
def _child(
    argv: tuple[str, ...], folder: Path, stderr: IO[bytes], stdout: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=folder
        )
    except OSError as error:
        raise LabError(f"{argv[0]} cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _run_machine(
    folder: Path, plan: KeeperPlan, machine: subprocess.Popen[bytes], report_fd: int
) -> None:
    # this socket answers once every device exists
    with _connect(folder, machine) as qmp, Memory(machine.pid) as memory:
        devices = find_devices(memory, plan.edits)
        for edit in plan.edits:
            apply_edit(devices[edit.ident], edit)
        qmp.say("cont")
        os.write(report_fd, b"ready")
        os.close(report_fd)
        for event in qmp.events():
            if event == "RESET":
                for device in devices.values():
                    play_reset(device)


def _connect(folder: Path, machine: subprocess.Popen[bytes]) -> Qmp:
    """QEMU's control socket, as soon as it listens (the file is there a moment earlier)."""
    while True:
        try:
            return Qmp(folder / "keep.sock")
        except LabError:
            if machine.poll() is not None:
                said = (folder / "qemu.log").read_text(errors="replace").strip()
                raise LabError(f"QEMU ended at once: {said[-800:]}") from None
        time.sleep(0.02)


def start_keeper(folder: Path) -> None:
    """Start a keeper for this folder and come back when its machine runs."""
    argv = [interpreter(), "-m", "rigspec.lab.keeper", str(folder)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or done.stdout.strip() != "ready":
        raise LabError(
            f"the virtual rig did not start: {done.stdout.strip() or done.stderr.strip()}",
            hint=f"logs are in {folder}",
        )


def main(folder: Path) -> int:
    """Become a daemon, and report on stdout when the machine runs or why it does not."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as said:
            answer = said.read()
        sys.stdout.write(answer)
        return 0 if answer == "ready" else 1
    os.close(reader)
    os.setsid()
    os.chdir(folder)  # this is how it is told from a stranger with its number
    with (folder / "keeper.log").open("wb") as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        keep(folder, writer)
    except LabError as failure:
        os.write(writer, failure.message.encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
