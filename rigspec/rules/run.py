"""All rules, in the order of the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rigspec.finding import Finding
from rigspec.rules.context import CheckContext, saved_context
from rigspec.spec.load import Loaded, load
from rigspec.spec.rig import Rig

Rule = Callable[[Rig, CheckContext], Iterator[Finding]]

RULES: tuple[Rule, ...] = ()


def rule_id(rule: Rule) -> str:
    """`rigspec.rules.power: limit_in_range` → `power.limit-in-range`."""
    subject = rule.__module__.rpartition(".")[2]
    return f"{subject}.{rule.__name__.replace('_', '-')}"


def check(rig: Rig, facts: CheckContext | None = None) -> tuple[Finding, ...]:
    """Everything the rules have to say about a rig, in the order of the rules."""
    context = facts or CheckContext()
    return tuple(finding for rule in RULES for finding in rule(rig, context))


def check_file(file: str) -> Loaded:
    """Load one spec and add what the rules find; facts of models come from `models/` beside it."""
    loaded = load(file)
    if loaded.rig is None:
        return loaded
    found = check(loaded.rig, saved_context(loaded.rig, Path(file).parent / "models"))
    return replace(loaded, findings=(*loaded.findings, *found))
