"""What `rigspec catalog TABLE [NAME]` prints: rows of a table, or one entry with its sources."""

from __future__ import annotations

from rigspec.catalog.data import own_folder
from rigspec.catalog.models import UnusableModel, nearest_saved
from rigspec.catalog.show import Line, list_entry, list_table, nearest_names
from rigspec.catalog.show_models import FOLDERS, list_model, list_models
from rigspec.errors import RigspecError


def rows_of(table: str, name: str | None) -> list[Line]:
    """The rows; RigspecError when there is no such entry, or no model saved at all."""
    if table == "models":
        return _models(name)
    extra = own_folder()
    rows = list_entry(table, name, extra) if name else list_table(table, extra)
    if name and not rows:
        near = " or ".join(f"`{other}`" for other in nearest_names(table, name, extra))
        raise RigspecError(
            f"`{name}` is not in the catalog",
            hint=(f"did you mean {near}? " if near else "")
            + f"`rigspec catalog {table}` lists all",
        )
    return rows


def _models(name: str | None) -> list[Line]:
    try:
        rows = list_model(name) if name else list_models()
    except (UnusableModel, OSError) as problem:
        raise RigspecError(f"what is saved of `{name}` cannot be used: {problem}") from problem
    if not rows:
        where = ", ".join(f"{folder}/" for folder in FOLDERS)
        near = " or ".join(f"`{saved}`" for saved in nearest_saved(name or "", FOLDERS))
        hub = name if name and "/" in name else "ORG/NAME"
        add = f"`rigspec model add {hub}` reads config and sizes once (no weights)"
        raise RigspecError(
            f"nothing is saved of `{name}`" if name else f"no model is saved in {where}",
            hint=(f"did you mean {near}? Else " if near else "") + add,
        )
    return rows
