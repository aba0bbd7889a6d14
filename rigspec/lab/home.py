"""Where the lab keeps things: a cache of what can be rebuilt, and one folder per virtual rig.

$RIGSPEC_LAB_HOME or ~/.cache/rigspec/lab
├── cache/KIND/HASH/   built once, named by a hash of everything that went in
├── apt/               packages fetched from the host's own mirror
├── keys/              the ssh key and the signing key of this lab
└── run/NAME/          one virtual rig: disks, logs, state.json
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rigspec.lab.hosttools import run


def lab_home() -> Path:
    """The lab's folder; made when missing."""
    chosen = os.environ.get("RIGSPEC_LAB_HOME")
    home = Path(chosen) if chosen else Path.home() / ".cache" / "rigspec" / "lab"
    home.mkdir(parents=True, exist_ok=True)
    return home.resolve()


def run_folder(name: str) -> Path:
    """The folder of the virtual rig NAME; made when missing."""
    folder = lab_home() / "run" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(inputs: object) -> str:
    """A short stable name for JSON-like inputs."""
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lab-wide lock NAME, so that two runs do not build the same thing."""
    folder = lab_home() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cached(kind: str, inputs: object, build: Callable[[Path], None]) -> Path:
    """The folder cache/KIND/HASH, built by `build(folder)` when it is not there yet.

    A build that fails leaves nothing behind; the folder appears only when it is complete.
    """
    folder = lab_home() / "cache" / kind / digest(inputs)
    with locked(f"{kind}-{folder.name}"):
        if folder.is_dir():
            return folder
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            build(partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def ssh_key() -> Path:
    """The private ssh key of this lab, made on first use; the public half is beside it."""
    folder = lab_home() / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / "id_ed25519"
    with locked("ssh-key"):
        if not key.exists():
            argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rigspec-lab", "-f", key)
            run(argv, doing="making the lab's ssh key")
    return key
