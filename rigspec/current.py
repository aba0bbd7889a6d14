"""The plan of the host pyinfra works on: made once, in the inventory, before any connection."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host

from rigspec.operations.plans import recall, remember
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan
from rigspec.rules.context import saved_context
from rigspec.rules.run import check_file


def current_plan() -> Plan:
    """The frozen plan of the current host.

    A host that did not come from our inventories is planned from `host.data.spec`.
    """
    spec = str(host.data.get("spec", ""))
    key = str(host.data.get("plan_key", spec))
    plan = recall(key)
    if plan is None:
        plan = _plan_file(spec)
        remember(key, plan)
    return plan


def _plan_file(spec: str) -> Plan:
    rig = check_file(spec).rig if spec else None
    if rig is None:
        raise SystemExit(
            f"{host.name}: no rig spec to plan from (host data `spec` is {spec!r}); use "
            "inventory/home.py"
        )
    beside = saved_context(rig, Path(spec))
    return plan_rig(rig, beside.catalog, beside.faults)
