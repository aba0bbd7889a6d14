"""`driver`: which NVIDIA driver, from where, held how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from rigspec.spec.base import Section

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'`$\\]+$", max_length=255)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{40}$")]


class Repository(Section):
    """A package repository other than the vendor's own: a mirror, or an offline copy."""

    url: Url = Field(description="Base URL of the flat repository.")
    key_url: Url = Field(description="Where its OpenPGP key can be fetched.")
    key_fingerprint: Fingerprint = Field(
        description="40-digit fingerprint that the fetched key must have."
    )


class Driver(Section):
    """The NVIDIA driver."""

    branch: Annotated[int, Field(ge=450, le=999)] = Field(
        description="Driver branch, for example 595."
    )
    version: (
        Annotated[str, StringConstraints(pattern=r"^[0-9]{3}\.[0-9]{2,3}(\.[0-9]{2})?$")] | None
    ) = Field(
        default=None,
        description="Exact version within the branch, for example 595.71.05; without it the "
        "newest of the branch is taken at the first apply and then held.",
    )
    flavour: Literal["auto", "open", "proprietary"] = Field(
        default="auto",
        description="Kernel modules: `auto` takes open where the cards support it (Turing and "
        "newer; Blackwell works with nothing else).",
    )
    repository: Repository | None = Field(
        default=None, description="Mirror of NVIDIA's repository (default: NVIDIA's own)."
    )
    hold: bool = Field(default=True, description="Keep apt from upgrading it behind your back.")
    secure_boot: Literal["off", "on"] = Field(
        default="off",
        description="Secure Boot state that must be found. With `on`, a signing key must be "
        "enrolled before the driver can load.",
    )
