"""The whole plan of a rig, its digest, and its form as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rigspec.plan.containers import plan_containers
from rigspec.plan.daily import plan_daily
from rigspec.plan.driver import plan_driver
from rigspec.plan.fabric import plan_fabric
from rigspec.plan.gpus import plan_gpus
from rigspec.plan.kernel import plan_kernel
from rigspec.plan.model import plan_models
from rigspec.plan.pcie import plan_pcie
from rigspec.plan.power import plan_power
from rigspec.plan.preflight import plan_preflight
from rigspec.plan.sections import Plan, RenderedFile, SmokePlan
from rigspec.plan.service import plan_services
from rigspec.plan.storage import plan_storage
from rigspec.spec.faults import FabricFaults
from rigspec.spec.rig import Rig

PLAN_FILE = "/etc/rigspec/plan.json"

_WAY_TO_HOST = {"address", "port", "user", "ssh_key", "known_hosts", "sudo"}
"""Fields of `host` that say how to reach it: the host itself is the same without them."""


def plan_rig(rig: Rig, extra: Path | None = None, faults: FabricFaults | None = None) -> Plan:
    """What the host shall be; `rig` has passed `rigspec check`.

    `extra`: the owner's catalog. `faults`: what a measurement found wrong between cards.
    """
    models = plan_models(rig)
    services = plan_services(rig, models, faults)
    plan = Plan(
        rig=rig.name,
        spec=_spec_text(rig),
        spec_digest=_spec_digest(rig),
        preflight=plan_preflight(rig, plan_gpus(rig, extra)),
        kernel=plan_kernel(rig),
        driver=plan_driver(rig, extra),
        pcie=plan_pcie(rig),
        power=plan_power(rig),
        containers=plan_containers(rig),
        storage=plan_storage(rig),
        models=models,
        services=services,
        fabric=plan_fabric(rig, services, extra),
        verify=SmokePlan(**rig.verify.model_dump(exclude={"daily", "metrics_path"})),
    )
    return replace(plan, daily=plan_daily(rig, plan, all_files(plan)))


def _spec_text(rig: Rig) -> str:
    """What the owner wrote, values that are the default left out; specs hold no secrets."""
    said = rig.model_dump(mode="json", exclude={"host": _WAY_TO_HOST}, exclude_defaults=True)
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _spec_digest(rig: Rig) -> str:
    return _sha256(rig.model_dump(mode="json", exclude={"host": _WAY_TO_HOST}))


def digest(plan: Plan) -> str:
    """SHA-256 of the plan's canonical JSON, 64 hex digits."""
    return _sha256(asdict(plan))


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def all_files(plan: Plan) -> tuple[RenderedFile, ...]:
    """Every file of the plan in the order of the stages, each path once."""
    found: dict[str, RenderedFile] = {}
    for file in _files_of_stages(plan):
        if found.setdefault(file.dest, file).content != file.content:
            raise ValueError(f"two different files are planned for {file.dest}")
    return tuple(found.values())


def _files_of_stages(plan: Plan) -> Iterator[RenderedFile]:
    yield from plan.kernel.files
    if plan.driver.repository:
        yield plan.driver.repository.sources
    yield from plan.driver.files
    yield from plan.pcie.files
    yield from plan.power.files
    yield from (repository.sources for repository in plan.containers.repositories)
    yield from plan.containers.files
    for mount in plan.storage:
        yield from mount.files
    for model in plan.models:
        yield from model.files
    for service in plan.services:
        yield from service.files
    yield from plan.fabric.files
    if plan.daily:
        yield from plan.daily.files


def to_json(plan: Plan) -> str:
    """The plan as data, as the host keeps it: digest, paths of our files, every section."""
    head = {
        "written_by": f"rigspec, rig {plan.rig}; edits are overwritten by the next run",
        "digest": digest(plan),
        "paths": [file.dest for file in all_files(plan)],
    }
    return json.dumps(head | asdict(plan), indent=2, ensure_ascii=False) + "\n"


def planned_paths(text: str) -> tuple[str, ...]:
    """Paths of the files that an older plan.json of a host put there; none if it is not ours."""
    try:
        paths = json.loads(text)["paths"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(str(path) for path in paths) if isinstance(paths, list) else ()
