"""The model stage: weights are there, complete and pinned; the host fetches what it lacks."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.storage import StorageStage, StorageState, model_questions, weights_path
from rigspec.operations.files import differing, write
from rigspec.operations.jobs import FOLDER, Job, job_commands
from rigspec.operations.secrets import model_secrets, secret_changes
from rigspec.operations.shell import UNREADABLE, refuse
from rigspec.plan.sections import ModelPlan

Commands = Generator[StringCommand | FunctionCommand, None, None]


def fetch_job(model: ModelPlan) -> Job:
    """The fetch of one model."""
    return Job(
        name=f"fetch-{model.name}",
        title=f"fetching {model.hub} ({(model.revision or 'main')[:12]}) to {model.directory}",
        argv=model.fetch_argv,
        hint=f"{FOLDER}/fetch-{model.name}.log on the rig; df -h {model.directory}",
    )


def not_there(plan: tuple[ModelPlan, ...], seen: StorageState) -> tuple[str, ...]:
    """Weights that somebody has to bring: no hub to fetch them from, and not on the host."""
    return tuple(
        f"the weights of models.{model.name} are not at {weights_path(model)}\n"
        "    is the right disk mounted (findmnt)? copy them there, or give `hub` and `revision` "
        "in the spec and rigspec fetches them"
        for model in plan
        if not model.hub and (model.name not in seen.models or not seen.models[model.name].exists)
    )


def not_whole(plan: tuple[ModelPlan, ...], seen: StorageState) -> tuple[str, ...]:
    """Weights brought by hand of which files are missing: no server loads them."""
    return tuple(
        f"the weights of models.{model.name} are not whole: {', '.join(state.lacks)}\n"
        f"    copy what is missing to {weights_path(model)} again"
        for model in plan
        if not model.hub and (state := seen.models.get(model.name)) and state.lacks
    )


@operation()
def weights_present(*, plan: tuple[ModelPlan, ...]) -> Commands:
    """All weights are on the host, in the pinned revision."""
    # one script serves all models: write it once
    files = tuple({file.dest: file for model in plan for file in model.files}.values())
    secrets = model_secrets(plan)
    paths = (*(file.dest for file in files), *(secret.path for secret in secrets))
    seen = host.get_fact(StorageStage, paths=paths, models=model_questions(plan))
    if seen is None:
        yield refuse(UNREADABLE)
        return
    absent = (*not_there(plan, seen), *not_whole(plan, seen))
    if absent:
        yield refuse("\n".join(absent))
        return
    wrong = differing(files, seen.files)
    if wrong:
        yield write(wrong)
    tokens = list(secret_changes(secrets, seen.files))
    yield from tokens
    due = [
        m for m in plan if m.hub and not (m.name in seen.models and seen.models[m.name].complete)
    ]
    for model in due:
        yield from job_commands(fetch_job(model))
    if not wrong and not tokens and not due:
        host.noop(f"{len(plan)} sets of weights are complete")
