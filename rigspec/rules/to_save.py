"""The commands that save what is known of a model beside the spec that was read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rigspec.rules.context import CheckContext
from rigspec.spec.models import Model
from rigspec.spec.rig import Rig


def to_save(model: Model, facts: CheckContext) -> tuple[str, ...]:
    """The command in backticks; of weights that lie on a host, one for there and one elsewhere."""
    if model.hub:
        revision = f"@{model.revision}" if model.revision else ""
        return (_command(f"{model.hub}{revision}", model, facts),)
    path = model.path or ""
    return (
        f"{_command(shlex.quote(path), model, facts)} where that lies",
        _command(f"ORG/NAME --as {shlex.quote(Path(path).name)}", model, facts),
    )


def unread_drafts(rig: Rig, facts: CheckContext) -> Iterator[tuple[str, str]]:
    """Services whose draft model nobody saved, and what to do about it."""
    for name, service in rig.services.items():
        draft = service.speculative.model if service.speculative else None
        model = rig.models.get(draft or "")
        if draft and model and draft not in facts.models and draft not in facts.unusable:
            commands = ", or ".join(to_save(model, facts))
            yield name, f"nothing is saved of `{draft}`; {commands} reads its config and sizes once"


def _command(source: str, model: Model, facts: CheckContext) -> str:
    file = f" --file {shlex.quote(model.file)}" if model.file else ""
    to = "" if facts.save_to is None else f" --to {shlex.quote(str(facts.save_to))}"
    return f"`rigspec model add {source}{file}{to}`"
