"""`docs/spec.md` and `docs/rules.md`, written from the models and the rules themselves.

Tests compare the files with what these functions give, so the pages cannot fall behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from rigspec.finding import Finding, Severity
from rigspec.spec.fields import Field, all_fields, is_section, plain_type
from rigspec.spec.forms import form_of

TEXT_RULES = {
    "yaml.unreadable": "The file cannot be read, or is not UTF-8 text.",
    "yaml.empty": "The file holds only blanks and comments.",
    "yaml.not-a-mapping": "The file begins with a list or a bare word.",
    "yaml.syntax": "PyYAML refuses the text; the usual slips are said in plain words.",
    "yaml.duplicate-key": "A key is written twice in one mapping.",
    "yaml.key-not-text": "A list or a mapping stands where a key belongs.",
    "yaml.recursive-alias": "An anchor contains an alias to itself.",
    "yaml.too-many-values": "Aliases within aliases expand without measure.",
    "yaml.tag": "A tag such as `!!int` or `!foo`: every field knows its own type.",
    "yaml.merge": "`<<` takes in something that is no mapping.",
    "shape.unknown-key": "A key that the format does not have at this place.",
    "shape.missing-key": "A key without which the section has no meaning.",
    "shape.not-a-number": "A number was expected.",
    "shape.not-a-boolean": "`true` or `false` was expected.",
    "shape.not-a-text": "One text was expected.",
    "shape.not-a-list": "A list was expected.",
    "shape.not-a-mapping": "A mapping of keys was expected.",
    "shape.not-a-choice": "One of a few words was expected.",
    "shape.out-of-range": "A number outside its bounds.",
    "shape.bad-form": "A text that is not of the form its field takes.",
    "shape.too-long": "A text longer than its field takes.",
    "shape.empty": "A list, mapping or text that must not be empty.",
    "shape.bad-value": "Any other value that a field does not take.",
    "catalog.unusable": "The owner's `catalog/` beside `rigs/`, or a row of it, cannot be used.",
    "catalog.passed-over": "A file in that `catalog/` is none of the tables, and nothing reads it.",
}
"""Complaints about text and shape: `rigspec/spec/slips.py` and `rigspec/spec/wording.py`."""

_GENERATED = "<!-- Generated: `{by}`. Edits are overwritten; a test compares. -->"


def spec_page(intro: str) -> str:
    """Every field of the format, one table per section, in the order of the models."""
    lines = [_GENERATED.format(by="RIGSPEC_REWRITE=1 pytest tests/unit/report"), "", intro.rstrip()]
    for section, fields in _by_section():
        doc = inspect.getdoc(fields[0].section) or ""
        lines += ["", f"## {section or 'top level'}", "", doc.partition("\n\n")[0], ""]
        lines += ["| key | takes | default | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{f.name}` | {_cell(takes(f))} | {_cell(_default(f))} "
            f"| {_cell(f.info.description or '')} |"
            for f in fields
        ]
    return "\n".join(lines) + "\n"


def _by_section() -> list[tuple[str, list[Field]]]:
    found: dict[str, list[Field]] = {}
    for field in all_fields():
        found.setdefault(field.path[: -len(field.name)].rstrip("."), []).append(field)
    return list(found.items())


def takes(field: Field) -> str:
    """What a field takes, in words: type, form, bounds."""
    bounds = [*field.info.metadata, *_metadata(field.info.annotation)]
    return _in_words(field.leaf, bounds)


def _in_words(kind: Any, metadata: Sequence[Any]) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in args)
    if origin is tuple:
        return f"list of: {_in_words(plain_type(args[0]), _metadata(args[0]))}"
    if origin is dict:
        inner = plain_type(args[1])
        return f"mapping of name to: {_in_words(inner, _metadata(args[1]))}"
    if is_section(kind):
        return f"`{kind.__name__}` section"
    if kind is bool:
        return "`true` or `false`"
    if kind is str:
        pattern = _first(metadata, "pattern")
        return form_of(pattern).words if isinstance(pattern, str) else "text"
    word = {int: "whole number", float: "number"}.get(kind, "any value")
    return word + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    said = [
        f"{sign} {value:g}"
        for key, sign in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below"))
        if (value := _first(metadata, key)) is not None
    ]
    return f", {' '.join(said)}" if said else ""


def _first(metadata: Sequence[Any], key: str) -> Any:
    values = (getattr(item, key, None) for item in metadata)
    return next((value for value in values if value is not None), None)


def _metadata(annotation: Any) -> list[Any]:
    """Bounds that hang on a type, through `… | None` and nested `Annotated`."""
    found: list[Any] = []
    for item in (annotation, *get_args(annotation)):
        for extra in getattr(item, "__metadata__", ()):
            found += [extra, *getattr(extra, "metadata", ())]
    return found


def _default(field: Field) -> str:
    info = field.info
    if info.is_required():
        return "required"
    if info.default is PydanticUndefined:
        return "empty" if get_origin(field.leaf) is dict else "all defaults"
    if info.default is None:
        return "–"
    if info.default == ():
        return "empty"
    shown = str(info.default).lower() if isinstance(info.default, bool) else str(info.default)
    return f"`{shown}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def rules_page(
    intro: str, rules: Mapping[str, Callable[..., Any]], examples: Iterable[Finding]
) -> str:
    """Every rule with its sentence, and message, why and hint of an example."""
    first: dict[str, Finding] = {}
    for finding in examples:
        first.setdefault(finding.rule, finding)
    lines = [_GENERATED.format(by="RIGSPEC_REWRITE=1 pytest tests/unit/report"), "", intro.rstrip()]
    subject = ""
    sentences = {**TEXT_RULES, **{i: inspect.getdoc(r) or "" for i, r in rules.items()}}
    for rule, sentence in sentences.items():
        if rule.partition(".")[0] != subject:
            subject = rule.partition(".")[0]
            lines += ["", f"## {subject}"]
        lines += ["", f"### {rule}", "", sentence.partition("\n\n")[0].replace("\n", " ")]
        lines += _example(first.get(rule))
    return "\n".join(lines) + "\n"


def _example(finding: Finding | None) -> list[str]:
    if finding is None:
        return []
    kind = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
    lines = ["", f"> {kind[finding.severity]}: {finding.message}"]
    lines += [f"> why: {finding.why}"] if finding.why else []
    lines += [f"> hint: {finding.hint}"] if finding.hint else []
    return ["", "  \n".join(lines[1:])]
