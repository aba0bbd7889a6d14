"""What sections of a plan rely on together, each name once: units, secrets, the owner's files."""

from __future__ import annotations

from rigspec.plan.sections import Plan


def planned_units(plan: Plan) -> tuple[str, ...]:
    """Units that must be enabled and active, whatever services run."""
    mounts = tuple(mount.unit for mount in plan.storage if mount.unit)
    daily = plan.daily.units if plan.daily else ()
    units = (*plan.pcie.units, *plan.power.units, *plan.containers.units, *mounts, *daily)
    return tuple(dict.fromkeys(units))


def secret_paths(plan: Plan) -> tuple[str, ...]:
    """Root-only files with keys and tokens."""
    paths = [*(s.secret_path for s in plan.services), *(m.secret_path for m in plan.models)]
    return tuple(dict.fromkeys(path for path in paths if path))


def mounted_paths(plan: Plan) -> tuple[str, ...]:
    """Files and folders of the host that services read."""
    return tuple(dict.fromkeys(path for service in plan.services for path in service.mounts))
