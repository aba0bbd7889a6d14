"""One service sized, or why it cannot be: the one place that says so for rules and screens.

The arithmetic modules are imported on use: a spec without saved facts must not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig
from rigspec.spec.services import Service

if TYPE_CHECKING:
    from rigspec.sizing.service import Sized


def sized_once(rig: Rig, name: str, facts: CheckContext) -> Sized | None:
    """One service sized, computed the first time; None where `why_unsized` says why not."""
    from rigspec.sizing.from_spec import catalog_of
    from rigspec.sizing.service import size_service

    kept = facts.sized.get(name)
    if kept is None or kept[0] is not rig:
        found = None
        if not off_cards(rig, name, facts):
            found = size_service(rig, name, facts.models, catalog_of(facts.catalog))
        kept = rig, found
        facts.sized[name] = kept
    return kept[1]


def sized_services(rig: Rig, facts: CheckContext) -> Iterator[tuple[str, Sized]]:
    """Services that can be sized: model and cards known, all of it on the cards."""
    for name in rig.services if facts.models else ():
        sized = sized_once(rig, name, facts)
        if sized is not None:
            yield name, sized


def why_unsized(rig: Rig, name: str, facts: CheckContext) -> str:
    """Why a service has no estimate, in one clause; empty when it has one."""
    service = rig.services[name]
    model = rig.models.get(service.model)
    wanted = (model.hub or model.path if model else None) or service.model
    if service.model in facts.unusable:
        return f"what is saved of `{wanted}` cannot be used: {facts.unusable[service.model]}"
    if service.model not in facts.models:
        file = f", file `{model.file}`" if model and model.file else ""
        return f"nothing is saved of `{wanted}`{file}"
    held = off_cards(rig, name, facts)
    if held:
        return f"{held}, which is not sized"
    return "" if sized_once(rig, name, facts) else "a card is not in the catalog"


def off_cards(rig: Rig, name: str, facts: CheckContext) -> str:
    """The setting that keeps a part of a known model off the cards, and where that lies; empty when
    none does."""
    known = facts.models.get(rig.services[name].model)
    if known is None:
        return ""
    from rigspec.sizing.from_spec import cards_in_use
    from rigspec.sizing.host_memory import kept_off

    return kept_off(rig.services[name], known, cards_in_use(rig, rig.services[name]))


def uncounted_of(service: Service, facts: CheckContext) -> dict[str, str]:
    """Flags of a service with a known model that take memory nobody reckons, and for what."""
    if service.model not in facts.models:
        return {}
    from rigspec.sizing.uncounted import uncounted

    return uncounted(service)
