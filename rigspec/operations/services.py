"""The service stage: images, secrets, scripts and units; started, and answering.

A running server is compared with the files it was started from (it leaves their hashes in /run),
so a changed flag restarts that server only, and an interrupted run restarts it the next time.
"""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.services import (
    ServiceQuestion,
    ServiceStage,
    ServiceState,
    bare_reference,
)
from rigspec.operations.answering import wait_until_answers
from rigspec.operations.files import differing, remove, write
from rigspec.operations.jobs import FOLDER, Job, job_commands
from rigspec.operations.secrets import secret_changes, service_secrets
from rigspec.operations.shell import UNREADABLE, refuse, say, shell
from rigspec.operations.units import daemon_reload, enabled, needs_reload, start, stop_and_disable
from rigspec.plan.asking import url_of
from rigspec.plan.rig import PLAN_FILE, all_files, to_json
from rigspec.plan.sections import Plan, RenderedFile, ServicePlan
from rigspec.verify.rivals import displaced

Commands = Generator[StringCommand | FunctionCommand, None, None]


def planned_paths(plan: Plan) -> frozenset[str]:
    """Every file the plan puts on the host, secrets among them."""
    secrets = [*(m.secret_path for m in plan.models), *(s.secret_path for s in plan.services)]
    files = (file.dest for file in all_files(plan))
    metrics = (plan.daily.metrics_path,) if plan.daily else ()
    return frozenset([*files, *metrics, *(path for path in secrets if path)])


def stale_files(plan: Plan, seen: ServiceState) -> tuple[str, ...]:
    """Files in our own folders that the plan does not have any more."""
    planned = planned_paths(plan)
    return tuple(path for path in seen.own if path not in planned)


def is_outdated(service: ServicePlan, seen: ServiceState, fresh: frozenset[str]) -> bool:
    """Whether the running process was started from other files than the host has now."""
    if fresh & set(service.restart_inputs):
        return True
    record = seen.started.get(service.unit, {})
    now = {p: seen.files[p].sha256 for p in service.restart_inputs if p in seen.files}
    return dict(record) != now


def verb_for(service: ServicePlan, seen: ServiceState, fresh: frozenset[str]) -> str | None:
    """`start`, `restart` or nothing for one service."""
    state = seen.units.get(service.unit)
    if state is None or not state.is_active:
        return "start" if service.at_boot else None
    return "restart" if is_outdated(service, seen, fresh) else None


def pull_job(engine: str, image: str) -> Job:
    """The pull of one image."""
    name = "pull-" + "".join(c if c.isalnum() else "-" for c in image.rpartition("@")[0] or image)
    short = image if len(image) < 60 else image[:57] + "…"
    return Job(
        name=name[:80],
        title=f"pulling {short}",
        argv=(engine, "pull", image),
        hint=f"{FOLDER}/{name[:80]}.log on the rig; df -h; is the registry reachable?",
    )


def _questions(plan: Plan) -> tuple[ServiceQuestion, ...]:
    return tuple(
        ServiceQuestion(s.unit, s.started_record, url_of(s) if s.at_boot else "")
        for s in plan.services
    )


def _files(plan: Plan) -> tuple[RenderedFile, ...]:
    """Those of the services, and the benchmark that runs in their images."""
    return (*(file for service in plan.services for file in service.files), *plan.fabric.files)


def _read(plan: Plan) -> ServiceState | None:
    inputs = (path for service in plan.services for path in service.restart_inputs)
    secrets = (secret.path for secret in service_secrets(plan.services))
    return host.get_fact(
        ServiceStage,
        paths=tuple(
            dict.fromkeys([*(file.dest for file in _files(plan)), *inputs, *secrets, PLAN_FILE])
        ),
        units=tuple(service.unit for service in plan.services),
        questions=_questions(plan),
        engine=plan.containers.engine,
        images=tuple(dict.fromkeys(service.image for service in plan.services)),
    )


@operation()
def served(*, plan: Plan) -> Commands:
    """Every planned service runs from its current files and answers; old ones are gone."""
    seen = _read(plan)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    steps = 0
    for step in _prepare(plan, seen):
        steps += 1
        yield step
    fresh = _fresh(plan, seen)
    for step in _run(plan, seen, fresh):
        steps += 1
        yield step
    record = differing((RenderedFile(PLAN_FILE, to_json(plan), "the whole spec"),), seen.files)
    if record:
        steps += 1
        yield write(record)
    if not steps:
        host.noop(f"{len(plan.services)} services are as planned and answer")


def _fresh(plan: Plan, seen: ServiceState) -> frozenset[str]:
    """Inputs that this run has written: files and secrets that differed."""
    files = [file for service in plan.services for file in service.files]
    written = {file.dest for file in differing(files, seen.files)}
    for secret in service_secrets(plan.services):
        if any(True for _ in secret_changes((secret,), seen.files)):
            written.add(secret.path)
    return frozenset(written)


def _prepare(plan: Plan, seen: ServiceState) -> Commands:
    """Old services away; secrets, files and images in place; what runs is not touched yet."""
    # images first: a script whose image is missing would not start after a power cut
    for image in dict.fromkeys(service.image for service in plan.services):
        if bare_reference(image) not in seen.images:
            yield from job_commands(pull_job(plan.containers.engine, image))
    stale = stale_files(plan, seen)
    units = [path.rpartition("/")[2] for path in stale if path.startswith("/etc/systemd/")]
    if units:
        yield stop_and_disable(units)
    if stale:
        yield remove(stale)
    yield from secret_changes(service_secrets(plan.services), seen.files)
    wrong = differing(_files(plan), seen.files)
    if wrong:
        yield write(wrong)
    planned = [service.unit for service in plan.services]
    choice = list(_boot_choice(plan.services, seen))
    # enabling and disabling read unit files again, too
    if not choice and (units or needs_reload(planned, seen.units, [file.dest for file in wrong])):
        yield daemon_reload()
    yield from choice


def _boot_choice(plan: tuple[ServicePlan, ...], seen: ServiceState) -> Commands:
    def is_enabled(service: ServicePlan) -> bool:
        state = seen.units.get(service.unit)
        return state is not None and state.file_state.startswith("enabled")

    on = [service.unit for service in plan if service.at_boot and not is_enabled(service)]
    off = [service.unit for service in plan if not service.at_boot and is_enabled(service)]
    if on:
        yield enabled(on, unread=True)
    if off:
        yield shell('systemctl -q disable -- "$@"', *off)


def _run(plan: Plan, seen: ServiceState, fresh: frozenset[str]) -> Commands:
    """Start or restart what must be, then wait for all of them at once, in the YAML's order."""

    def is_active(unit: str) -> bool:
        return unit in seen.units and seen.units[unit].is_active

    away = displaced(plan.services, is_active)
    waiting = []
    for service in plan.services:
        if service.unit in away:
            say(host, [f"{service.unit} stands back: {away[service.unit]} runs in its place"])
            continue
        verb = verb_for(service, seen, fresh)
        if verb:
            yield start(service.unit, verb)
        silent = service.at_boot and seen.answers.get(service.unit) not in {200, 401, 403}
        if verb or silent:
            waiting.append(service)
    for service in waiting:
        limit = float(service.start_timeout_s)
        yield FunctionCommand(wait_until_answers, (service.unit, url_of(service), limit), {})
