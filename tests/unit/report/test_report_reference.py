"""`docs/spec.md` and `docs/rules.md` say what models and rules say.

After a wanted change: `RIGSPEC_REWRITE=1 pytest tests/unit/report`, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigspec.finding import Finding
from rigspec.report.reference import TEXT_RULES, rules_page, spec_page
from rigspec.rules.run import RULES, check_file, rule_id
from rigspec.spec.fields import all_fields

ROOT = Path(__file__).resolve().parents[3]
ERRORS = ROOT / "tests" / "errors"

SPEC_INTRO = """\
# The rig spec

One YAML file describes one rig. `rigspec check FILE` says what is wrong with it, `rigspec schema`
prints the same format as JSON Schema for editors.

Values are read as their field means them: `off`, `01:00.0` and `570.10` stay what is written. An
unknown key is an error. Anchors, aliases and `<<` work; tags and a second document do not. `NAME`
below is a name that you choose, `[]` an item of a list.
"""

RULES_INTRO = """\
# What `rigspec check` says

Each complaint carries the address of the code that raised it: `power.limit-in-range` is
`limit_in_range` in `rigspec/rules/power.py`; `yaml.*` and `shape.*` come from
`rigspec/spec/slips.py` and `rigspec/spec/wording.py`. An error ends the run with exit code 2 before
anything is touched, warnings and notes do not. `rigspec check --json` prints a list of
`{rule, severity, file, line, column, path, message, why, hint}`; `path` is text such as
`services.glm.extra_args[2]`, and a complaint about a whole file stands at line 1, column 1.

Each rule below has its sentence (what must hold) and, quoted, an example of its complaint.
"""


def examples() -> Iterator[Finding]:
    for file in sorted(ERRORS.glob("*.yaml")):
        yield from check_file(file.name).findings


def compare(page: str, text: str) -> None:
    file = ROOT / "docs" / page
    if os.environ.get("RIGSPEC_REWRITE"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_spec_page_is_what_the_models_say() -> None:
    compare("spec.md", spec_page(SPEC_INTRO))


def test_rules_page_is_what_the_rules_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ERRORS)  # paths in messages are those of nobody's machine
    rules = {rule_id(rule): rule for rule in RULES}
    compare("rules.md", rules_page(RULES_INTRO, rules, examples()))


def test_every_field_of_the_format_is_on_the_page() -> None:
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    for field in all_fields():
        section = field.path[: -len(field.name)].rstrip(".") or "top level"
        body = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert f"| `{field.name}` |" in body, field.path
        assert field.info.description, field.path


def test_every_rule_is_on_the_page() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for rule in (*TEXT_RULES, *(rule_id(r) for r in RULES)):
        assert f"\n### {rule}\n" in page


def test_every_complaint_that_occurs_is_documented() -> None:
    known = {*TEXT_RULES, *(rule_id(rule) for rule in RULES)}
    assert {finding.rule for finding in examples()} <= known
