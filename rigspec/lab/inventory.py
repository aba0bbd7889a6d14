"""Running virtual rigs as pyinfra hosts: what `inventory/lab.py` calls."""

from __future__ import annotations

import os

from rigspec.inventory import Host, Target, end_with_130_on_interrupt, planned, stop
from rigspec.lab.session import Rehearsal, lab_secrets, provide_mounts, running_rehearsals

ONLY = "RIGSPEC_LAB_SPECS"
"""Environment variable: paths of the specs to work on, separated by `:` (default: all running)."""


def lab_hosts() -> list[Host]:
    """Every running virtual rig, planned from its rehearsed spec; exits when none runs."""
    end_with_130_on_interrupt()
    chosen = [path for path in os.environ.get(ONLY, "").split(":") if path]
    found = [r for r in running_rehearsals() if not chosen or str(r.spec) in chosen]
    if not found:
        stop("no virtual rig runs", "rigspec lab up rigs/home.yaml")
    for rehearsal in found:
        for name, value in lab_secrets(rehearsal).items():
            os.environ.setdefault(name, value)
        provide_mounts(rehearsal)
    return planned(_target(rehearsal) for rehearsal in found)


def _target(rehearsal: Rehearsal) -> Target:
    return Target(str(rehearsal.spec), rehearsal.rehearsed(), lab=rehearsal.name)
