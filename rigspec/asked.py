"""What every verb does with the spec it was given: check it, plan it, ask its host, or end.

Imports are inside the functions, as in `rigspec.cli`.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click
from typing_extensions import override

if TYPE_CHECKING:
    from rigspec.errors import RigspecError
    from rigspec.look import Look
    from rigspec.plan.sections import Plan
    from rigspec.spec.rig import Rig


MOST = (1 << 31) - 1
"""No engine counts tokens or sequences further: 32 bits with a sign."""


class Whole(click.IntRange):
    """A whole number in an option; what is none gets the hint that a spec's numbers get."""

    def __init__(self, least: int, most: int = MOST) -> None:
        super().__init__(least, most)

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            int(str(value).encode("ascii"))
        except ValueError:
            from rigspec.spec.numbers import number_hint

            hint = number_hint((), str(value)) if "%" not in str(value) else ""
            self.fail(f"`{_short(value)}` is no whole number{hint and f': {hint}'}", param, ctx)
        return super().convert(value, param, ctx)


class Share(click.FloatRange):
    """A share of 1 in an option; `nan` lies in every range and is none."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            share = float(str(value).encode("ascii"))
        except ValueError:
            share = math.nan
        if math.isnan(share):
            self.fail(f"`{_short(value)}` is no number: a share of 1, such as 0.9", param, ctx)
        return super().convert(value, param, ctx)


def say_passed_over() -> None:
    """Beside an answer without a spec: files of the owner's folder that nothing reads."""
    from rigspec.catalog.data import own_folder
    from rigspec.catalog.own import passed_over_in

    folder = own_folder()
    for found in passed_over_in(folder) if folder is not None else ():
        click.echo(f"warning: {found.message}\n  hint: {found.hint}", err=True)


def _short(value: object) -> str:
    """What was written, without the rest of a thousand digits."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def checked(file: str, *, notes: bool = False) -> Rig:
    """The rig of a spec; prints errors and warnings, ends with 2 if there is an error.

    `notes`: also what the owner has consented to, which `check` and `plan` say and no other verb.
    """
    from rigspec.finding import Severity, has_errors
    from rigspec.report import findings as report
    from rigspec.rules.run import check_file

    loaded = check_file(file)
    told = [f for f in loaded.findings if notes or f.severity is not Severity.NOTE]
    if told:
        columns = terminal_columns(sys.stderr)
        said = report.as_text(told, loaded.source, colour=want_colour(), columns=columns)
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
    return _or_end(rig, found)


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
    return _or_end(rig, found, shown=talk, what=f"deploys/{stage} did not end well")


def _or_end(
    rig: Rig, found: Look, *, shown: bool = False, what: str = "the host could not be read"
) -> str:
    """The text, or the cause in the last lines; `shown`: pyinfra's words were seen already."""
    from rigspec.reach import cause

    if not found.text:
        problem = cause(rig.name, found.said, found.command)
        said = "" if shown else f"{found.said.rstrip()}\n\n"
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        click.echo(f"{said}error: {what}: {problem.message}{hint}", err=True)
        sys.exit(2 if found.status == 2 else 3)
    return found.text


def stop(problem: RigspecError) -> NoReturn:
    """Say what is broken, and what to do, and end with 2."""
    click.echo(said_of(problem), err=True)
    sys.exit(2)


def said_of(problem: RigspecError, start: str = "") -> str:
    """What is broken, and what to do, in the width of the terminal."""
    from rigspec.report.words import screen, shortened

    hint = f"\nhint: {problem.hint}" if problem.hint else ""
    said = shortened(f"{start}{problem.message}{hint}")
    return screen(said, terminal_columns(sys.stderr))


def terminal_columns(stream: TextIO | None) -> int | None:
    """How wide the terminal is; None where a file or a pipe takes any length, or nobody."""
    wide = stream is not None and stream.isatty()
    return shutil.get_terminal_size().columns if wide else None


def want_colour() -> bool:
    """Colour on a terminal only, and never against NO_COLOR (no-color.org)."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb
