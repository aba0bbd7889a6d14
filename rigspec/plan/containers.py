"""Container engine, NVIDIA toolkit, and the gate before every model server."""

from __future__ import annotations

from rigspec.catalog.containers import EnginePackages, engine_packages, toolkit_packages
from rigspec.errors import RigspecError
from rigspec.plan.ready import READY_UNIT, ready_files
from rigspec.plan.repository import plan_repository
from rigspec.plan.sections import AptRepository, ContainersPlan, Package
from rigspec.spec.rig import Rig

BESIDE_ENGINE = {
    ("docker", "debian-13"): ("docker-cli",),
    ("podman", "debian-12"): ("catatonit",),
    ("podman", "debian-13"): ("catatonit",),
    ("podman", "ubuntu-24.04"): ("catatonit",),
}
"""Only recommended by the engine's package, but needed: Debian 13 splits the `docker` command off,
and podman's `--init` is catatonit."""


def plan_containers(rig: Rig) -> ContainersPlan:
    """Packages from signed sources, Docker's settings where CDI needs one, the gate."""
    wanted = rig.containers
    engine = engine_packages(rig.host.os, wanted.engine)
    if not engine.install:
        raise RigspecError(
            f"{wanted.engine} of {rig.host.os} cannot give GPUs to containers",
            hint="run `rigspec check` first",
        )
    toolkit = toolkit_packages(wanted.toolkit_version)
    return ContainersPlan(
        engine=wanted.engine,
        repositories=_repositories(rig, engine),
        packages=(
            *(Package(name) for name in engine.install),
            *(Package(name) for name in BESIDE_ENGINE.get((wanted.engine, rig.host.os), ())),
            *(Package(name, version) for name, version in toolkit.install),
        ),
        hold=toolkit.hold,
        daemon_settings=dict(engine.daemon_settings),
        files=ready_files(rig),
        units=(READY_UNIT,),
        must_be_absent=engine.must_be_absent,
    )


def _repositories(rig: Rig, engine: EnginePackages) -> tuple[AptRepository, ...]:
    wanted = rig.containers
    toolkit = plan_repository(
        rig.name,
        toolkit_packages(wanted.toolkit_version).repository,
        wanted.toolkit_repository,
        origin="containers.toolkit_repository",
    )
    if engine.repository is None:
        return (toolkit,)
    own = plan_repository(
        rig.name,
        engine.repository,
        wanted.engine_repository,
        origin="containers.engine_repository",
    )
    return (own, toolkit)
