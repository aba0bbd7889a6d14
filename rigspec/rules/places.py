"""Where things stand in the spec: every list of GPU references with its path, every switch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rigspec.catalog.gpus import Gpu
from rigspec.finding import Path
from rigspec.spec.pcie import Switch
from rigspec.spec.rig import Rig, is_bridged_pair, members
from rigspec.spec.services import Service

if TYPE_CHECKING:
    from rigspec.rules.context import CheckContext


def switches(rig: Rig) -> Iterator[tuple[Path, Switch]]:
    """Every switch of the tree with its path, parents first."""
    yield from _below(("pcie",), rig.pcie.switches)


def _below(path: Path, listed: tuple[Switch, ...]) -> Iterator[tuple[Path, Switch]]:
    for i, switch in enumerate(listed):
        here = (*path, "switches", i)
        yield here, switch
        yield from _below(here, switch.switches)


def placements(rig: Rig) -> Iterator[tuple[Path, str]]:
    """Every GPU reference of the PCIe tree."""
    for i, direct in enumerate(rig.pcie.direct):
        yield from _listed(("pcie", "direct", i, "gpus"), direct.gpus)
    for path, switch in switches(rig):
        yield from _listed((*path, "gpus"), switch.gpus)


def joined_by_nvlink(rig: Rig, facts: CheckContext, service: Service) -> bool:
    """Whether NVLink joins all cards of a service: one bridge, or a board's switch."""
    cards = [facts.gpu(rig, ref) for ref in service.gpus]
    switched = all(card is not None and "switch" in (card.nvlink or "") for card in cards)
    return switched or is_bridged_pair(rig.gpus, members(rig.gpus, service.gpus))


def feeds(rig: Rig) -> Iterator[tuple[Path, str]]:
    """Every GPU reference of the power supplies."""
    for i, psu in enumerate(rig.power.psus):
        yield from _listed(("power", "psus", i, "gpus"), psu.gpus)


def uses(rig: Rig) -> Iterator[tuple[Path, str]]:
    """Every GPU reference of the services."""
    for name, service in rig.services.items():
        yield from _listed(("services", name, "gpus"), service.gpus)


def references(rig: Rig) -> Iterator[tuple[Path, str]]:
    """Every GPU reference of the spec."""
    yield from placements(rig)
    yield from feeds(rig)
    yield from uses(rig)


def _listed(path: Path, refs: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for i, ref in enumerate(refs):
        yield (*path, i), ref


def named(rig: Rig, found: Iterator[tuple[Path, str]]) -> dict[str, list[Path]]:
    """Member → every place that names it."""
    places: dict[str, list[Path]] = {}
    for path, ref in found:
        for member in members(rig.gpus, (ref,)):
            places.setdefault(member, []).append(path)
    return places


def ticked(words: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    """Words as literals, with commas."""
    return ", ".join(f"`{word}`" for word in words)


def span(found: list[str] | tuple[str, ...]) -> str:
    """Members in words: one, a few, or a count."""
    if len(found) <= 4:
        return ticked(tuple(found))
    return f"{ticked(tuple(found[:3]))} and {len(found) - 3} more"


def a_card(card: Gpu) -> str:
    """A card's name with its article: `an NVIDIA L20`, `a Tesla P40`."""
    return f"{'an' if card.name[:1] in 'AEIONX' else 'a'} {card.name}"
