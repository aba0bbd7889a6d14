"""Templates to files: the path below `templates/` is the path on the host, minus `.j2`."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rigspec import resources
from rigspec.plan.sections import RenderedFile

SCRIPTS = "/usr/local/lib/rigspec"
"""Folder of our scripts on the host."""

UNITS = "/etc/systemd/system"
"""Folder of our units on the host."""


def written_by(rig: str, origin: str) -> str:
    """The comment every file of ours begins with; `#` opens a comment in all their formats."""
    return (
        f"# Written by rigspec for the rig {rig}, from {origin} in its spec.\n"
        "# Edits here are overwritten by the next run: change the spec instead."
    )


def render(
    dest: str,
    *,
    rig: str,
    origin: str,
    template: str | None = None,
    mode: str = "644",
    **values: object,
) -> RenderedFile:
    """One file; `template` is its name below `templates/` where `dest` holds a NAME of the spec."""
    name = (template or dest).removeprefix("/") + ".j2"
    content = _environment().get_template(name).render(written_by=written_by(rig, origin), **values)
    return RenderedFile(dest, content, origin, mode)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resources.folder("templates")),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - shell, unit and env files; quoting is done per format
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
