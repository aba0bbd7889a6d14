"""`verify`: the question that proves the rig serves, and its limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from rigspec.spec.base import Section


class Verify(Section):
    """The smoke test after every apply."""

    prompt: str = Field(
        default="Say in one short sentence that you are ready.",
        description="Sent to every running chat service; the answer must hold tokens.",
    )
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=64, description="Longest answer asked for, tokens."
    )
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=120, description="How long one answer may take, seconds."
    )
    max_temperature_c: Annotated[int, Field(ge=40, le=110)] = Field(
        default=90, description="GPU temperature above which verify warns, °C."
    )
    daily: bool = Field(
        default=False,
        description="A timer on the host compares it with the plan once a day, says in the journal "
        "what drifted, and writes metrics.",
    )
    metrics_path: Annotated[
        str, StringConstraints(pattern=r"^/[A-Za-z0-9._/@+=-]*\.prom$", max_length=255)
    ] = Field(
        default="/var/lib/rigspec/metrics/rigspec.prom",
        description="Where `daily` writes metrics: a `.prom` file in the folder of node exporter's "
        "textfile collector.",
    )
