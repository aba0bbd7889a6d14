"""`models`: weights, pinned."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from rigspec.spec.base import AbsolutePath, Name, Revision, Section
from rigspec.spec.driver import Url

HubId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}$"),
]
FilePattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*?/-]+$", max_length=120)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]


class Model(Section):
    """One set of weights: a hub repository at a revision, or files that are already there."""

    hub: HubId | None = Field(
        default=None, description="Repository on the model hub, `organisation/name`."
    )
    revision: Revision | None = Field(
        default=None, description="Commit of the repository (40 digits). Required with `hub`."
    )
    accept_moving_revision: bool = Field(
        default=False,
        description="Consent to a branch or tag as revision: the same spec may then fetch other "
        "weights tomorrow.",
    )
    path: AbsolutePath | None = Field(
        default=None,
        description="Folder (or GGUF file) on the host that already holds the weights. Instead "
        "of `hub`.",
    )
    storage: Name | None = Field(
        default=None, description="Which `storage` holds fetched weights. Required with `hub`."
    )
    include: tuple[FilePattern, ...] = Field(
        default=(), description="Fetch only files that match one of these patterns."
    )
    exclude: tuple[FilePattern, ...] = Field(
        default=(), description="Leave out files that match one of these patterns."
    )
    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]+\.gguf$")] | None = Field(
        default=None, description="The GGUF file to serve (the first part of a split one)."
    )
    endpoint: Url = Field(
        default="https://huggingface.co", description="Hub address, or that of a mirror."
    )
    token_env: EnvName | None = Field(
        default=None,
        description="Environment variable on your machine that holds the hub token of a gated "
        "model; it reaches the host as a root-only file.",
    )

    @property
    def is_gguf(self) -> bool:
        """Whether a GGUF file is named."""
        return self.file is not None or (self.path or "").endswith(".gguf")
