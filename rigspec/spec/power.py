"""`power`: what the wall and the power supplies can give."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rigspec.spec.base import GpuRef, Name, Section


class Circuit(Section):
    """The circuit in the wall that feeds the rig."""

    volts: Annotated[int, Field(ge=100, le=480)] = Field(
        description="Nominal voltage, volts: with one phase that of the outlet, with two or three "
        "that between two live wires (240 of 120/240, 208 of 120/208, 400 of 230/400)."
    )
    amps: Annotated[float, Field(gt=0, le=200)] = Field(description="Breaker rating, amperes.")
    phases: Annotated[int, Field(ge=1, le=3)] = Field(
        default=1,
        description="Live wires with a breaker's pole of their own. 1 and 2 (two hot legs) give "
        "volts × amps, 3 give √3 × volts × amps when the supplies load them evenly.",
    )
    continuous_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8,
        description="Share of the breaker that a load of three hours and more may use "
        "(0.8 in North America).",
    )


class Psu(Section):
    """A power supply, or several in parallel, and what hangs on it."""

    name: Name = Field(description="Name of the group within the spec.")
    watts: Annotated[int, Field(ge=100, le=10000)] = Field(
        description="Rated output of one supply, watts."
    )
    count: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1, description="Equal supplies that share the load."
    )
    efficiency: Annotated[float, Field(ge=0.5, le=1)] = Field(
        default=0.92, description="Output watts per wall watt at this load."
    )
    gpus: tuple[GpuRef, ...] = Field(default=(), description="Groups or members it feeds.")
    feeds_host: bool = Field(
        default=False, description="Whether it also feeds board, CPU, disks and fans."
    )


class Power(Section):
    """The power budget."""

    circuit: Circuit = Field(description="The circuit the rig is plugged into.")
    psus: tuple[Psu, ...] = Field(min_length=1, description="Power supply groups.")
    base_load_w: Annotated[int, Field(ge=0, le=5000)] = Field(
        description="Everything but the GPUs under load (CPU, RAM, disks, fans, switch), watts."
    )
    transient_factor: Annotated[float, Field(ge=1, le=3)] = Field(
        default=1.2,
        description="GPU load spikes above the cap that a supply must carry; a cap does not bound "
        "them (1.2 is the 100 ms class of ATX 3.0).",
    )
