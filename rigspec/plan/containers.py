"""Container engine, NVIDIA toolkit, and the gate before every model server."""

from __future__ import annotations

from rigspec.plan.ready import READY_UNIT, ready_files
from rigspec.plan.sections import ContainersPlan, Package
from rigspec.spec.rig import Rig


def plan_containers(rig: Rig) -> ContainersPlan:
    """Provisional."""
    names = ("docker.io", "nvidia-container-toolkit-base")
    return ContainersPlan(
        engine=rig.containers.engine,
        repositories=(),
        packages=tuple(Package(name) for name in names),
        hold=(),
        daemon_settings={"features": {"cdi": True}},
        files=ready_files(rig),
        units=(READY_UNIT,),
    )
