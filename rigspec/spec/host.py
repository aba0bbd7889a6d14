"""`host` and `board`: where the rig is, how to reach it, what it runs, and its board's habits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from rigspec.spec.base import OsId, Port, Section


class Host(Section):
    """The machine itself: how SSH reaches it and what it is expected to be."""

    address: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$")] | None
    ) = Field(
        default=None,
        description="Host name or IP address for SSH. Without it the rig is checked and planned, "
        "never deployed (the virtual rig needs none).",
    )
    port: Port = Field(default=22, description="SSH port.")
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = Field(
        default="root", description="SSH user. Key login only; passwords have no field."
    )
    ssh_key: str | None = Field(
        default=None,
        description="Private key file on your machine; without it the SSH agent is asked.",
    )
    known_hosts: str | None = Field(
        default=None,
        description="known_hosts file on your machine (default: ~/.ssh/known_hosts). Host keys "
        "are always checked.",
    )
    sudo: bool = Field(
        default=False,
        description="Run as root through `sudo -n` (NOPASSWD). Needed when `user` is not root.",
    )
    os: OsId = Field(description="The operating system that must be found on the host.")
    cpu: Literal["amd", "intel"] = Field(
        description="CPU vendor: decides which IOMMU words the kernel understands."
    )
    logical_cpus: Annotated[int, Field(ge=1, le=8192)] | None = Field(
        default=None,
        description="Logical CPUs (threads). From 255 on, x2APIC needs interrupt remapping, and "
        "`kernel.iommu: off` is refused.",
    )


class Board(Section):
    """The mainboard and what must be known about it before rebooting it from afar."""

    model: str = Field(description="Board model, for example `romed8-2t`; see `rigspec catalog`.")
    cold_boot_only: bool = Field(
        default=False,
        description="A warm reboot loses GPUs or hangs: the deploy then stops and asks for a "
        "power cycle by hand instead of rebooting.",
    )
