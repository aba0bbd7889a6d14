"""`kernel`: how the host boots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from rigspec.spec.base import Section

KernelArgument = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,:;=/@+*-]*$", max_length=512)
]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
OptionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
OptionValue = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:;=/@+*-]*$", max_length=512)
]


class Kernel(Section):
    """Kernel command line and module options."""

    iommu: Literal["off", "pt", "on"] = Field(
        default="pt",
        description="`pt`: IOMMU on, identity mapping (default). `off`: no IOMMU at all, no DMA "
        "protection, no interrupt remapping. `on`: translated DMA, for VFIO hosts.",
    )
    arguments: tuple[KernelArgument, ...] = Field(
        default=(),
        description="Further kernel arguments, one per entry; each is checked against what the "
        "kernel really knows.",
    )
    module_options: dict[ModuleName, dict[OptionName, OptionValue]] = Field(
        default_factory=dict,
        description="Module options by module: `nvidia_uvm: {uvm_disable_hmm: 1}`.",
    )
    reboot_timeout_s: Annotated[int, Field(ge=60, le=3600)] = Field(
        default=900, description="How long a reboot may take before the run gives up, in seconds."
    )
