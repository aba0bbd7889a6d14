"""A virtual rig: a freshly installed machine with simulated GPUs and nothing else within reach.

    with VirtualRig(tree) as rig:
        code, said = rig.ssh("lspci")
        rig.reboot()

Leaving the `with` ends the machine and deletes its disks; `down` only powers it off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rigspec.errors import LabError
from rigspec.lab import repo
from rigspec.lab.engine import EngineImages, engine_images
from rigspec.lab.home import lab_home
from rigspec.lab.hosttools import run, say
from rigspec.lab.hub import add_model
from rigspec.lab.image import base_image
from rigspec.lab.machine import Machine, MachineConfig
from rigspec.lab.rootfs import LAB_NAME, Installation
from rigspec.lab.server import ServerConfig
from rigspec.lab.topology import MachineTree, fit_bars
from rigspec.lab.weights import make_weights_disk
from rigspec.resources import interpreter

HUB_URL = f"http://{LAB_NAME}/hub"
REGISTRY = "127.0.0.1:48555"
WEIGHTS_GIB = 8


@dataclass(frozen=True)
class HubModel:
    """A model the lab's hub has: `ORG/NAME`, its commit, and its files by path."""

    name: str
    revision: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class RigOptions:
    """How a virtual rig is set up, apart from its PCIe tree."""

    installation: Installation = field(default_factory=Installation)
    secure_boot: bool = False
    models: tuple[HubModel, ...] = ()
    weights: Mapping[str, bytes] = field(default_factory=dict)
    """Files on the weights disk from the start, by path."""
    hub_cut_after: int | None = None
    """The hub breaks each download off after that many bytes."""
    forwards: tuple[int, ...] = (8000,)
    """Guest ports to reach from the host."""


class VirtualRig:
    """One virtual rig by name; `tree` may be changed between `down` and `up` to play a fault."""

    def __init__(
        self, tree: MachineTree, *, name: str = "rig", options: RigOptions | None = None
    ) -> None:
        self.tree = fit_bars(tree)
        self.options = options or RigOptions()
        self.machine = Machine(name)
        self.all_cards = tree

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.destroy()

    def up(self) -> float:
        """Start it with the disks it has (or new ones) and wait for ssh; gives the seconds."""
        return self._boot(fresh=False)

    def wait(self) -> None:
        """Wait for one that was started before, for example by a command that gave up waiting."""
        self.machine.wait()
        if not self.known_hosts.exists():
            self._remember_host_keys()

    def reinstall(self) -> float:
        """Install the OS anew: a fresh OS disk, the weights disk stays. Gives the seconds."""
        self.kill()
        return self._boot(fresh=True)

    def down(self) -> bool:
        """Power it off; the disks stay. False when it did not obey and the power was cut."""
        return self.machine.stop()

    def kill(self) -> None:
        """Cut the power; the disks stay."""
        self.machine.kill()

    def destroy(self) -> None:
        """End it and delete its disks."""
        self.machine.kill()
        self.machine.remove()

    def reboot(self) -> float:
        """Reboot from inside; gives the seconds until ssh answers again."""
        return self.machine.reboot()

    def ssh(self, command: str, *, user: str = "root", limit_s: float = 600) -> tuple[int, str]:
        """Run a shell command on it: exit status and what it printed."""
        return self.machine.ssh(command, user=user, limit_s=limit_s)

    def url(self, guest_port: int) -> str:
        """Where a forwarded guest port is on the host."""
        return f"http://127.0.0.1:{self.machine.state[str(guest_port)]}"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with its host keys; written at each `up`."""
        return self.machine.folder / "known_hosts"

    @property
    def images(self) -> EngineImages:
        """The engine images its registry has."""
        return engine_images()

    def image_reference(self, engine: str) -> str:
        """How the guest pulls the simulated image of `vllm`, `sglang` or `llama.cpp`."""
        return f"{REGISTRY}/{self.images.images[engine].reference}"

    def _boot(self, *, fresh: bool) -> float:
        begun = time.monotonic()
        config = self._prepare()
        say(f"`{self.machine.name}` boots; console: {self.machine.folder / 'serial.log'}")
        self.machine.boot(config, fresh=fresh)
        self._remember_host_keys()
        spent = time.monotonic() - begun
        say(f"`{self.machine.name}` answers after {spent:.0f} s")
        return spent

    def _prepare(self) -> MachineConfig:
        options, folder = self.options, self.machine.folder
        weights = folder / "weights.qcow2"
        if not weights.exists():
            make_weights_disk(weights, WEIGHTS_GIB, options.weights)
        for model in options.models:
            add_model(folder / "hub", model.name, model.revision, model.files)
        server = ServerConfig(
            apt_cache=lab_home() / "apt",
            nvidia=repo.nvidia_repository(self.all_cards),
            hub=folder / "hub",
            registry=self.images.store,
            cut_after=options.hub_cut_after,
        )
        server.save(folder / "server.json")
        argv = (interpreter(), "-m", "rigspec.lab.server", str(folder / "server.json"))
        return MachineConfig(
            tree=self.tree,
            base_image=base_image(options.installation),
            firmware=options.installation.firmware,
            secure_boot=options.secure_boot,
            weights=weights,
            server=argv,
            forwards=options.forwards,
        )

    def _remember_host_keys(self) -> None:
        port = str(self.machine.state["ssh"])
        # all kinds at once may be cut short on a busy machine; ssh asks for this one first
        argv = ("ssh-keyscan", "-T", "60", "-t", "ed25519", "-p", port, "127.0.0.1")
        keys = run(argv, doing="reading its host key")
        if "ssh-ed25519" not in keys:
            raise LabError(f"`{self.machine.name}` gave no host key", hint="try again")
        self.known_hosts.write_text(keys)
