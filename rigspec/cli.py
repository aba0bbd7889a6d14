"""The command line: each verb loads, makes one core call and one report call.

Exit codes of every verb: 0 as wanted (warnings included), 1 not as planned or host fault, 2 spec
or usage, 3 could not measure, or not tell. Imports are inside the verbs: `check` must not wait
for pyinfra.
"""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from rigspec import accepted, captured
from rigspec.asked import (
    Share,
    Whole,
    checked,
    planned,
    say_passed_over,
    stop,
    terminal_columns,
    want_colour,
)
from rigspec.loads import burn
from rigspec.outlet import guarded
from rigspec.proved import verify

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""Else pydantic searches every installed package for plugins of its own: 15 ms of each start."""


if TYPE_CHECKING:
    from rigspec.report.fit_question import Question
    from rigspec.spec.rig import Rig

_VERBS = {**captured.VERBS, **accepted.VERBS, "burn": burn, "verify": verify}


class _WithLab(click.Group):
    """Verbs of other modules are loaded only when they are asked for: `check` must stay fast."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "lab", *_VERBS])

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "lab":
            from rigspec.lab.cli import lab

            return lab
        return _VERBS.get(cmd_name) or super().get_command(ctx, cmd_name)

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        return guarded(partial(super().main, *args, **kwargs))


@click.group(cls=_WithLab, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rigspec")
def main() -> None:
    """Declarative provisioner for LLM rigs: check, plan, deploy, verify."""


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--json", "as_json", is_flag=True, help="Findings as a JSON list.")
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with rig specs; 2 if any has an error, else 0."""
    gc.set_threshold(200_000)  # all that is made stays: looking for cycles is 5 % of a check
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
            found, more = loaded.findings, loaded.unchecked
            columns, colour = terminal_columns(sys.stdout), want_colour()
            text = report.as_text(found, loaded.source, more, colour=colour, columns=columns)
            texts.append(text)
    click.echo(report.as_json(records) if as_json else "\n\n".join(texts))
    gc.freeze()  # nor is it looked for once more at the end: a tenth of a check
    sys.exit(2 if failed else 0)


@main.command()
@click.argument("file", type=click.Path(path_type=str))
@click.option("--json", "as_json", is_flag=True, help="The plan as data.")
@click.option("--out", type=click.Path(path_type=str), help="Write every file below this folder.")
@click.option("--sizing", is_flag=True, help="Only memory, links, speed and watts: one screen.")
def plan(file: str, as_json: bool, out: str | None, sizing: bool) -> None:
    """Show everything a host will be given; 2 if the spec has an error."""
    from rigspec.errors import RigspecError

    if sizing and out is not None:
        raise click.UsageError("--sizing has no files to write: leave out --out")
    rig = checked(file, notes=True)
    try:
        shown = _sizing(rig, file, as_json) if sizing else ""
        click.echo(shown or _shown_plan(rig, file, as_json, out))
    except RigspecError as problem:
        stop(problem)


def _shown_plan(rig: Rig, file: str, as_json: bool, out: str | None) -> str:
    from rigspec.plan.rig import digest, to_json
    from rigspec.report import plan as report
    from rigspec.report.plan_tree import write_tree

    made = planned(rig, file)
    written = "" if out is None else f"{write_tree(made, Path(out))} files below {out}"
    if as_json:
        return to_json(made).rstrip("\n")
    if written:
        return f"{written}, digest {digest(made)}"
    columns = terminal_columns(sys.stdout)
    return f"{report.as_text(made, columns)}\n\n{_sizing(rig, file, as_json=False)}"


def _sizing(rig: Rig, file: str, as_json: bool) -> str:
    import json

    from rigspec.report.sizing import as_text
    from rigspec.report.sizing_json import rig_record
    from rigspec.rules.context import saved_context

    facts = saved_context(rig, Path(file))
    if as_json:
        return json.dumps(rig_record(rig, facts), indent=2, ensure_ascii=False)
    return as_text(rig, facts, terminal_columns(sys.stdout))


@main.command()
def schema() -> None:
    """Print the JSON Schema of the format, for editors."""
    import json

    from rigspec.spec.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@main.command()
@click.argument("table", type=click.Choice(["gpus", "models", "switches", "boards", "circuits"]))
@click.argument("words", nargs=-1, metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="Rows as a JSON list.")
def catalog(table: str, words: tuple[str, ...], as_json: bool) -> None:
    """List what is known: cards, models, switches, …; with NAME every figure and its source."""
    import json

    from rigspec.errors import RigspecError
    from rigspec.report.catalog import rows_of
    from rigspec.report.table import as_table

    try:
        say_passed_over()
        rows = rows_of(table, " ".join(words) or None)
    except RigspecError as problem:
        stop(problem)
    shown = as_table(rows, terminal_columns(sys.stdout))
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else shown)


@main.command()
@click.argument("model")
@click.option("--gpu", required=True, help="SKU of the cards, see `rigspec catalog gpus`.")
@click.option("--count", type=Whole(1, 16), default=1, help="How many cards.")
@click.option("--context", type=Whole(1), help="Tokens; without it a table of lengths.")
@click.option("--table", is_flag=True, help="A table of contexts and TP sizes in any case.")
@click.option("--tp", type=Whole(1, 16), help="Tensor parallel size (default: --count).")
@click.option("--dcp", type=Whole(1, 16), help="Decode context parallel size (default: 1).")
@click.option(
    "--engine",
    type=click.Choice(["vllm", "sglang", "llama_cpp"]),
    help="Default: llama_cpp for a GGUF file, else vllm.",
)
@click.option("--engine-version", help="For example 0.30.0; without it bands are wider.")
@click.option("--fraction", type=Share(0.05, 0.99), help="Share of the card's memory.")
@click.option("--kv-dtype", default="auto", help="Type of the KV cache, for example fp8.")
@click.option("--sequences", type=Whole(1), help="Sequences decoded at the same time.")
@click.option("--power-limit-w", type=Whole(1), help="Power cap per card.")
@click.option("--models", "folder", type=click.Path(path_type=Path), help="Folder of saved models.")
@click.option("--json", "as_json", is_flag=True, help="The answer as data.")
def fit(folder: Path | None, as_json: bool, table: bool, **asked: Any) -> None:
    """Say whether MODEL fits some cards, and how fast it is; 2 if it certainly does not fit."""
    from rigspec.report import fit as report

    question, columns = _question(folder, **asked), terminal_columns(sys.stdout)
    if table or asked["context"] is None:
        said = report.table_answer(question, asked["context"], as_json=as_json, columns=columns)
        click.echo(said)
        sys.exit(2 if report.is_beyond(question.facts, question.settings) else 0)
    fits, said = report.single_answer(question, as_json=as_json, columns=columns)
    click.echo(said)
    sys.exit(0 if fits else 2)


def _question(folder: Path | None, **asked: Any) -> Question:
    from rigspec.catalog.data import own_folder
    from rigspec.catalog.show_models import FOLDERS
    from rigspec.errors import RigspecError
    from rigspec.report.fit_question import ask

    folders = (folder,) if folder else FOLDERS
    try:
        say_passed_over()
        return ask(**asked, folders=folders, extra=own_folder())
    except RigspecError as problem:
        stop(problem)


@main.group()
def model() -> None:
    """What is known of models: the small files beside the rigs."""


@model.command("add")
@click.argument("source", metavar="ORG/NAME[@REVISION] | FOLDER | FILE.gguf")
@click.option("--as", "name", help="Name to save it under (default: the source's own).")
@click.option("--file", help="Which GGUF file, where there are several.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder of saved models (default: rigs/models, from inside rigs/ models).",
)
def model_add(source: str, name: str | None, file: str | None, to: Path | None) -> None:
    """Save what sizing needs to know of a model: config and sizes, no weights are fetched."""
    from rigspec.catalog.data import save_folder
    from rigspec.errors import RigspecError
    from rigspec.hub import read, save
    from rigspec.report.words import screen

    try:
        saved = save(read(source, file), name, to or save_folder())
    except RigspecError as problem:
        stop(problem)
    click.echo(screen(saved, terminal_columns(sys.stdout)))
