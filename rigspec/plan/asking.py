"""How a service is asked on the host itself: its address there, its key out of the root file."""

from __future__ import annotations

import re

from rigspec.plan.sections import ServicePlan


def url_of(service: ServicePlan, path: str = "/v1/models") -> str:
    """Where the host itself reaches a service."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not bound
    address = everywhere.get(service.listen_address, service.listen_address)
    return f"http://{f'[{address}]' if ':' in address else address}:{service.listen_port}{path}"


def value_program(line: str) -> str:
    """A sed program that makes the value out of a secret file's line; `{}` stands for it."""
    before, _, after = line.partition("{}")
    strip = f"s/^{re.escape(before)}//; s/{re.escape(after)}$//"
    # YAML doubles a quote inside quotes
    return strip + ("; s/''/'/g" if after.startswith("'") else "")


def header_program(line: str) -> str:
    """A sed program that makes the header line with the key out of a secret file's line."""
    return f"{value_program(line)}; s/^/Authorization: Bearer /"
