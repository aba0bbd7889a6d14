"""Weights: where they lie, and how the host fetches what it lacks."""

from __future__ import annotations

from rigspec.plan.render import SCRIPTS, render
from rigspec.plan.sections import ModelPlan
from rigspec.spec.base import is_commit
from rigspec.spec.models import Model
from rigspec.spec.rig import Rig

FETCH_SCRIPT = f"{SCRIPTS}/fetch-model"
MANIFEST = ".rigspec-manifest"
"""Written last, below a model's folder: what was fetched, each file's size and hash."""
DAMAGED = ".rigspec-damaged"
"""Beside it: files that had another hash when they were read again; empty or absent: none."""


def plan_models(rig: Rig) -> tuple[ModelPlan, ...]:
    """One section per model, in the order of the YAML."""
    return tuple(_plan_model(rig, name, model) for name, model in rig.models.items())


def _plan_model(rig: Rig, name: str, model: Model) -> ModelPlan:
    directory, file = _place(rig, model)
    secret = f"/etc/rigspec/secrets/hub-{name}" if model.hub and model.token_env else None
    script = render(FETCH_SCRIPT, rig=rig.name, origin="models", mode="755")
    return ModelPlan(
        name=name,
        directory=directory,
        file=file,
        hub=model.hub,
        revision=model.revision,
        endpoint=model.endpoint,
        include=model.include,
        exclude=model.exclude,
        token_env=model.token_env,
        secret_path=secret,
        files=(script,) if model.hub else (),
        fetch_argv=_fetch_argv(rig, model, directory, secret) if model.hub else (),
    )


def _place(rig: Rig, model: Model) -> tuple[str, str | None]:
    """Folder of the weights and, for GGUF, the file in it."""
    if model.path is None:
        return _fetched_folder(rig, model), model.file
    if model.path.endswith(".gguf"):
        folder, _, file = model.path.rpartition("/")
        return folder or "/", file
    return model.path.rstrip("/") or "/", model.file


def _fetched_folder(rig: Rig, model: Model) -> str:
    """A folder of its own per revision: a server never sees half-changed weights."""
    parent = rig.storage[model.storage].path if model.storage in rig.storage else "/srv"
    revision = model.revision or "main"
    short = revision[:12] if is_commit(revision) else revision.replace("/", "-")
    return f"{parent.rstrip('/')}/{(model.hub or '').replace('/', '--')}@{short}"


def _fetch_argv(rig: Rig, model: Model, directory: str, secret: str | None) -> tuple[str, ...]:
    free_gib = rig.storage[model.storage].min_free_gib if model.storage in rig.storage else 0
    return (
        FETCH_SCRIPT,
        *("--directory", directory),
        *("--endpoint", model.endpoint.rstrip("/")),
        *("--hub", model.hub or ""),
        *("--revision", model.revision or "main"),
        *(word for pattern in model.include for word in ("--include", pattern)),
        *(word for pattern in model.exclude for word in ("--exclude", pattern)),
        *("--min-free-gib", str(free_gib)),
        *(("--header", secret) if secret else ()),
    )
