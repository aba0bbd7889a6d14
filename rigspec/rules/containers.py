"""`containers`: an engine that can hand over cards."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.containers import engine_packages
from rigspec.finding import Finding, error, note
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig

CDI_REFRESH = (1, 18)
"""Toolkit that first brings `nvidia-cdi-refresh.service` (CTK release notes)."""


def podman_too_old(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The distribution's engine can be given cards by CDI name."""
    packages = engine_packages(rig.host.os, rig.containers.engine)
    if packages.cdi == "none":
        yield error(
            "containers.podman-too-old",
            ("containers", "engine"),
            f"{rig.host.os} has {packages.engine} {packages.distribution_version}, which knows no "
            "CDI; cards reach containers by CDI only",
            hint="set `engine: docker`, or use a newer release of the system",
        )


def toolkit_too_old(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The toolkit writes the device list at boot."""
    version = rig.containers.toolkit_version
    if version is None:
        return
    major, minor = (int(n) for n in version.split(".")[:2])
    if (major, minor) < CDI_REFRESH:
        yield error(
            "containers.toolkit-too-old",
            ("containers", "toolkit_version"),
            f"toolkit {version} does not write the device list at boot; 1.18.0 and newer do",
            why="after a driver change containers would get the old list, or none",
            hint="delete the line, or give 1.18.0 or newer",
        )


def mirror_unused(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A mirror of Docker's repository with podman."""
    if rig.containers.engine_repository is not None and rig.containers.engine == "podman":
        yield note(
            "containers.mirror-unused",
            ("containers", "engine_repository"),
            "podman comes from the distribution; this repository is not used",
            hint="delete it",
        )
