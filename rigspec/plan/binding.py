"""Which card is `main.0`: bound at the first apply, kept on the host, compared ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.plan.render import written_by
from rigspec.plan.sections import GpuMember

BINDING_TABLE = "/etc/rigspec/gpus.tsv"
BINDING_ENVIRONMENT = "/etc/rigspec/gpus.env"
_FORGET = f"put the cards' UUIDs into the spec, or remove {BINDING_TABLE} on the host and run again"


@dataclass(frozen=True)
class SeenCard:
    """A card as the host shows it: UUID, PCI address, device id (`2bb1`)."""

    uuid: str
    slot: str
    device_id: str


@dataclass(frozen=True)
class BoundCard:
    """One member and the card it stands for."""

    member: str
    uuid: str
    slot: str


@dataclass(frozen=True)
class Binding:
    """Either every member has its card, or `problems` says why not, one sentence each."""

    cards: tuple[BoundCard, ...] = ()
    problems: tuple[str, ...] = ()


def bind_gpus(
    members: Sequence[GpuMember], seen: Sequence[SeenCard], remembered: Sequence[BoundCard] = ()
) -> Binding:
    """Give each member a card: by UUID, by slot, as remembered, else in PCI address order.

    A remembered card that is gone or has moved is a problem, unless the spec names UUIDs.
    """
    known = {card.member: card for card in remembered}
    left = {card.uuid: card for card in sorted(seen, key=lambda card: card.slot)}
    bound: dict[str, BoundCard] = {}
    problems: list[str] = []
    for member in sorted(members, key=lambda m: _looseness(m, known)):
        card = _find_card(member, known.get(member.member), left)
        if isinstance(card, str):
            problems.append(card)
        else:
            del left[card.uuid]
            bound[member.member] = BoundCard(member.member, card.uuid, card.slot)
    problems.extend(_surplus(members, left))
    if problems:
        return Binding(problems=tuple(problems))
    return Binding(tuple(bound[member.member] for member in members))


def _looseness(member: GpuMember, known: Mapping[str, BoundCard]) -> int:
    """Who chooses first: the one with the least choice."""
    if member.uuid:
        return 0
    if member.slot:
        return 1
    return 2 if member.member in known else 3


def _find_card(
    member: GpuMember, before: BoundCard | None, left: Mapping[str, SeenCard]
) -> SeenCard | str:
    """The member's card among those that are left, or what is wrong."""
    if member.uuid:
        return _with_uuid(member, member.uuid, left)
    if member.slot:
        return _in_slot(member, member.slot, left)
    if before:
        return _as_before(member, before, left)
    fitting = [card for card in left.values() if card.device_id in member.pci_ids]
    if fitting:
        return fitting[0]
    return (
        f"{member.member}: no {member.product_name} is left for it, fewer answer than the spec "
        "declares: look at `nvidia-smi -L`, power cables and seating"
    )


def _with_uuid(member: GpuMember, uuid: str, left: Mapping[str, SeenCard]) -> SeenCard | str:
    card = next((card for card in left.values() if card.uuid.lower() == uuid.lower()), None)
    if card is None:
        return f"{member.member}: its card {uuid} does not answer: look at `nvidia-smi -L`"
    return _of_kind(member, card)


def _in_slot(member: GpuMember, slot: str, left: Mapping[str, SeenCard]) -> SeenCard | str:
    card = next((card for card in left.values() if card.slot == slot), None)
    if card is None:
        return f"{member.member}: no card answers in slot {slot}: look at `nvidia-smi -L`"
    return _of_kind(member, card)


def _as_before(
    member: GpuMember, before: BoundCard, left: Mapping[str, SeenCard]
) -> SeenCard | str:
    card = left.get(before.uuid)
    if card is None:
        return (
            f"{member.member}: its card {before.uuid} (slot {before.slot}) does not answer any "
            f"more: look at `nvidia-smi -L` and cables; if it was replaced, {_FORGET}"
        )
    if card.slot != before.slot:
        return (
            f"{member.member}: its card {before.uuid} moved from slot {before.slot} to "
            f"{card.slot}; if that is meant, {_FORGET}"
        )
    return _of_kind(member, card)


def _of_kind(member: GpuMember, card: SeenCard) -> SeenCard | str:
    if card.device_id in member.pci_ids:
        return card
    return (
        f"{member.member}: the card {card.uuid} in slot {card.slot} has PCI id 10de:"
        f"{card.device_id}, but {member.product_name} is 10de:{' or 10de:'.join(member.pci_ids)}"
    )


def _surplus(members: Sequence[GpuMember], left: Mapping[str, SeenCard]) -> Iterator[str]:
    """Cards nobody wants, where it would be chance which of their kind are taken."""
    loose = {id_ for m in members if not (m.uuid or m.slot) for id_ in m.pci_ids}
    for card in left.values():
        if card.device_id in loose:
            yield (
                f"one card more than declared: {card.uuid} in slot {card.slot} (10de:"
                f"{card.device_id}); raise `count`, or say by `uuids` or `slots` which cards count"
            )


def gpus_table(rig_name: str, cards: Sequence[BoundCard]) -> str:
    """Content of /etc/rigspec/gpus.tsv: `member<TAB>uuid<TAB>slot`."""
    rows = "".join(f"{card.member}\t{card.uuid}\t{card.slot}\n" for card in cards)
    return f"{_header(rig_name)}\n# member\tuuid\tslot\n{rows}"


def parse_gpus_table(text: str) -> tuple[BoundCard, ...]:
    """The rows of /etc/rigspec/gpus.tsv; what is no row of ours is left out."""
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(BoundCard(*row) for row in rows if len(row) == 3)


def gpus_environment(rig_name: str, cards: Sequence[BoundCard]) -> str:
    """Content of /etc/rigspec/gpus.env, the same for shells: `RIGSPEC_GPU_MAIN_0=GPU-…`."""
    rows = "".join(f"{gpu_variable(card.member)}={card.uuid}\n" for card in cards)
    return f"{_header(rig_name)}\n{rows}"


def gpu_variable(member: str) -> str:
    """`main.0` as a shell variable, `RIGSPEC_GPU_MAIN_0`."""
    return "RIGSPEC_GPU_" + member.upper().replace("-", "_").replace(".", "_")


def _header(rig_name: str) -> str:
    return (
        f"{written_by(rig_name, 'gpus')}\n"
        f"# Which card stands for which member was settled at the first run; to settle it anew,\n"
        f"# remove {BINDING_TABLE} and run again."
    )
