"""Folders for weights and what lies in them."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.record import Unknown
from rigspec.plan.sections import ModelPlan, MountPlan, Plan
from rigspec.verify.advice import run_stage
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed


def verify_storage(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about storage and models."""
    for mount in plan.storage:
        yield mounted(mount, seen)
    for model in plan.models:
        yield weights(model, seen)


def mounted(plan: MountPlan, seen: Observation) -> Verdict:
    """A folder with a disk of its own is mounted, as the declared file system."""
    check = Check(
        f"storage.mount.{plan.name}",
        f"{plan.path} is mounted",
        "findmnt",
        f"{plan.filesystem} on {plan.device}" if plan.device else "any file system",
        f"storage.{plan.name}",
    )
    at = seen.storage.mount_of(plan.path)
    if at is None or isinstance(at, Unknown):
        return check.unknown(at or "findmnt does not list it")
    if plan.device is None:
        return check.passed(f"{at.fstype} on {at.source}")
    if at.target != plan.path:
        return check.failed(
            f"part of {at.target}",
            "its disk is not mounted",
            f"look at: systemctl status {plan.unit}; lsblk -f",
        )
    if at.fstype != plan.filesystem:
        return check.failed(at.fstype, "another file system", f"correct storage.{plan.name}")
    return check.passed(f"{at.fstype} on {at.source}")


def weights(plan: ModelPlan, seen: Observation) -> Verdict:
    """Every file is there in its size, and none was damaged when its bytes were last read.

    Hashes are compared when it is fetched, and again by `rigspec verify --weights`. Weights by
    `path` have none: of them a file counts that has anything in it.
    """
    check = Check(
        f"model.weights.{plan.name}",
        f"weights of {plan.name}",
        "fetch-model --check" if plan.hub else "weight files, and those that the index names",
        f"{plan.hub}@{(plan.revision or '')[:12]}" if plan.hub else plan.directory,
        f"models.{plan.name}",
    )
    if isinstance(seen.models, Unknown):
        return check.unknown(seen.models)
    if seen.models.get(plan.name):
        return check.passed("complete" if plan.hub else "there")
    lacks = listed(seen.weights_lack.get(plan.name, ()))
    if not plan.hub and lacks:
        return check.failed(
            lacks,
            "its place is there without all of its files: a copy that was cut short, or files lost",
            "copy what is missing there again, then restart its service",
        )
    if not plan.hub:
        return check.failed(
            "absent", "nobody but you can bring it", "put it there again: is its disk mounted?"
        )
    return check.failed(
        lacks or "missing or damaged",
        "a file is missing, has another size, or had another hash when it was read again",
        f"{run_stage('model')}, which fetches what is not right; then restart its service",
    )
