"""`pcie`: the tree between CPU and GPUs, and what is wanted of its links."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rigspec.spec.base import GpuRef, Name, PciGeneration, PciWidth, Section

NumaNode = Annotated[int, Field(ge=0, le=63)]


class DirectSlots(Section):
    """GPUs in slots of the CPU, each below its own root port."""

    gpus: tuple[GpuRef, ...] = Field(min_length=1, description="Groups or members in these slots.")
    generation: PciGeneration | None = Field(
        default=None, description="Expected PCIe generation (default: `pcie.generation`)."
    )
    width: PciWidth | None = Field(
        default=None, description="Expected lanes per slot (default: `pcie.width`)."
    )
    numa_node: NumaNode = Field(default=0, description="CPU socket (NUMA node) of these slots.")


class Switch(Section):
    """A PCIe switch: one upstream link, GPUs or further switches on its downstream ports."""

    name: Name = Field(description="Name of the switch within the spec.")
    model: str = Field(
        default="generic",
        description="Catalog name of the switch, or `generic`; see `rigspec catalog switches`.",
    )
    generation: PciGeneration = Field(description="PCIe generation of all its ports.")
    upstream_width: PciWidth = Field(default=16, description="Lanes of the upstream link.")
    downstream_width: PciWidth = Field(default=16, description="Lanes of each downstream link.")
    gpus: tuple[GpuRef, ...] = Field(
        default=(), description="Groups or members on its downstream ports."
    )
    switches: tuple[Switch, ...] = Field(
        default=(), description="Switches on its downstream ports (a cascade)."
    )
    numa_node: NumaNode = Field(default=0, description="CPU socket (NUMA node) it hangs on.")


class Pcie(Section):
    """The PCIe tree and the wanted state of its links."""

    generation: PciGeneration = Field(
        description="Expected PCIe generation of every GPU link; a slower port holds its own."
    )
    width: PciWidth = Field(
        default=16, description="Expected lanes of every GPU link (1, 2, 4, 8, 12, 16 or 32)."
    )
    direct: tuple[DirectSlots, ...] = Field(default=(), description="GPUs on CPU lanes.")
    switches: tuple[Switch, ...] = Field(default=(), description="Switches on CPU lanes.")
    resizable_bar: bool = Field(
        default=True,
        description="Resizable BAR expected: BAR1 covers the whole card memory. Set in the BIOS; "
        "rigspec only checks it.",
    )
    acs: Literal["off_on_gpu_paths", "keep"] = Field(
        default="keep",
        description="`off_on_gpu_paths` clears ReqRedir, CmpltRedir and EgressCtrl on the "
        "bridges between GPU pairs so that peer traffic turns round in the switch; costs the "
        "isolation of those devices from each other.",
    )
    aspm: Literal["off", "firmware"] = Field(
        default="firmware",
        description="`off` disables link power states on GPU paths through the kernel's "
        "performance policy; `firmware` leaves what the BIOS set.",
    )
    peer_to_peer: bool = Field(
        default=False, description="Whether GPUs shall copy to each other directly over PCIe."
    )
