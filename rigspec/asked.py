"""What every verb does with the spec it was given: check it, plan it, ask its host, or end.

Imports are inside the functions, as in `rigspec.cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from rigspec.errors import RigspecError
    from rigspec.plan.sections import Plan
    from rigspec.spec.rig import Rig


def checked(file: str) -> Rig:
    """The rig of a spec; prints its findings, ends with 2 if one is an error."""
    from rigspec.finding import has_errors
    from rigspec.report import findings as report
    from rigspec.rules.run import check_file

    loaded = check_file(file)
    if loaded.findings:
        said = report.as_text(loaded.findings, loaded.source, colour=want_colour())
        click.echo(said, err=True)
    if loaded.rig is None or has_errors(loaded.findings):
        sys.exit(2)
    return loaded.rig


def planned(rig: Rig, file: str) -> Plan:
    """What the host of a checked rig shall be."""
    from rigspec.plan.rig import plan_rig
    from rigspec.rules.context import saved_context

    beside = saved_context(rig, Path(file))
    return plan_rig(rig, beside.catalog, beside.faults)


def looked(rig: Rig, file: str) -> str:
    """What the plain deploy reads off this rig; ends with 2 or 3 when that is nothing."""
    from rigspec.look import look

    found = look(rig, file)
    return _or_end(found.text, found.said, found.status)


def carried(
    rig: Rig,
    file: str,
    stage: str,
    out_variable: str,
    more: Mapping[str, str] | None = None,
    *,
    talk: bool = False,
) -> str:
    """What another deploy has written for us; ends with 2 or 3 when that is nothing."""
    from rigspec.look import carry

    found = carry(rig, file, stage, out_variable, more, talk=talk)
    return _or_end(found.text, found.said, found.status)


def _or_end(text: str, said: str, status: int) -> str:
    if not text:
        click.echo(f"{said}\nerror: the host could not be read", err=True)
        sys.exit(2 if status == 2 else 3)
    return text


def stop(problem: RigspecError) -> NoReturn:
    """Say what is broken, and what to do, and end with 2."""
    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    click.echo(f"{problem.message}{hint}", err=True)
    sys.exit(2)


def want_colour() -> bool:
    """Colour on a terminal only, and never against NO_COLOR (no-color.org)."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb
