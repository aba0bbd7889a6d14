"""The commands that save what is known of a model beside the spec that was read."""

from __future__ import annotations

import shlex
from pathlib import Path

from rigspec.rules.context import CheckContext
from rigspec.spec.models import Model


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


def _command(source: str, model: Model, facts: CheckContext) -> str:
    file = f" --file {shlex.quote(model.file)}" if model.file else ""
    to = "" if facts.save_to is None else f" --to {shlex.quote(str(facts.save_to))}"
    return f"`rigspec model add {source}{file}{to}`"
