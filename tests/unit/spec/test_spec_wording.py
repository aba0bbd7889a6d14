"""Every error type and every pattern of the models has our words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rigspec.finding import Finding
from rigspec.spec.fields import all_fields, section_at
from rigspec.spec.forms import FORMS
from rigspec.spec.load import load_text
from rigspec.spec.misnamed import ALIASES, nearest, nearest_choice
from rigspec.spec.rig import Rig
from rigspec.spec.wording import WORDS, dotted

ERRORS_OF = {
    "bool": {"bool_type", "bool_parsing"},
    "dict": {"dict_type"},
    "float": {"float_type", "float_parsing", "finite_number"},
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float"},
    "literal": {"literal_error"},
    "model": {"model_type", "extra_forbidden"},
    "model-field": {"missing"},
    "str": {"string_type", "string_unicode"},
    "tuple": {"tuple_type"},
    "function-after": {"value_error", "assertion_error"},
    "function-before": {"value_error", "assertion_error"},
    "function-wrap": {"value_error", "assertion_error"},
    "definition-ref": {"recursion_loop"},
}
"""Core schema → error types it can raise (pydantic's list of validation errors)."""

ERRORS_OF_BOUND = {
    ("float", "ge"): "greater_than_equal",
    ("float", "gt"): "greater_than",
    ("float", "le"): "less_than_equal",
    ("float", "lt"): "less_than",
    ("int", "ge"): "greater_than_equal",
    ("int", "gt"): "greater_than",
    ("int", "le"): "less_than_equal",
    ("int", "lt"): "less_than",
    ("int", "multiple_of"): "multiple_of",
    ("str", "pattern"): "string_pattern_mismatch",
    ("str", "min_length"): "string_too_short",
    ("str", "max_length"): "string_too_long",
    ("dict", "min_length"): "too_short",
    ("dict", "max_length"): "too_long",
    ("tuple", "min_length"): "too_short",
    ("tuple", "max_length"): "too_long",
}
CANNOT_FAIL = {"any", "default", "definitions", "model-fields", "nullable", "no-info"}


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for key, value in schema.items():
            if key != "serialization":  # what writes judges nothing
                yield from nodes(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from nodes(value)


@pytest.fixture(scope="module")
def schema() -> list[dict[str, Any]]:
    Rig.model_rebuild(force=True)
    return list(nodes(Rig.__pydantic_core_schema__))


def test_every_error_type_the_models_can_raise_has_our_words(schema: list[dict[str, Any]]) -> None:
    kinds = {node["type"] for node in schema}
    assert kinds <= set(ERRORS_OF) | CANNOT_FAIL
    possible = set().union(*(ERRORS_OF.get(kind, set()) for kind in kinds))
    possible |= {
        error for (kind, bound), error in ERRORS_OF_BOUND.items()
        for node in schema if node["type"] == kind and node.get(bound) is not None
    }  # fmt: skip
    assert possible <= set(WORDS)


def test_every_pattern_of_the_models_has_words(schema: list[dict[str, Any]]) -> None:
    patterns = {node["pattern"] for node in schema if node.get("pattern")}
    assert patterns == set(FORMS)


def test_every_form_is_shown_with_an_example_that_fits() -> None:
    import re

    for pattern, form in FORMS.items():
        example = form.example.replace("8a69…", "8a" * 32)
        assert re.search(pattern, example), pattern


def test_aliases_lead_to_keys_that_exist() -> None:
    assert set(ALIASES.values()) <= {field.name for field in all_fields()}


@pytest.mark.parametrize(
    ("word", "allowed", "meant"),
    [
        ("Debian13", ("debian-12", "debian-13"), "debian-13"),
        ("VLLM", ("vllm", "sglang"), "vllm"),
        ("passthrough", ("off", "pt", "on"), "pt"),
        ("off", ("off_on_gpu_paths", "keep"), "off_on_gpu_paths"),
        ("no", ("off", "firmware"), "off"),
        ("noble", ("debian-13", "ubuntu-24.04"), "ubuntu-24.04"),
        ("zebra", ("off", "pt", "on"), None),
        ("", ("off", "pt", "on"), None),
    ],
)
def test_choice_is_recognised_when_misspelt(
    word: str, allowed: tuple[str, ...], meant: str | None
) -> None:
    assert nearest_choice(word, allowed) == meant


def test_nearest_folds_dashes_and_case() -> None:
    assert nearest("Power-Limit-W", ("power_limit_w", "count")) == "power_limit_w"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("pcie", "switches", 0, "name"), "pcie.switches[0].name"),
        (("services", "glm", "environment", "A_B"), "services.glm.environment.A_B"),
        (("a", "with.dot"), 'a."with.dot"'),
        ((), ""),
    ],
)
def test_path_is_said_with_dots_and_indexes(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text


def shape(text: str) -> list[Finding]:
    return [f for f in load_text("x", text).findings if f.rule.startswith("shape.")]


def test_typo_of_a_required_key_is_one_finding() -> None:
    found = [f for f in shape("driver:\n  branchh: 580\n") if f.path[:1] == ("driver",)]
    assert [(f.rule, f.path, f.hint) for f in found] == [
        ("shape.unknown-key", ("driver", "branchh"), "did you mean `branch`?")
    ]


def test_unrelated_unknown_key_does_not_hide_the_missing_one() -> None:
    found = [f for f in shape("driver:\n  zebra: 580\n") if f.path[:1] == ("driver",)]
    assert {f.rule for f in found} == {"shape.unknown-key", "shape.missing-key"}


def test_pydantic_sentences_never_reach_the_owner() -> None:
    said = " ".join(f.message for f in shape("rigspec: 2\nname: 'A B'\nhost: [1]\ngpus: 5\n"))
    for word in ("Input should", "valid", "Field required", "Extra inputs"):
        assert word not in said


def test_sections_are_found_through_names_and_lists() -> None:
    section = section_at(("pcie", "switches", 0, "switches", 3))
    assert section is not None
    assert section.__name__ == "Switch"
    assert section_at(("pcie", "acs")) is None
    assert section_at(("no", "such", "place")) is None
