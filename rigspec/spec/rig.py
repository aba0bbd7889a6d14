"""The whole spec, and reading it from a file.

`load` never raises for bad input: it gives back what could be read and all findings about it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rigspec.spec.base import Name, Section
from rigspec.spec.containers import Containers
from rigspec.spec.driver import Driver
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.host import Board, Host
from rigspec.spec.kernel import Kernel
from rigspec.spec.models import Model
from rigspec.spec.pcie import Pcie
from rigspec.spec.power import Power
from rigspec.spec.services import Service
from rigspec.spec.storage import Storage
from rigspec.spec.verify import Verify


class Rig(Section):
    """One rig, version 1 of the format."""

    rigspec: Literal["1"] = Field(description="Version of the format: 1.")
    name: Name = Field(description="Name of the rig; pyinfra shows it as the host's name.")
    host: Host = Field(description="The machine and how to reach it.")
    board: Board | None = Field(default=None, description="The mainboard.")
    gpus: Annotated[dict[Name, GpuGroup], Field(min_length=1)] = Field(
        description="Groups of equal cards, by name."
    )
    pcie: Pcie = Field(description="The PCIe tree.")
    kernel: Kernel = Field(default_factory=Kernel, description="How the host boots.")
    power: Power = Field(description="The power budget.")
    driver: Driver = Field(description="The NVIDIA driver.")
    containers: Containers = Field(
        default_factory=Containers, description="Container engine and toolkit."
    )
    storage: dict[Name, Storage] = Field(
        default_factory=dict, description="Folders for weights, by name."
    )
    models: dict[Name, Model] = Field(default_factory=dict, description="Weights, by name.")
    services: dict[Name, Service] = Field(
        default_factory=dict, description="Inference servers, by name."
    )
    verify: Verify = Field(default_factory=Verify, description="The smoke test.")


def members(gpus: dict[str, GpuGroup], refs: tuple[str, ...]) -> tuple[str, ...]:
    """Every member a list of references names, in order: `main` becomes `main.0`, `main.1` ….

    References to groups or members that do not exist are left out (a rule complains about them).
    """
    found: list[str] = []
    for ref in refs:
        group, _, index = ref.partition(".")
        if group not in gpus:
            continue
        count = gpus[group].count
        picked = range(count) if not index else [int(index)] if int(index) < count else []
        found.extend(f"{group}.{i}" for i in picked)
    return tuple(found)


def is_bridged_pair(gpus: dict[str, GpuGroup], used: tuple[str, ...]) -> bool:
    """Whether these members are two cards that one NVLink bridge joins."""
    if len(used) != 2:
        return False
    (group, first), (other, second) = (member.split(".") for member in sorted(used))
    pair = group == other and int(first) // 2 == int(second) // 2
    return pair and gpus[group].nvlink_bridge


def all_members(gpus: dict[str, GpuGroup]) -> tuple[str, ...]:
    """Every GPU of the rig as `group.index`, groups in the order of the YAML."""
    return members(gpus, tuple(gpus))
