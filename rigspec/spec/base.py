"""What every section of a spec shares, and the small types that several sections use.

Scalars arrive as text (see `rigspec.spec.source`): the field's type decides what `off`, `01:00.0`
or `570.10` is, never YAML 1.1.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

OsId = Literal["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"]
"""The operating systems whose package names rigspec knows; any other is refused before a change."""


class Section(BaseModel):
    """One mapping of the spec: unknown keys are refused, nothing can be changed after reading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        str_strip_whitespace=True,
        defer_build=True,
    )


def _lower(text: str) -> str:
    return text.lower()


def _full_bdf(text: str) -> str:
    """`41:00.0` and `0000:41:00.0` are the same slot; the long form is kept."""
    return text if text.count(":") == 2 else f"0000:{text}"


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
"""Safe as a unit, file and container name: lower case, digits, dashes, 32 at most."""

Bdf = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-1][0-9a-fA-F]\.[0-7]$"),
    AfterValidator(_lower),
    AfterValidator(_full_bdf),
]
"""A PCI slot, `domain:bus:device.function`; the domain may be left out and is then 0000."""

GpuUuid = Annotated[
    str,
    StringConstraints(
        pattern=r"^GPU-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
    ),
]
"""A GPU's UUID as `nvidia-smi -L` prints it."""

GpuRef = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*(\.[0-9]{1,2})?$")]
"""A whole group (`main`) or one member of it (`main.0`); members count in slot order, from 0."""

Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$")]
"""A model revision: a 40-digit commit, or a branch or tag (which moves, and needs consent)."""

Port = Annotated[int, Field(ge=1, le=65535)]

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/@+=-]*$", max_length=255)]
"""A path on the host: absolute, without blanks or quoting, so that it is safe in a unit file."""

PciGeneration = Annotated[int, Field(ge=1, le=6)]
LINK_WIDTHS = (1, 2, 4, 8, 12, 16, 32)
"""Lanes that a PCIe link can have (PCI Express Base Specification, Link Capabilities register)."""


def _is_link_width(lanes: int) -> int:
    if lanes not in LINK_WIDTHS:
        raise PydanticCustomError("link_width", "no width of a PCIe link")
    return lanes


PciWidth = Annotated[int, Field(ge=1, le=32), AfterValidator(_is_link_width)]


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit id, which can never move."""
    return len(revision) == 40 and all(c in "0123456789abcdef" for c in revision)


def json_value(value: Any) -> Any:
    """A plain scalar as JSON means it: `5`, `0.5`, `true`, `null` are values, the rest is text."""
    if isinstance(value, dict):
        return {str(k): json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(v) for v in value]
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(parsed, dict | list | str) else parsed


JsonObject = Annotated[dict[str, Any], BeforeValidator(json_value)]
"""A mapping handed to an engine as JSON."""
