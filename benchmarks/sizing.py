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
from pathlib import Path

from benchmarks import sizing_goals, sizing_halves
from benchmarks.sizing_cases import Case, case_of
from benchmarks.sizing_models import Models
from benchmarks.sizing_predict import Declined, Row, predictions
from benchmarks.sizing_table import markdown
from benchmarks.sizing_yaml import read_yaml
from rigspec.catalog.model_sizes import size_table

DATA = Path(__file__).parent / "data"
GOALS = "Against the goals these estimates were built for; what is not met is not hidden:"
HALVES = (
    "Sources split in two halves; the right column takes the level of each fit from the other half:"
)
BEGIN, END = "<!-- begin: benchmarks.sizing -->", "<!-- end: benchmarks.sizing -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when the file could be read."""
    options = _options(arguments)
    rows, declined = run(options.cases, options.models)
    print(markdown(rows, declined, groups=not options.short))
    print(f"\n{sizing_goals.markdown(rows, declined)}")
    if not options.short:
        print(f"\n{sizing_halves.markdown(rows)}")
    if options.json:
        options.json.write_text(_as_json(rows, declined), encoding="utf-8")
    if options.docs:
        parts = (
            markdown(rows, declined, groups=True),
            GOALS,
            sizing_goals.markdown(rows, declined),
            HALVES,
            sizing_halves.markdown(rows),
        )
        write_docs(options.docs, "\n\n".join(parts))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--cases", type=Path, default=DATA / "ground-truth.yaml")
    parser.add_argument("--models", type=Path, default=DATA / "model-configs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", type=Path, help="a Markdown file whose table is replaced")
    parser.add_argument("--short", action="store_true", help="only the lines over all engines")
    options = parser.parse_args(arguments)
    if not options.cases.is_file():
        parser.error(f"no such file: {options.cases}")
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
    """The cases of a file, in order; entries that are no mapping are skipped."""
    loaded = read_yaml(cases)
    listed = loaded.get("cases") if isinstance(loaded, Mapping) else loaded
    known = Models(models, size_table(read_yaml(models / "sizes.yaml")))
    items = listed if isinstance(listed, list) else []
    return [_load(raw, known, n) for n, raw in enumerate(items) if isinstance(raw, Mapping)]


def _load(raw: Mapping[str, object], known: Models, order: int) -> Case | Declined:
    """A case, or why it cannot be read: one odd entry never stops the others."""
    try:
        return case_of(raw, known, order)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
        return Declined(str(raw.get("id") or f"case-{order}"), "all", f"unreadable: {broken!r}")


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
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
