"""All rules, in the order of the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType

from rigspec.catalog.data import CatalogError
from rigspec.errors import SpecFileError
from rigspec.finding import Finding
from rigspec.rules import (
    arguments,
    board,
    circuit,
    containers,
    driver,
    engine,
    environment,
    exposure,
    fabric,
    flags,
    gpus,
    host,
    images,
    kernel,
    memory,
    models,
    mounts,
    overrides,
    parallel,
    pcie,
    power,
    refused,
    services,
    storage,
)
from rigspec.rules.context import CheckContext, saved_context
from rigspec.rules.places import ticked
from rigspec.rules.sizable import off_cards, sized_services, uncounted_of
from rigspec.rules.to_save import to_save, unread_drafts
from rigspec.spec.beside import unusable_catalog, unusable_faults
from rigspec.spec.load import Loaded, load
from rigspec.spec.rig import Rig
from rigspec.spec.slips import PlacedFinding

Rule = Callable[[Rig, CheckContext], Iterator[Finding]]

_SUBJECTS: tuple[ModuleType, ...] = (
    host, board, gpus, pcie, fabric, kernel, arguments, circuit, power, driver, containers, storage,
    models, services, mounts, parallel, memory, exposure, images, engine, refused, flags,
    overrides, environment,
)  # fmt: skip
"""In the order of the spec."""


_UNSHAPED = "memory, power, PCIe and engine flags are judged once the above is repaired"


def _rules_of(subject: ModuleType) -> Iterator[Rule]:
    """Every public function that takes a rig and facts, in the order it is written."""
    for name, found in vars(subject).items():
        own = isinstance(found, FunctionType) and found.__module__ == subject.__name__
        if own and not name.startswith("_") and "facts" in found.__code__.co_varnames[:2]:
            yield found


RULES: tuple[Rule, ...] = tuple(rule for subject in _SUBJECTS for rule in _rules_of(subject))


def rule_id(rule: Rule) -> str:
    """`rigspec.rules.power: limit_in_range` → `power.limit-in-range`."""
    subject = rule.__module__.rpartition(".")[2]
    return f"{subject}.{rule.__name__.replace('_', '-')}"


def check(rig: Rig, facts: CheckContext | None = None) -> tuple[Finding, ...]:
    """Everything the rules have to say about a rig, in the order of the rules, each once."""
    context = facts or CheckContext()
    every = (finding for rule in RULES for finding in rule(rig, context))
    found = tuple(dict.fromkeys(every))  # two services may share one faulty model
    caused = {(f.path, rule) for f in found for rule in _FOLLOWS.get(f.rule, ())}
    return tuple(f for f in found if (f.path, f.rule) not in caused)


_SHAPES = frozenset({"parallel.heads-divide", "parallel.kv-heads-divide", "memory.shape-accepted"})
_FOLLOWS = {
    "parallel.world-size": _SHAPES,
    "engine.context-beyond-model": frozenset({"memory.fits", "memory.fits-closely"}),
}
"""What a number that cannot stay would also be wrong for: the hint leads to one that is judged
anew, so at the same place nobody needs to read both."""


def check_file(file: str) -> Loaded:
    """Load one spec and add what the rules find; facts saved beside it are used."""
    loaded = load(file)
    if loaded.rig is None:
        return replace(loaded, unchecked=(_UNSHAPED,) if loaded.source.text else ())
    found: tuple[Finding, ...]
    try:
        context = saved_context(loaded.rig, Path(file))
        found = (*_own_catalog(context), *check(loaded.rig, context))
    except CatalogError as problem:  # the owner's own rows beside the spec
        found = (unusable_catalog(problem.message, problem.hint),)
    except SpecFileError as problem:
        found = (unusable_faults(problem.message, problem.hint),)
    else:
        loaded = replace(loaded, unchecked=tuple(unchecked(loaded.rig, context)))
    return replace(loaded, findings=(*loaded.findings, *found))


def _own_catalog(context: CheckContext) -> Iterator[PlacedFinding]:
    """Files of the owner's folder that nothing reads; CatalogError where a row cannot be used."""
    if context.catalog is None:
        return
    from rigspec.catalog.own import read_own  # few owners have rows of their own

    yield from read_own(context.catalog)


def unchecked(rig: Rig, context: CheckContext) -> Iterator[str]:
    """What is no fault, and yet not proven: nothing to serve, models unread or in host memory."""
    if not rig.services:
        yield "nothing is served: the spec has no `services`"
    known = context.models.keys() | context.unusable.keys()
    for name in sorted({service.model for service in rig.services.values()} - known):
        model = rig.models.get(name)
        if model:
            commands, alike = ", or ".join(to_save(model, context)), context.alike.get(name)
            yield (
                f"whether `{name}` fits was not checked: nothing is saved of "
                f"{f'its `{model.file}`' if model.file else 'it'}; {commands} reads its config and "
                "sizes once (no weights)" + (f"; {alike} differs in capitals only" if alike else "")
            )
    for name, draft in unread_drafts(rig, context):
        yield f"the draft model of `{name}` is not reckoned: {draft}"
    for name, service in rig.services.items():
        for flag, what in uncounted_of(service, context).items():
            yield f"`{flag}` of `{name}` is not reckoned: {what}"
        held = off_cards(rig, name, context)
        if held:
            yield f"whether `{name}` fits was not checked: {held}, which is not sized"
    for name, sized in sized_services(rig, context):
        beside = ticked([other.name for other in sized.neighbours if not other.gib])
        if beside:
            yield f"`{name}` is judged without {beside}: nobody knows how much it holds of a card"
