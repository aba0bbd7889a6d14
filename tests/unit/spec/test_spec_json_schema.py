"""The JSON Schema underlines in an editor what has a wrong shape, and no spec that is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from jsonschema import Draft202012Validator

from rigspec.spec.json_schema import json_schema

ROOT = Path(__file__).resolve().parents[3]
RIGHT = sorted([*ROOT.glob("rigs/*.yaml"), *ROOT.glob("tests/errors/*.yaml")])
"""Of the examples of errors only those that a rule finds: their shape is right."""
JUDGE = Draft202012Validator(json_schema())


class Core(yaml.SafeLoader):
    """What editors read: YAML 1.2's core schema, where `off` and `01:00.0` are text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for tag, pattern in {
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
    "null": "~|null|Null|NULL|",
}.items():
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), None)


def complaints(text: str) -> list[str]:
    content = yaml.load(text, Core)  # noqa: S506, TID251 - a SafeLoader
    return [f"{list(e.path)}: {e.message}" for e in JUDGE.iter_errors(content)]


def is_right(file: Path) -> bool:
    said = file.with_suffix(".txt")
    return not said.exists() or not re.search(r"\[(shape|yaml)\.", said.read_text())


@pytest.mark.parametrize("file", [f for f in RIGHT if is_right(f)], ids=lambda file: file.name)
def test_a_spec_of_the_right_shape_is_not_underlined(file: Path) -> None:
    assert complaints(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tensor_parallel_size: 2", "tensor_parallel_sise: 2"),
        ("acs: keep", "acs: maybe"),
        ("rigspec: 1\n", "rigspec: 2\n"),
        ("count: 2", "count: two"),
    ],
    ids=["unknown key", "no choice of the field", "another format", "text for a number"],
)
def test_a_wrong_shape_is_underlined(old: str, new: str) -> None:
    text = (ROOT / "rigs/starter.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    assert complaints(text.replace(old, new))
