"""`storage`: where weights live. rigspec mounts; it never formats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from rigspec.spec.base import AbsolutePath, Section

DeviceName = Annotated[
    str, StringConstraints(pattern=r"^(LABEL=|UUID=|PARTUUID=|/dev/)[A-Za-z0-9._/-]{1,120}$")
]


class Storage(Section):
    """A folder for weights, on its own disk or on one that is already mounted."""

    path: AbsolutePath = Field(description="Folder on the host, for example /srv/models.")
    device: DeviceName | None = Field(
        default=None,
        description="File system to mount there (`LABEL=weights`, `UUID=…`); without it the "
        "folder lives on whatever is mounted. Never formatted.",
    )
    filesystem: Literal["ext4", "xfs", "btrfs", "zfs"] = Field(
        default="ext4", description="Type of the file system on `device`."
    )
    options: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_,=.-]+$")] = Field(
        default="defaults,noatime,nofail", description="Mount options."
    )
    min_free_gib: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Free space that must remain before anything is fetched, GiB."
    )
