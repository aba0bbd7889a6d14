"""`gpus`: groups of equal cards. A card is known by its UUID and its slot, never by an index."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rigspec.spec.base import Bdf, GpuUuid, Section


class GpuGroup(Section):
    """`count` cards of one catalog SKU that are treated alike."""

    sku: str = Field(description="Catalog name of the card, for example `rtx-3090`.")
    count: Annotated[int, Field(ge=1, le=16)] = Field(description="How many cards, 1 to 16.")
    power_limit_w: Annotated[int, Field(ge=1, le=2000)] | None = Field(
        default=None,
        description="Power cap per card in watts, set at every boot and read back. "
        "Without it the card keeps its default limit.",
    )
    clock_ceiling_mhz: Annotated[int, Field(ge=200, le=4000)] | None = Field(
        default=None,
        description="Highest graphics clock in MHz (`nvidia-smi -lgc`): bounds transients that a "
        "power cap does not.",
    )
    nvlink_bridge: bool = Field(
        default=False,
        description="NVLink bridges join these cards in pairs: the first with the second, the "
        "third with the fourth. Boards on an NVLink switch need no saying.",
    )
    slots: tuple[Bdf, ...] = Field(
        default=(),
        description="PCI slot of each member, in member order. Bus numbers move when cards or "
        "BIOS settings change, so leave it out unless two groups hold the same SKU.",
    )
    uuids: tuple[GpuUuid, ...] = Field(
        default=(),
        description="UUID of each member, in member order. Without it the cards found at the "
        "first apply are bound to the members and remembered on the host.",
    )
