"""The power stage: which card is which member, and the caps every boot sets and reads back."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.gpus import BINDING, BINDING_ENV, GpuStage, GpuState
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.record import Unknown, known
from rigspec.operations.files import differing, write
from rigspec.operations.pcie import scripts
from rigspec.operations.shell import UNREADABLE, refuse
from rigspec.operations.units import start, unit_changes
from rigspec.plan.binding import (
    Binding,
    BoundCard,
    SeenCard,
    bind_gpus,
    gpus_environment,
    gpus_table,
    parse_gpus_table,
)
from rigspec.plan.sections import GpuMember, PowerPlan, RenderedFile

Commands = Generator[StringCommand | FunctionCommand, None, None]


def seen_cards(cards: Iterable[GpuReading]) -> tuple[SeenCard, ...]:
    """Cards that say who and where they are, as the binding wants them."""
    found = []
    for card in cards:
        uuid, slot, device = known(card.uuid), known(card.bus_id), known(card.pci_device_id)
        if uuid and slot and device is not None:
            # nvidia-smi prints device and vendor in one word, 0x2bb110de
            found.append(SeenCard(uuid, slot, f"{(device >> 16) or device:04x}"))
    return tuple(found)


def bind(members: tuple[GpuMember, ...], seen: GpuState) -> Binding:
    """Members to cards, or why not."""
    if isinstance(seen.cards, Unknown):
        said = f" ({seen.cards.line})" if seen.cards.line else ""
        return Binding(
            problems=(
                f"nvidia-smi does not answer: {seen.cards.reason}{said}; look at "
                "`dmesg | grep -i nvrm` and `dkms status`",
            )
        )
    return bind_gpus(members, seen_cards(seen.cards), parse_gpus_table(seen.binding))


def binding_files(rig: str, cards: tuple[BoundCard, ...]) -> tuple[RenderedFile, ...]:
    """The binding for us and for shells."""
    return (
        RenderedFile(BINDING, gpus_table(rig, cards), "gpus"),
        RenderedFile(BINDING_ENV, gpus_environment(rig, cards), "gpus"),
    )


def uncapped(plan: PowerPlan, cards: tuple[BoundCard, ...], seen: GpuState) -> tuple[str, ...]:
    """Members whose card enforces another limit than planned, or has lost persistence mode."""
    if isinstance(seen.cards, Unknown):
        return ()
    by_uuid = {known(card.uuid): card for card in seen.cards}
    limits = dict(plan.limits_w)
    found = []
    for bound in cards:
        card = by_uuid.get(bound.uuid)
        if card is None:
            continue
        wanted = limits.get(bound.member, known(card.power_default_w))
        enforced = known(card.power_enforced_w)
        differs = wanted is not None and enforced is not None and round(enforced) != round(wanted)
        if differs or known(card.persistence) is False:
            found.append(bound.member)
    return tuple(found)


@operation()
def bound_and_capped(*, rig: str, members: tuple[GpuMember, ...], plan: PowerPlan) -> Commands:
    """Every member has its card, and every card enforces its cap."""
    paths = tuple(file.dest for file in plan.files)
    seen = host.get_fact(GpuStage, paths=paths, units=plan.units)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    binding = bind(members, seen)
    if binding.problems:
        yield refuse("\n".join(binding.problems))
        return
    files = (*binding_files(rig, binding.cards), *plan.files)
    wrong = differing(files, seen.files)
    if wrong:
        yield write(wrong)
    read = dict.fromkeys(plan.units, (BINDING, *scripts(plan.files)))
    steps = list(unit_changes(plan.units, seen.units, wrong, inputs=read, files=seen.files))
    yield from steps
    if not steps and uncapped(plan, binding.cards, seen):
        # a second writer changed a limit after boot: the unit sets it again
        yield from (start(unit, "reload") for unit in plan.units)
    elif not steps and not wrong:
        host.noop(f"{len(members)} cards are bound and capped as planned")
