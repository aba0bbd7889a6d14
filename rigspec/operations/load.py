"""Load on request: a job on the host that survives a lost link; stopped services come back.

On cards and links, or on the disk with the weights.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from pyinfra import host as current_host
from pyinfra.api import FunctionCommand, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.operations.answering import wait_until_answers
from rigspec.operations.jobs import FOLDER, Job, job_commands
from rigspec.operations.shell import is_executing, refuse, run_on, shell
from rigspec.plan.asking import url_of
from rigspec.plan.fabric import LOAD
from rigspec.plan.sections import ModelPlan, Plan, ServicePlan

WEIGHTS = "weights"
WISH = re.compile(rf"(fabric|burn [1-9][0-9]{{0,3}})( --stop-services)?|{WEIGHTS}")
MEASURING_S = 4 * 3600
"""Far more than a healthy rig of sixteen cards takes: each measurement has its own limit."""


def load_job(wish: str) -> Job:
    """The run of the host's own script; `wish` is its words."""
    kind, *rest = wish.split()
    minutes = int(rest[0]) if kind == "burn" else 0
    title = f"burning for {minutes} minutes" if minutes else "measuring the links between cards"
    return Job(
        name=f"load-{kind}",
        title=title,
        argv=(LOAD, *wish.split()),
        hint=f"{FOLDER}/load-{kind}.log on the rig; to end it: "
        f"systemctl stop rigspec-job-load-{kind}",
        timeout_s=minutes * 60 + MEASURING_S,
    )


def rehash_job(model: ModelPlan) -> Job:
    """Every byte of one model against the hub's hashes; what differs is noted beside it."""
    return Job(
        name=f"rehash-{model.name}",
        title=f"reading the weights of {model.name} again",
        argv=(*model.fetch_argv, "--rehash"),
        hint=f"{FOLDER}/rehash-{model.name}.log on the rig; to end it: "
        f"systemctl stop rigspec-job-rehash-{model.name}",
    )


IS_STARTED = """\
case $(systemctl is-active -- "$1") in active | activating | reloading) ;; *) exit 1 ;; esac
"""
"""Whether a unit runs or is on its way: a starting one removes its old container first."""


def _wait_again(state: State, host: Host, services: tuple[ServicePlan, ...]) -> bool:
    """Services that were started again answer before anybody judges them."""
    for service in services:
        runs, _ = run_on(host, shell(IS_STARTED, service.unit))
        limit = float(service.start_timeout_s)
        if runs and not wait_until_answers(state, host, service.unit, url_of(service), limit):
            return False
    return True


def jobs_of(plan: Plan, wish: str) -> tuple[Job, ...] | str:
    """What the host is to run, or why there is nothing."""
    if wish == WEIGHTS:
        fetched = tuple(rehash_job(model) for model in plan.models if model.hub)
        return fetched or "no model comes from a hub: nothing says what the bytes should be"
    if not plan.fabric.files:
        return "there is nothing to measure with: one card, and no service whose image has torch"
    return (load_job(wish),)


@operation()
def load_made(*, plan: Plan, wish: str) -> Generator[StringCommand | FunctionCommand, None, None]:
    """What was wished for was done and has ended, by itself or by its temperature stop."""
    if not WISH.fullmatch(wish):
        yield refuse(f"RIGSPEC_LOAD is `{wish}`; say `fabric`, `burn MINUTES` or `{WEIGHTS}`")
        return
    jobs = jobs_of(plan, wish)
    if isinstance(jobs, str):
        yield refuse(jobs)
        return
    if not is_executing():
        current_host.noop("load is made only by a run that executes")
        return
    for job in jobs:
        yield from job_commands(job)
    if wish.endswith("--stop-services"):
        yield FunctionCommand(_wait_again, (plan.services,), {})
