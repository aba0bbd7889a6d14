"""The cards: as many as declared, each bound to its member, answering, in its slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from rigspec.observed.pci import PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import GpuMember, Plan
from rigspec.verify.advice import run_stage
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

LOOK_AT_SLOT = (
    "look at: lspci -tv; dmesg | grep -i -e 'fallen off' -e 'can.t assign'; power cables, riser "
    "and seating of the card; a cold start (mains off for a minute)"
)


def verify_gpus(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the cards as such."""
    yield from on_the_bus(plan.preflight.gpus, seen)
    for member in plan.preflight.gpus:
        yield answering(member, seen)
    yield from bridges(plan.preflight.gpus, seen)
    yield temperatures(plan, seen)


def on_the_bus(members: tuple[GpuMember, ...], seen: Observation) -> Iterator[Verdict]:
    """Per kind of card: as many on the PCI bus as declared."""
    groups: dict[tuple[str, ...], list[GpuMember]] = {}
    for member in members:
        groups.setdefault(member.pci_ids, []).append(member)
    for ids, same in groups.items():
        check = Check(
            f"gpus.present.{same[0].sku}",
            f"{same[0].product_name} on the PCI bus",
            "sysfs, vendor 10de class 03xx",
            str(len(same)),
            f"gpus.{group_of(same[0])}.count",
        )
        if isinstance(seen.tree, Unknown):
            yield check.unknown(seen.tree)
            continue
        yield _counted(check, same, ids, seen.tree)


def _counted(check: Check, same: list[GpuMember], ids: tuple[str, ...], tree: PciTree) -> Verdict:
    found = [gpu for gpu in tree.gpus if device_id(gpu) in ids]
    places = listed(gpu.address for gpu in found)
    text = f"{len(found)} at {places}" if found else "none"
    if len(found) == len(same):
        return check.passed(text)
    others = Counter(device_id(gpu) for gpu in tree.gpus if device_id(gpu) not in ids)
    more = f"; other NVIDIA cards: {listed(f'{n} × 10de:{i}' for i, n in others.items())}"
    text += more if others else ""
    if not tree.complete:
        return check.unknown("the list of PCI devices was cut off")
    if len(found) < len(same):
        reason = f"{len(same) - len(found)} declared card(s) do not show up on the bus"
        return check.failed(text, reason, LOOK_AT_SLOT)
    if any(member.uuid or member.slot for member in same):
        return check.warned(text, "more cards than declared; `uuids` or `slots` say which count")
    return check.failed(text, "more cards than declared", "raise `count`, or name `uuids`")


def group_of(member: GpuMember) -> str:
    """The group in the YAML: `main` of `main.0`."""
    return member.member.rpartition(".")[0]


def device_id(function: PciFunction) -> str:
    """The PCI device id as the plan writes it, `2bb1`; empty when unread."""
    device = known(function.device_id)
    return "" if device is None else f"{device:04x}"


def functions_of(
    members: tuple[GpuMember, ...], seen: Observation
) -> Mapping[str, Reading[PciFunction]]:
    """Each member's PCI function: as bound, by its slot, else by kind in bus order."""
    if isinstance(seen.tree, Unknown):
        return dict.fromkeys((member.member for member in members), seen.tree)
    left = list(seen.tree.gpus)
    found: dict[str, Reading[PciFunction]] = {}
    fixed = {m.member: (b.slot if (b := seen.bound.get(m.member)) else m.slot) for m in members}
    for member in sorted(members, key=lambda m: fixed[m.member] is None):
        slot = fixed[member.member]
        match = next(
            (g for g in left if (g.address == slot if slot else device_id(g) in member.pci_ids)),
            None,
        )
        if match is None:
            where = f" in slot {slot}" if slot else ""
            found[member.member] = Unknown(f"no card for {member.member}{where} on the PCI bus")
        else:
            left.remove(match)
            found[member.member] = match
    return found


def answering(member: GpuMember, seen: Observation) -> Verdict:
    """The bound card answers nvidia-smi, at the slot it was bound in."""
    bound = seen.bound.get(member.member)
    check = Check(
        f"gpus.answers.{member.member}",
        f"{member.member} answers",
        "nvidia-smi --query-gpu",
        f"{bound.uuid} at {bound.slot}" if bound else "a bound card",
        f"gpus.{group_of(member)}",
    )
    if bound is None:
        return check.failed("not bound", "no card is bound to it", run_stage("power"))
    if member.uuid not in {None, bound.uuid} or member.slot not in {None, bound.slot}:
        return check.failed(
            f"bound to {bound.uuid} at {bound.slot}",
            f"the spec names {member.uuid or f'the card at {member.slot}'}",
            "correct `uuids` or `slots`; or rm /etc/rigspec/gpus.tsv on the host, and run again",
        )
    if isinstance(seen.cards, Unknown):
        return check.unknown(seen.cards, "look at: dmesg | grep -i nvrm; dkms status")
    card = next((card for card in seen.cards if card.uuid == bound.uuid), None)
    if card is None:
        return check.failed("does not answer", "the bound card is gone", LOOK_AT_SLOT)
    if isinstance(card.bus_id, Unknown):
        return check.unknown(card.bus_id)
    found = f"{bound.uuid} at {card.bus_id}"
    if card.bus_id == bound.slot:
        return check.passed(found)
    return check.failed(
        found,
        "the card has moved to another slot",
        "if that is meant: rm /etc/rigspec/gpus.tsv on the host, or name `uuids`, and run again",
    )


def bridges(members: tuple[GpuMember, ...], seen: Observation) -> Iterator[Verdict]:
    """One row per pair that an NVLink bridge joins, as the driver sees it."""
    for member in members:
        if member.nvlink_peer and member.member < member.nvlink_peer:
            yield _bridge(member.member, member.nvlink_peer, seen)


def _bridge(one: str, other: str, seen: Observation) -> Verdict:
    check = Check(
        f"gpus.nvlink.{one}",
        f"{one} and {other}: NVLink",
        "nvidia-smi topo -m",
        "NVLink between them",
        f"gpus.{one.rpartition('.')[0]}.nvlink_bridge",
    )
    if seen.simulated:
        return check.not_applicable("the virtual rig has no NVLink")
    word = _between(one, other, seen)
    if isinstance(word, Unknown):
        return check.unknown(word, "look at: nvidia-smi topo -m; nvidia-smi nvlink -s")
    if word.startswith("NV"):
        return check.passed(f"{word}: {word.removeprefix('NV')} links")
    return check.failed(
        f"{word}: PCIe only",
        "the bridge is not seated, or joins other cards: pairs are the first with the second, the "
        "third with the fourth",
        "switch off, reseat the bridge; look at: nvidia-smi nvlink -s; or order `slots` by pairs",
    )


def _between(one: str, other: str, seen: Observation) -> Reading[str]:
    """The driver's word for the way from one member's card to the other's: `NV4`, `PHB`, …."""
    at: list[int] = []
    for member in (one, other):
        card = seen.card(member)
        index = card if isinstance(card, Unknown) else card.index
        if isinstance(index, Unknown):
            return index
        at.append(index)
    matrix = seen.topology
    return matrix if isinstance(matrix, Unknown) else matrix.between(*at)


def temperatures(plan: Plan, seen: Observation) -> Verdict:
    """No card is hotter than the spec's limit."""
    limit = plan.verify.max_temperature_c
    check = Check(
        "gpus.temperature",
        "GPU temperatures",
        "nvidia-smi temperature.gpu",
        f"at most {limit} °C",
        "verify.max_temperature_c",
    )
    if isinstance(seen.cards, Unknown):
        return check.unknown(seen.cards)
    degrees = [c for card in seen.cards if (c := known(card.temperature_c)) is not None]
    if not degrees or len(degrees) < len(seen.cards):
        return check.unknown("not every card tells its temperature")
    found = f"at most {max(degrees)} °C"
    if max(degrees) <= limit:
        return check.passed(found)
    return check.failed(
        found,
        "a card is hotter than the spec allows",
        "look at: fans, dust, air flow; nvidia-smi -q -d TEMPERATURE",
    )
