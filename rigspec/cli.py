"""The command line: each verb loads, makes one core call and one report call.

Exit codes of every verb: 0 as wanted (warnings included), 1 not as planned or host fault, 2 spec
or usage, 3 could not measure. Imports are inside the verbs: `check` must not wait for pyinfra.
"""

from __future__ import annotations

import os
import sys

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rigspec")
def main() -> None:
    """Declarative provisioner for LLM rigs: check, plan, deploy, verify."""


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--json", "as_json", is_flag=True, help="Findings as a JSON list.")
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with rig specs; 2 if any has an error, else 0."""
    from rigspec.finding import has_errors
    from rigspec.report import findings as report
    from rigspec.rules.run import check_file

    records: list[dict[str, str | int]] = []
    texts: list[str] = []
    failed = False
    for file in files:
        loaded = check_file(file)
        failed |= has_errors(loaded.findings)
        if as_json:
            records += report.as_records(loaded.findings, loaded.source)
        else:
            texts.append(report.as_text(loaded.findings, loaded.source, colour=_want_colour()))
    click.echo(report.as_json(records) if as_json else "\n\n".join(texts))
    sys.exit(2 if failed else 0)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the format, for editors."""
    import json

    from rigspec.spec.rig import Rig

    click.echo(json.dumps(Rig.model_json_schema(), indent=2, ensure_ascii=False))


def _want_colour() -> bool:
    """Colour on a terminal only, and never against NO_COLOR (no-color.org)."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not dumb
