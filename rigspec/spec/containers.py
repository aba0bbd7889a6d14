"""`containers`: engine and NVIDIA toolkit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from rigspec.spec.base import Section
from rigspec.spec.driver import Repository


class Containers(Section):
    """Container engine and NVIDIA container toolkit; GPUs reach containers through CDI only."""

    engine: Literal["docker", "podman"] = Field(default="docker", description="Container engine.")
    toolkit_version: (
        Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9]+)?$")] | None
    ) = Field(
        default=None,
        description="Exact nvidia-container-toolkit version; without it the newest at the first "
        "apply, then held.",
    )
    toolkit_repository: Repository | None = Field(
        default=None, description="Mirror of the toolkit's repository (default: NVIDIA's own)."
    )
    engine_repository: Repository | None = Field(
        default=None,
        description="Mirror of the container engine's repository, where the distribution's own "
        "package is too old for CDI (Debian 12).",
    )
