"""`pcie`: every card has one place, and no link is asked for more than its ends can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.switches import find_switch, nearest_switches
from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card, named, placements, span, switches
from rigspec.spec.pcie import DirectSlots, Switch
from rigspec.spec.rig import Rig, all_members, members

GB_S_PER_LANE = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""One lane, one direction, in GB/s (PCI-SIG: 8b/10b to Gen2, 128b/130b to Gen5, FLIT in Gen6)."""


def gpu_not_placed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every card hangs somewhere in the PCIe tree."""
    placed = named(rig, placements(rig))
    missing = [m for m in all_members(rig.gpus) if m not in placed]
    if missing:
        yield error(
            "pcie.gpu-not-placed",
            ("pcie",),
            f"{span(missing)} {'have' if len(missing) > 1 else 'has'} no place in the PCIe tree",
            why="links, ACS and the fabric check need to know what lies between the cards",
            hint="name it below `pcie.direct` (CPU slots) or on one of `pcie.switches`",
        )


def gpu_placed_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No card hangs in two places."""
    for member, paths in named(rig, placements(rig)).items():
        others = [p for p in paths[1:] if p[:-1] != paths[0][:-1]]
        for path in others:
            found = error(
                "pcie.gpu-placed-twice",
                path,
                f"`{member}` is placed twice in the PCIe tree",
                hint="name each card once; members of one group are `name.0`, `name.1` …",
            )
            yield replace(found, also=(paths[0],))


def switch_name_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Switch names are unique."""
    first: dict[str, Path] = {}
    for path, switch in switches(rig):
        here = (*path, "name")
        if switch.name in first:
            found = error(
                "pcie.switch-name-twice", here, f"two switches are called `{switch.name}`"
            )
            yield replace(found, also=(first[switch.name],))
        first.setdefault(switch.name, here)


def switch_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The catalog knows the switch, and its generation is the one declared."""
    for path, switch in switches(rig):
        model = find_switch(switch.model, switch.generation, facts.catalog)
        if switch.model == "generic":
            continue
        if model is None:
            near = nearest_switches(switch.model, facts.catalog)
            yield warning(
                "pcie.switch-known",
                (*path, "model"),
                f"switch model `{switch.model}` is not in the catalog",
                why="its measured bandwidth cannot be compared; links are judged by arithmetic",
                hint=f"did you mean `{near[0]}`?"
                if near
                else "write `generic`, or add it in `catalog/switches.yaml`",
            )
        elif model.generation != switch.generation:
            yield error(
                "pcie.switch-known",
                (*path, "generation"),
                f"a {model.name} is a Gen{model.generation} switch, `generation` says "
                f"Gen{switch.generation}",
                hint=f"set `generation: {model.generation}`",
            )


def empty_switch(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A switch has something below it."""
    for path, switch in switches(rig):
        if not switch.gpus and not switch.switches:
            yield warning(
                "pcie.empty-switch",
                (*path, "name"),
                f"switch `{switch.name}` has neither GPUs nor switches below it",
                hint="name its cards: `gpus: [main]`, or delete it",
            )


def generation_above_card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No link is expected to be faster than the card on it."""
    for path, member, generation, _ in _links(rig):
        card = facts.gpu(rig, member)
        if card is not None and card.in_pcie_slot and generation > card.pcie_gen:
            yield error(
                "pcie.generation-above-card",
                path,
                f"Gen{generation} is expected of `{member}`, but {a_card(card)} is a "
                f"Gen{card.pcie_gen} card",
                why="verify would call a healthy link slow",
                hint=f"expect Gen{card.pcie_gen} there",
            )


def width_above_card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No link is expected to be wider than the card on it."""
    for path, member, _, width in _links(rig):
        card = facts.gpu(rig, member)
        if card is not None and card.in_pcie_slot and width > card.pcie_width:
            yield error(
                "pcie.width-above-card",
                (*path[:-1], "width"),
                f"x{width} is expected of `{member}`, but {a_card(card)} has "
                f"{card.pcie_width} lanes",
                why="verify would call a healthy link narrow",
                hint=f"expect x{card.pcie_width} there",
            )


def _links(rig: Rig) -> Iterator[tuple[Path, str, int, int]]:
    """One member per group and place: path of the generation, member, generation, width."""
    seen: set[tuple[Path, str]] = set()
    for path, ref in placements(rig):
        for member in members(rig.gpus, (ref,)):
            holder = _holder(rig, path)
            group = member.partition(".")[0]
            own = isinstance(holder, DirectSlots) and holder.generation is not None
            where: Path = (*path[:-2], "generation") if own else ("pcie", "generation")
            if (where, group) in seen:
                continue
            seen.add((where, group))
            direct = holder if isinstance(holder, DirectSlots) else None
            generation = (direct.generation if direct else None) or rig.pcie.generation
            width = (direct.width if direct else None) or rig.pcie.width
            yield where, member, generation, width


def _holder(rig: Rig, path: Path) -> DirectSlots | Switch | None:
    if path[1] == "direct":
        return rig.pcie.direct[int(path[2])]
    return next((s for p, s in switches(rig) if (*p, "gpus") == path[:-1]), None)


def link_above_switch(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Some port is as fast and as wide as the links that are expected."""
    # each link is reckoned with the lower of port and `pcie`: a slower switch beside a faster one
    # needs no lower figure for both
    own = [switch for _, switch in switches(rig) if switch.gpus]
    fast = any(s.generation >= rig.pcie.generation for s in own)
    wide = any(s.downstream_width >= rig.pcie.width for s in own)
    fast = fast or any(slots.generation is None for slots in rig.pcie.direct)
    wide = wide or any(slots.width is None for slots in rig.pcie.direct)
    best = max((s.generation for s in own), default=0)
    widest = max((s.downstream_width for s in own), default=0)
    for path, switch in switches(rig):
        if not switch.gpus:
            continue
        if not fast:
            yield error(
                "pcie.link-above-switch",
                (*path, "generation"),
                f"switch `{switch.name}` has Gen{switch.generation} ports, `pcie.generation` "
                f"expects Gen{rig.pcie.generation}",
                why="a link is as fast as its slower end",
                hint=f"set `pcie.generation: {best}`",
            )
        if not wide:
            yield error(
                "pcie.link-above-switch",
                (*path, "downstream_width"),
                f"switch `{switch.name}` gives x{switch.downstream_width} per port, `pcie.width` "
                f"expects x{rig.pcie.width}",
                why="a link is as wide as its narrower end",
                hint=f"set `pcie.width: {widest}`",
            )


def uplink_narrow(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The link of a switch to the CPU carries at least one card's worth."""
    for path, switch in switches(rig):
        up = _gb_s(switch.generation, switch.upstream_width)
        down = _gb_s(
            min(rig.pcie.generation, switch.generation),
            min(rig.pcie.width, switch.downstream_width),
        )
        cards = len(members(rig.gpus, switch.gpus))
        if cards and up < down:
            yield warning(
                "pcie.uplink-narrow",
                (*path, "upstream_width"),
                f"the uplink of `{switch.name}` is x{switch.upstream_width}: {up:.1f} GB/s for "
                + (
                    f"{cards} cards that take {down:.1f} GB/s each"
                    if cards > 1
                    else f"a card that takes {down:.1f} GB/s"
                ),
                why="loading weights and traffic to cards beyond the switch go at uplink speed; "
                "peer copies below the switch do not",
                hint="each SlimSAS or MCIO 8i cable carries x8: x16 takes two",
            )


def cascade_uplink(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A switch below a switch gets a port that fits its uplink."""
    for path, switch in switches(rig):
        for i, below in enumerate(switch.switches):
            if below.upstream_width > switch.downstream_width:
                yield error(
                    "pcie.cascade-uplink",
                    (*path, "switches", i, "upstream_width"),
                    f"`{below.name}` expects an x{below.upstream_width} uplink, the ports of "
                    f"`{switch.name}` are x{switch.downstream_width}",
                    hint=f"set `upstream_width: {switch.downstream_width}`",
                )


def _gb_s(generation: int, width: int) -> float:
    return GB_S_PER_LANE[generation] * width
