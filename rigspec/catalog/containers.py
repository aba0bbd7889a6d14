"""Container engines per operating system, and the NVIDIA container toolkit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, cast

from rigspec.catalog.data import load_table
from rigspec.catalog.repositories import Repository, docker_repository, toolkit_repository
from rigspec.frozen import dataclass

Cdi = Literal["default", "feature", "native", "none"]

QUADLET_FROM = (4, 4)
"""Podman version that brought quadlet units (Podman release notes)."""


@dataclass(frozen=True)
class EnginePackages:
    """How one container engine gets onto one operating system with CDI working."""

    os: str
    engine: str
    install: tuple[str, ...]
    """Empty where the engine cannot be used there."""
    must_be_absent: tuple[str, ...]
    """Packages that conflict with those to install."""
    repository: Repository | None
    """None: the distribution's own package will do."""
    distribution_version: str
    cdi: Cdi
    """Of what gets installed."""
    daemon_settings: Mapping[str, object]
    """What /etc/docker/daemon.json must say."""
    has_quadlet: bool
    notes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class ToolkitPackages:
    """The NVIDIA container toolkit."""

    repository: Repository
    install: tuple[tuple[str, str | None], ...]
    """Name and apt version pattern."""
    hold: tuple[str, ...]
    source: str


def engine_packages(os: str, engine: str) -> EnginePackages:
    """Packages for `docker` or `podman` on `debian-12` … `ubuntu-24.04`."""
    row = load_table("containers")[f"{engine}-{os}"]
    version, use = row.text("version"), row.optional_text("use")
    other_repository = use == "docker-ce"
    cdi = "default" if other_repository else row.one_of("cdi", ("feature", "native", "none"))
    feature: Mapping[str, object] = {"features": {"cdi": True}} if cdi == "feature" else {}
    return EnginePackages(
        os=os,
        engine=engine,
        install=_install(use),
        must_be_absent=("docker.io", "podman-docker", "runc") if other_repository else (),
        repository=docker_repository(os) if other_repository else None,
        distribution_version=version,
        cdi=cast(Cdi, cdi),
        daemon_settings=MappingProxyType(dict(feature)),
        has_quadlet=engine == "podman" and _numbers(version) >= QUADLET_FROM,
        notes=_notes(os, engine, version, use),
        source=row.text("source"),
    )


def toolkit_packages(version: str | None) -> ToolkitPackages:
    """The toolkit for CDI; `version` 1.20.0 or 1.20.0-1, None for the newest."""
    pattern = None
    if version is not None:
        pattern = version if "-" in version else f"{version}-*"
    names = ("nvidia-container-toolkit-base",)
    return ToolkitPackages(
        repository=toolkit_repository(),
        install=tuple((name, pattern) for name in names),
        hold=names,
        source="vendor: NVIDIA container toolkit 1.20 documentation: -base is enough for CDI",
    )


def _install(use: str | None) -> tuple[str, ...]:
    if use == "docker-ce":
        return ("docker-ce", "docker-ce-cli", "containerd.io")
    return (use,) if use else ()


def _notes(os: str, engine: str, version: str, use: str | None) -> tuple[str, ...]:
    if use is None:
        return (f"{engine} {version} of {os} knows no CDI (from 4.1 on): use docker there",)
    if use == "docker-ce":
        return (f"docker.io {version} of {os} knows no CDI: docker-ce from Docker's repository",)
    if engine == "docker":
        return ("a docker from snap cannot see the toolkit and must be removed",)
    return ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
