"""The same spec, aimed at a virtual rig: only what a missing GPU or a closed network forces.

Everything else (kernel line, units, ACS, caps, parallel sizes, order) is planned from the owner's
own values. `rehearse` is pure; `changes` says in plain words what was swapped, for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rigspec.lab.from_spec import member_slots
from rigspec.lab.topology import MachineTree
from rigspec.rules.exposure import parsed
from rigspec.spec.driver import Repository
from rigspec.spec.models import Model
from rigspec.spec.rig import Rig
from rigspec.spec.services import Service

LAB_OS = "debian-13"
LAB_USERS = ("root", "rig")


@dataclass(frozen=True)
class Surroundings:
    """Where one running virtual rig is, and what stands in for the outside world."""

    ssh_port: int
    ssh_key: str
    known_hosts: str
    nvidia_repository: Repository
    toolkit_repository: Repository
    hub_url: str
    engine_images: Mapping[str, str]
    """By engine, `127.0.0.1:48555/name@sha256:…`: a real llama.cpp server behind its flags."""


def rehearse(rig: Rig, tree: MachineTree, lab: Surroundings) -> Rig:
    """The spec as the virtual rig can carry it out."""
    return rig.model_copy(
        update={
            "host": rig.host.model_copy(update=_host(rig, lab)),
            "gpus": _gpus(rig, tree),
            "driver": rig.driver.model_copy(update={"repository": lab.nvidia_repository}),
            "containers": rig.containers.model_copy(
                update={"toolkit_repository": lab.toolkit_repository, "engine_repository": None}
            ),
            "models": {name: _model(model, lab) for name, model in rig.models.items()},
            "services": {name: _service(service, lab) for name, service in rig.services.items()},
        }
    )


def changes(rig: Rig) -> tuple[str, ...]:
    """What a rehearsal swaps, one plain sentence each."""
    said = [
        "GPUs, nvidia-smi, driver and toolkit packages are simulated (signed local repository)",
        "the engine image is simulated: a real llama.cpp server with a tiny model on CPU",
        "weights are tiny files of the same names, from a local hub",
    ]
    if rig.host.os != LAB_OS:
        said.append(
            f"the rehearsal runs {LAB_OS}, not {rig.host.os}: package names of {rig.host.os} are "
            "not rehearsed"
        )
    return tuple(said)


def _host(rig: Rig, lab: Surroundings) -> dict[str, Any]:
    user = rig.host.user if rig.host.user in LAB_USERS else "rig"
    return {
        "address": "127.0.0.1",
        "port": lab.ssh_port,
        "user": user,
        "sudo": user != "root",
        "ssh_key": lab.ssh_key,
        "known_hosts": lab.known_hosts,
        "os": LAB_OS,
    }


def _gpus(rig: Rig, tree: MachineTree) -> dict[str, Any]:
    """Slots and UUIDs of the real cards mean nothing here: the virtual cards' own are given."""
    slots = member_slots(rig)
    uuids = {gpu.slot: gpu.uuid for gpu in tree.gpus}
    groups = {}
    for name, group in rig.gpus.items():
        known = bool(group.slots or group.uuids)
        own = tuple(uuids.get(slots[f"{name}.{i}"], "") for i in range(group.count))
        groups[name] = group.model_copy(
            update={"slots": (), "uuids": own if known and all(own) else ()}
        )
    return groups


def _model(model: Model, lab: Surroundings) -> Model:
    if model.hub is None:
        return model
    return model.model_copy(update={"endpoint": lab.hub_url, "token_env": None})


def _service(service: Service, lab: Surroundings) -> Service:
    listen = service.listen
    address = parsed(listen.address)
    if address is not None and not address.is_loopback:  # the owner's LAN is not there
        anywhere = "::" if ":" in listen.address else "0.0.0.0"  # noqa: S104 - inside the VM
        listen = listen.model_copy(update={"address": anywhere})
    return service.model_copy(update={"image": lab.engine_images[service.engine], "listen": listen})
