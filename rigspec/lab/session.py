"""One spec rehearsed: its virtual rig, the rehearsal spec, and the pyinfra host it makes.

The folder of a virtual rig remembers which spec it was built from (`spec.json`), so that
`inventory/lab.py` finds every running one without being told.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rigspec.errors import LabError
from rigspec.lab import repo
from rigspec.lab.from_spec import machine_tree
from rigspec.lab.home import lab_home, ssh_key
from rigspec.lab.machine import Machine
from rigspec.lab.rehearse import Surroundings, rehearse
from rigspec.lab.rig import HUB_URL, HubModel, RigOptions, VirtualRig
from rigspec.lab.rootfs import Firmware, Installation
from rigspec.lab.simulated.model import simulated_checkpoint
from rigspec.lab.topology import MachineTree
from rigspec.spec.driver import Repository
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

SPEC_FILE = "spec.json"


@dataclass(frozen=True)
class Rehearsal:
    """A spec and the virtual rig that plays it."""

    spec: Path
    rig: Rig
    machine: VirtualRig

    @property
    def name(self) -> str:
        """The rig's name, which is the virtual machine's and the pyinfra host's too."""
        return self.rig.name

    def rehearsed(self) -> Rig:
        """The spec aimed at the running virtual machine."""
        return rehearse(self.rig, self.machine.tree, self._surroundings())

    def remember(self) -> None:
        """Note which spec this virtual rig plays, for `inventory/lab.py`."""
        note = self.machine.machine.folder / SPEC_FILE
        note.write_text(json.dumps({"spec": str(self.spec)}))

    def _surroundings(self) -> Surroundings:
        fingerprint = repo.fingerprint()
        engines = {"vllm", "sglang", "llama_cpp"}
        return Surroundings(
            ssh_port=self.machine.machine.state["ssh"],
            ssh_key=str(ssh_key()),
            known_hosts=str(self.machine.known_hosts),
            nvidia_repository=Repository(
                url=repo.URL, key_url=repo.KEY_URL, key_fingerprint=fingerprint
            ),
            hub_url=HUB_URL,
            engine_images={e: self.machine.image_reference(_lab_engine(e)) for e in engines},
        )


def _lab_engine(engine: str) -> str:
    return "llama.cpp" if engine == "llama_cpp" else engine


def open_rehearsal(
    spec: Path, *, tree: MachineTree | None = None, firmware: Firmware = "bios"
) -> Rehearsal:
    """The rehearsal of a spec file; `tree` may hold a fault. Starts nothing.

    Raises LabError when the spec has errors: they are `rigspec check`'s to explain.
    """
    rig = load(spec).rig
    if rig is None:
        raise LabError(f"{spec} is not a valid spec", hint=f"rigspec check {spec}")
    healthy = machine_tree(rig)
    secure = rig.driver.secure_boot == "on"
    options = RigOptions(
        installation=Installation(firmware="uefi" if secure else firmware),
        secure_boot=secure,
        models=tuple(_hub_models(rig)),
        weights=_weights(rig),
        forwards=tuple(sorted({service.listen.port for service in rig.services.values()})),
    )
    machine = VirtualRig(healthy, name=rig.name, options=options)
    machine.tree = tree or healthy
    return Rehearsal(spec.resolve(), rig, machine)


def running_rehearsals() -> tuple[Rehearsal, ...]:
    """Every virtual rig that is up, by name."""
    found = []
    for note in sorted((lab_home() / "run").glob(f"*/{SPEC_FILE}")):
        if not Machine(note.parent.name).is_running:
            continue
        found.append(open_rehearsal(Path(json.loads(note.read_text())["spec"])))
    return tuple(found)


def lab_environment(rig: Rig) -> dict[str, str]:
    """Throw-away secrets for the keys and tokens a spec names and the environment lacks."""
    names = {s.api_key_env for s in rig.services.values()}
    return {
        name: f"lab-{secrets.token_hex(16)}" for name in names if name and name not in os.environ
    }


def _hub_models(rig: Rig) -> list[HubModel]:
    return [
        HubModel(model.hub, model.revision, dict(_files(model.file)))
        for model in rig.models.values()
        if model.hub and model.revision
    ]


def _weights(rig: Rig) -> dict[str, bytes]:
    """What lies on the weights disk: a checkpoint for every model given by path."""
    mounts = [PurePosixPath(s.path) for s in rig.storage.values() if s.device]
    files: dict[str, bytes] = {}
    for model in rig.models.values():
        path = PurePosixPath(model.path or "/")
        for mount in mounts:
            if model.path and path.is_relative_to(mount):
                inside = path.relative_to(mount)
                files |= {str(inside / name): data for name, data in _files(model.file).items()}
    return files


def _files(gguf: str | None) -> dict[str, Any]:
    """A checkpoint of tiny files; with a GGUF name, that one file."""
    if gguf is None:
        return simulated_checkpoint()
    return {gguf: b"GGUF" + b"\0" * 28}
