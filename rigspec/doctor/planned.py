"""What the plan on the host says of a reading: what is as its owner declared it is no fault."""

from __future__ import annotations

from collections.abc import Iterable

from rigspec.catalog.gpus import find_gpu
from rigspec.discover.cards import Card, cards_of
from rigspec.discover.seen import Seen
from rigspec.frozen import dataclass
from rigspec.observed.pci import Kind, PciFunction
from rigspec.observed.record import known
from rigspec.plan.gpus import Place, find_places
from rigspec.plan.pcie import plan_pcie
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.rig import Rig, all_members


@dataclass(frozen=True)
class Member:
    """A card as the spec on the host declares it."""

    name: str
    group: GpuGroup
    link: Place

    @property
    def _index(self) -> int:
        return int(self.name.partition(".")[2])

    @property
    def marks(self) -> frozenset[str]:
        """Slot and UUID, where the spec names them."""
        lists = (self.group.slots, self.group.uuids)
        return frozenset(own[self._index] for own in lists if self._index < len(own))


def rig_of(seen: Seen) -> Rig | None:
    """The spec that the host was last given; None where rigspec has left none."""
    planned = known(seen.planned)
    return planned.rig if planned else None


def peers_unwanted(seen: Seen) -> bool:
    """Whether the plan does without copies from card to card."""
    rig = rig_of(seen)
    return rig is not None and not rig.pcie.peer_to_peer


def acs_kept(seen: Seen) -> bool:
    """Whether the plan leaves the ACS bits alone, and nothing asks for the direct way."""
    rig = rig_of(seen)
    return rig is not None and rig.pcie.acs == "keep" and peers_unwanted(seen)


def acs_cleared(seen: Seen) -> bool:
    """Whether the plan clears the ACS bits between GPUs at every boot."""
    rig = rig_of(seen)
    return rig is not None and rig.pcie.acs == "off_on_gpu_paths"


def planned_members(rig: Rig) -> tuple[Member, ...]:
    """Every card of the spec with the link it is to have."""
    places = find_places(rig)
    usual = Place(rig.pcie.generation, rig.pcie.width, None)
    return tuple(
        _member(name, rig.gpus[name.partition(".")[0]], places.get(name, usual))
        for name in all_members(rig.gpus)
    )


def _member(name: str, group: GpuGroup, place: Place) -> Member:
    """No link is faster than its card; a card that our catalog lacks is taken as declared."""
    card = find_gpu(group.sku)
    gen = min(place.generation, (card and card.pcie_gen) or place.generation)
    width = min(place.width, (card and card.pcie_width) or place.width)
    return Member(name, group, Place(gen, width, place.numa_node))


def members_of(seen: Seen, card: Card) -> tuple[Member, ...]:
    """Members that a card may be: the one of its slot or UUID, else those of its kind."""
    rig = rig_of(seen)
    wanted = planned_members(rig) if rig else ()
    uuid = known(card.reading.uuid) if card.reading else None
    own = tuple(m for m in wanted if m.marks & {card.address, uuid})
    return own or tuple(m for m in wanted if m.group.sku == card.sku and not m.marks)


def is_declared(
    seen: Seen, function: PciFunction, gen: int | None = None, width: int | None = None
) -> bool:
    """Whether a GPU's link, or a switch's uplink, does what the plan expects of it."""
    rig = rig_of(seen)
    if rig is None:
        return False
    if function.kind is Kind.UPSTREAM:
        links = plan_pcie(rig).uplinks
        return _reaches(((u.generation, u.width) for u in links), gen, width)
    cards = [card for card in cards_of(seen) if card.address == function.address]
    places = [member.link for card in cards for member in members_of(seen, card)]
    return _reaches(((p.generation, p.width) for p in places), gen, width)


def _reaches(links: Iterable[tuple[int, int]], gen: int | None, width: int | None) -> bool:
    """Whether one of these links asks for no more; what was not read is not held against it."""
    return any((gen or wanted) >= wanted and (width or most) >= most for wanted, most in links)
