"""`gpus`: known cards, each nameable, no card claimed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.gpus import nearest_gpus, other_vendor
from rigspec.finding import Finding, Path, error
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card, references, ticked
from rigspec.spec.misnamed import nearest
from rigspec.spec.rig import Rig, members


def sku_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every `sku` is in the catalog."""
    for name, group in rig.gpus.items():
        if facts.gpu(rig, name) is not None:
            continue
        path = ("gpus", name, "sku")
        other = other_vendor(group.sku, facts.catalog)
        if other is not None:
            yield error(
                "gpus.sku-known",
                path,
                f"`{other}` is no NVIDIA card; rigspec provisions NVIDIA cards only",
            )
            continue
        near = nearest_gpus(group.sku, facts.catalog)
        yield error(
            "gpus.sku-known",
            path,
            f"`{group.sku}` is not in the catalog",
            why="memory, link and power of a card cannot be checked without its row",
            hint=(f"did you mean {' or '.join(f'`{n}`' for n in near)}? " if near else "")
            + "`rigspec catalog gpus` lists all; add your own in `catalog/gpus.yaml`",
        )


def not_in_a_slot(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A host's cards sit in PCIe slots; those soldered beside an Arm CPU are another machine."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card is not None and not card.in_pcie_slot:
            yield error(
                "gpus.not-in-a-slot",
                ("gpus", name, "sku"),
                f"{a_card(card)} sits in no PCIe slot: it is built beside the CPU of its machine",
                why="a spec describes an amd64 host with cards in slots; packages, kernel and "
                "links of its plan are not those of such an Arm machine",
                hint=f"`rigspec fit MODEL --gpu {card.sku}` says what fits on it; provision it by "
                "its maker's own image",
            )


def identity_count(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`slots` and `uuids`, where given, name every member."""
    for name, group in rig.gpus.items():
        for key, listed in (("slots", group.slots), ("uuids", group.uuids)):
            if listed and len(listed) != group.count:
                yield error(
                    "gpus.identity-count",
                    ("gpus", name, key),
                    f"`{key}` names {len(listed)} of {group.count} cards"
                    if len(listed) < group.count
                    else f"`{key}` names {len(listed)} cards, `count` is {group.count}",
                    why="members are numbered in this order; a missing one has no number",
                    hint=f"give one entry per card, or delete `{key}`",
                )


def slot_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A PCI slot holds one card."""
    places: list[tuple[str, Path]] = [
        (slot, ("gpus", name, "slots", i))
        for name, group in rig.gpus.items()
        for i, slot in enumerate(group.slots)
    ]
    yield from _twice("gpus.slot-twice", "slot", places)


def uuid_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A UUID is one card."""
    places: list[tuple[str, Path]] = [
        (uuid.lower(), ("gpus", name, "uuids", i))
        for name, group in rig.gpus.items()
        for i, uuid in enumerate(group.uuids)
    ]
    yield from _twice("gpus.uuid-twice", "UUID", places)


def _twice(rule: str, what: str, places: list[tuple[str, Path]]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for value, path in places:
        if value in first:
            found = error(
                rule,
                path,
                f"{what} `{value}` is named twice",
                why="one card cannot be two members",
                hint="`nvidia-smi -L` and `lspci -d 10de:` print what is really there",
            )
            yield replace(found, also=(first[value],))
        first.setdefault(value, path)


def groups_apart(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Two groups of the same SKU need slots or UUIDs to be told apart."""
    first: dict[str, str] = {}
    for name, group in rig.gpus.items():
        if group.slots or group.uuids:
            continue
        card = facts.gpu(rig, name)
        sku = card.sku if card else group.sku
        if sku in first:
            found = error(
                "gpus.groups-apart",
                ("gpus", name, "sku"),
                f"`{first[sku]}` and `{name}` both hold `{sku}`, and nothing tells them apart",
                why="which card belongs to which group would be left to chance",
                hint="give `uuids` (`nvidia-smi -L`) or `slots` in one of them, or make one group",
            )
            yield replace(found, also=(("gpus", first[sku], "sku"),))
        first.setdefault(sku, name)


def bridge_fits(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An NVLink bridge joins cards that have a connector for it."""
    for name, group in rig.gpus.items():
        card = facts.gpu(rig, name)
        if group.nvlink_bridge and group.count < 2:
            yield error(
                "gpus.bridge-fits",
                ("gpus", name, "nvlink_bridge"),
                f"`{name}` is one card, and a bridge joins two",
                why="sizes and speeds would count on a link that is not there",
                hint="set `count`, put both cards into this group, or delete `nvlink_bridge`",
            )
            continue
        if not group.nvlink_bridge or (card is not None and "bridge" in (card.nvlink or "")):
            continue
        if card is not None:
            yield error(
                "gpus.bridge-fits",
                ("gpus", name, "nvlink_bridge"),
                f"{a_card(card)} takes no NVLink bridge",
                why="sizes and speeds would count on a link that is not there",
                hint="delete it; a board with an NVLink switch needs no saying",
            )


def reference_exists(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every reference names a group, or a member that the group has."""
    for path, ref in references(rig):
        group, _, index = ref.partition(".")
        if group not in rig.gpus:
            meant = nearest(group, tuple(rig.gpus))
            yield error(
                "gpus.reference-exists",
                path,
                f"there is no GPU group `{group}`; `gpus` has {ticked(tuple(rig.gpus))}",
                why="links, watts and memory are counted by these names",
                hint=f"did you mean `{meant}`?" if meant else _by_index(rig, group),
            )
        elif index and int(index) >= rig.gpus[group].count:
            count = rig.gpus[group].count
            last = f"`{group}.0` to `{group}.{count - 1}`" if count > 1 else f"`{group}.0` only"
            yield error(
                "gpus.reference-exists",
                path,
                f"group `{group}` has no member {int(index)}; it has {last}",
                hint="members count from 0",
            )


def _by_index(rig: Rig, word: str) -> str:
    """What a bare number means, where there is one group that it can count in."""
    if not word.isdecimal() or len(rig.gpus) != 1:
        return ""
    ((name, group),) = rig.gpus.items()
    if int(word) >= group.count:
        return f"`{name}` is the whole group; its members are `{name}.0` and so on"
    return f"`{name}.{int(word)}` is one card, `{name}` the whole group"


def reference_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One list names a card once (`[main, main.0]` does not)."""
    seen: dict[Path, Counter[str]] = {}
    for path, ref in references(rig):
        counted = seen.setdefault(path[:-1], Counter())
        again = [m for m in members(rig.gpus, (ref,)) if counted[m]]
        counted.update(members(rig.gpus, (ref,)))
        if again:
            yield error(
                "gpus.reference-twice",
                path,
                f"`{ref}` names {ticked(tuple(again))} a second time in this list",
                hint="delete it",
            )
