"""How far the estimates are from what engines printed.

    python -m benchmarks.sizing [--cases FILE] [--models DIR] [--json OUT] [--docs FILE] [--short]

Runs every case of a file in the form of `benchmarks/data/ground-truth.yaml` and prints, per
quantity, engine and architecture: how many, the median and worst error, and how often the truth
lies inside the stated band.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from benchmarks import sizing_goals, sizing_halves
from benchmarks.sizing_cases import Case, case_of
from benchmarks.sizing_faults import faults_of
from benchmarks.sizing_files import check_models, check_target, listed_cases, write
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import Declined, Row, predictions
from benchmarks.sizing_table import markdown
from benchmarks.sizing_words import with_options_as_text
from benchmarks.sizing_yaml import read_yaml, stop
from rigspec.catalog.model_sizes import size_table
from rigspec.outlet import guarded

DATA = Path(__file__).parent / "data"
GOALS = "Against the goals these estimates were built for; what is not met is not hidden:"
HALVES = (
    "Sources split in two halves; the right column takes the level of each fit from the other half:"
)
ALL = "all"
"""The quantity of a case of which nothing can be predicted."""
BEGIN, END = "<!-- begin: benchmarks.sizing -->", "<!-- end: benchmarks.sizing -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when the file could be read, 2 when it, or a target, is none."""
    return guarded(partial(_main, arguments))


def _main(arguments: Sequence[str] | None) -> int:
    options = _options(arguments)
    rows, declined = run(options.cases, options.models)
    parts = [markdown(rows, declined, groups=not options.short)]
    parts += [f"\n{sizing_goals.markdown(rows, declined)}"]
    parts += [] if options.short else [f"\n{sizing_halves.markdown(rows)}"]
    if options.json:  # before the table is shown: its reader may go early
        write(options.json, _as_json(rows, declined))
    if options.docs:
        page = (
            markdown(rows, declined, groups=True),
            GOALS,
            sizing_goals.markdown(rows, declined),
            HALVES,
            sizing_halves.markdown(rows),
        )
        write_docs(options.docs, "\n\n".join(page))
    click.echo("\n".join(parts))
    for one in declined:
        if one.quantity == ALL:
            click.echo(f"declined {one.id}: {one.reason}", err=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--cases", type=Path, default=DATA / "ground-truth.yaml")
    parser.add_argument("--models", type=Path, default=DATA / "model-configs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=Path, help="a Markdown file whose table is replaced")
    parser.add_argument("--short", action="store_true", help="only the lines over all engines")
    options = parser.parse_args(arguments)
    for path in filter(None, (options.json, options.docs)):
        check_target(path)
    if options.docs:
        _marked(options.docs)
    return options


def run(cases: Path, models: Path) -> tuple[list[Row], list[Declined]]:
    """Predictions and refusals for every case of a file."""
    rows: list[Row] = []
    declined: list[Declined] = []
    for case in load_cases(cases, models):
        if isinstance(case, Declined):
            declined.append(case)
            continue
        for found in predictions(case):
            if isinstance(found, Declined):
                declined.append(found)
            else:
                rows.append(found)
    return rows, declined


def load_cases(cases: Path, models: Path) -> list[Case | Declined]:
    """The cases of a file, in order, and why some cannot be used; ends with 2 where it is none."""
    listed, known = listed_cases(cases), _models(models)
    return [_load(raw, known, order) for order, raw in enumerate(listed)]


def _models(folder: Path) -> Models:
    check_models(folder)
    sizes = folder / "sizes.yaml"
    try:
        return Models(folder, size_table(read_yaml(sizes)))
    except (ArithmeticError, TypeError, ValueError) as broken:
        stop(f"{sizes} holds a size that is none: {broken}")


def _load(raw: object, known: Models, order: int) -> Case | Declined:
    """A case, or why it cannot be used: one odd entry never stops the others."""
    if not isinstance(raw, Mapping):
        return Declined(f"case-{order}", ALL, "it is no mapping of keys")
    raw = with_options_as_text(raw)
    name, faults = str(raw.get("id") or f"case-{order}"), faults_of(raw)
    if faults:
        return Declined(name, ALL, "; ".join(faults))
    try:
        return case_of(raw, known, order)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
        return Declined(name, ALL, f"unreadable: {broken!r}")


def _as_json(rows: Sequence[Row], declined: Sequence[Declined]) -> str:
    return json.dumps(
        {
            "rows": [_plain(asdict(row)) for row in rows],
            "declined": [_plain(asdict(d)) for d in declined],
        },
        indent=1,
    )


def _plain(row: dict[str, object]) -> dict[str, object]:
    """A row as JSON knows it: finite numbers, and no engine columns the format does not have."""
    for name in ("engine", "arch", "sized", "experts", "has_facts"):
        row.pop(name, None)
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def write_docs(path: Path, table: str) -> None:
    """Replace what stands between the two marks of a Markdown file."""
    head, tail = _marked(path)
    write(path, f"{head}{BEGIN}\n{table}\n{END}{tail}")


def _marked(path: Path) -> tuple[str, str]:
    """What stands before and after the two marks."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        stop(f"{path} cannot be read: {problem}")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        stop(f"{path} lacks the marks {BEGIN} and {END}")
    return head, tail


if __name__ == "__main__":
    sys.exit(main())
