"""The daily look: what a shell on the host can compare by itself, as a table, and its timer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from rigspec.plan.asking import header_program, url_of
from rigspec.plan.model import DAMAGED, MANIFEST
from rigspec.plan.relied import mounted_paths, planned_units, secret_paths
from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import DailyPlan, Plan, RenderedFile, ServicePlan
from rigspec.spec.rig import Rig

DAILY_TABLE = "/etc/rigspec/daily.tsv"
DAILY_UNIT, DAILY_TIMER = "rigspec-drift.service", "rigspec-drift.timer"
_TOKENS = 8
"""Enough to know that the model answers; the daily look must not cost more."""
_ORIGIN = "verify.daily"


def plan_daily(rig: Rig, plan: Plan, files: Iterable[RenderedFile]) -> DailyPlan | None:
    """Script, table and timer; `files` are those of all other sections. None where it is off."""
    if not rig.verify.daily:
        return None
    own = (
        render(f"{SCRIPTS}/drift", rig=rig.name, origin=_ORIGIN, mode="755", name=rig.name),
        render(
            f"{UNITS}/{DAILY_UNIT}",
            rig=rig.name,
            origin=_ORIGIN,
            limit_s=600 + rig.verify.timeout_s * len(plan.services),
        ),
        render(f"{UNITS}/{DAILY_TIMER}", rig=rig.name, origin=_ORIGIN),
    )
    rows = [*_rows(plan), *_files((*files, *own)), ("metrics", rig.verify.metrics_path)]
    table = render(DAILY_TABLE, rig=rig.name, origin=_ORIGIN, rows=["\t".join(row) for row in rows])
    return DailyPlan(rig.verify.metrics_path, (*own, table), (DAILY_TIMER,))


def _files(files: Iterable[RenderedFile]) -> Iterator[tuple[str, ...]]:
    for file in files:
        digest = hashlib.sha256(file.content.encode()).hexdigest()
        yield "file", digest, file.mode.lstrip("0"), file.dest


def _rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    """`KIND<TAB>FIELD…`; `-` is an empty field, for a shell swallows empty ones."""
    for argument in plan.kernel.arguments:
        yield "argument", argument
    if plan.pcie.acs_off:
        yield "acs", f"{SCRIPTS}/acs"
    limits = dict(plan.power.limits_w)
    for gpu in plan.preflight.gpus:
        yield "card", gpu.member, str(limits.get(gpu.member, "-")), str(gpu.link_width)
    for unit in (*planned_units(plan), DAILY_TIMER):
        yield "unit", unit
    yield from _data(plan)
    for service in plan.services:
        yield _service(plan, service)


def _data(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Weights (a manifest, or the owner's path; what a rehash found), mounted files, secrets."""
    for model in plan.models:
        folder = model.directory.rstrip("/")
        if model.hub:
            yield "weights", model.name, f"{folder}/{MANIFEST}", f"{folder}/{DAMAGED}"
        else:
            yield "weights", model.name, "/".join(filter(None, (folder, model.file))), "-"
    for path in mounted_paths(plan):
        yield "mounted", path
    for path in secret_paths(plan):
        yield "secret", path


def _service(plan: Plan, service: ServicePlan) -> tuple[str, ...]:
    question = {
        "model": service.served_names[0],
        "messages": [{"role": "user", "content": plan.verify.prompt}],
        "max_tokens": _TOKENS,
    }
    rivals = [other.unit for other in plan.services if service.name in other.instead_of]
    return (
        "service",
        service.name,
        service.unit,
        "boot" if service.at_boot else "hand",
        ",".join(rivals) or "-",
        url_of(service, "/v1/chat/completions"),
        service.secret_path or "-",
        header_program(service.secret_line) if service.secret_path else "-",
        str(plan.verify.timeout_s),
        json.dumps(question),
    )
