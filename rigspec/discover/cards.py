"""GPUs of a capture as members of groups: SKU, slot, UUID, watts."""

from __future__ import annotations

import re
from collections import Counter

from rigspec.catalog.gpus import Gpu, find_gpu, gpus_with_pci_id, slug
from rigspec.discover.capture import Capture
from rigspec.discover.seen import Seen
from rigspec.frozen import dataclass
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.pci import PciFunction
from rigspec.observed.record import known


@dataclass(frozen=True)
class Card:
    """One GPU: what PCI shows and what the driver shows, either may be missing."""

    address: str
    sku: str
    model: Gpu | None
    function: PciFunction | None
    reading: GpuReading | None
    origin: str

    @property
    def named(self) -> bool:
        """Whether a text says what card it is: the table of nvidia-smi cuts long names."""
        return self.function is not None or bool(self.reading and known(self.reading.name))


@dataclass(frozen=True)
class Group:
    """Equal cards, in slot order."""

    name: str
    sku: str
    cards: tuple[Card, ...]

    def member(self, card: Card) -> str:
        """`main.0`, or `main` where the group has but one."""
        return f"{self.name}.{self.cards.index(card)}"


def cards_of(seen: Seen) -> tuple[Card, ...]:
    """All GPUs in bus order."""
    tree = known(seen.tree)
    functions = {f.address: f for f in tree.gpus} if tree else {}
    readings = {str(known(c.bus_id)): c for c in known(seen.cards) or () if known(c.bus_id)}
    return tuple(
        _card(seen, address, functions.get(address), readings.get(address))
        for address in sorted(functions.keys() | readings.keys())
    )


def shows_no_gpu(seen: Seen) -> bool:
    """Whether neither PCI nor the driver shows an NVIDIA GPU in the texts of a host."""
    listed = any(cards for _, cards in seen.listed)
    return not listed and not known(seen.attached) and not cards_of(seen)


def proves_no_gpu(seen: Seen) -> bool:
    """Of texts that show no GPU: whether PCI or the driver was asked, and answered with none."""
    return known(seen.tree) is not None or known(seen.attached) == 0


_NAMED = re.compile(
    r"\b(?:NVIDIA|Tesla|Quadro) (?:GeForce|TITAN|RTX|GTX|Quadro|Tesla|GH200|DGX|"
    r"[ABHLTVP]\d{1,4}[A-Z]*|G?B\d{3})\b|\bGeForce (?:RTX|GTX) \d"
)
"""A card's name as CUDA and engines write it; `NVIDIA Corporation` and `NVIDIA-SMI` name none."""


def names_a_gpu(capture: Capture) -> bool:
    """Whether a text names a card in use: bandwidth tests and the logs of engines do."""
    return any(_NAMED.search(line) for _, _, line in capture.places())


def _card(
    seen: Seen, address: str, function: PciFunction | None, reading: GpuReading | None
) -> Card:
    name = known(reading.name) if reading else None
    device = known(function.device_id) if function else None
    packed = known(reading.pci_device_id) if reading else None
    device = device or (packed >> 16 if packed else None)
    by_id = gpus_with_pci_id(f"{device:04x}") if device else ()
    model = (find_gpu(name) if name else None) or (by_id[0] if len(by_id) == 1 else None)
    if model is None and function is not None:
        model = _named(function.description)
    sku = model.sku if model else slug(name or "") or f"unknown-{device or 0:04x}"
    origin = seen.where("cards") if reading else seen.where("tree")
    return Card(address, sku, model, function, reading, origin)


_IN_BRACKETS = re.compile(r"NVIDIA Corporation \S+ \[([^\]]+)\]")
_NUMBER = re.compile(r"NVIDIA Corporation Device ([0-9a-f]{4})\b")


def _named(description: str) -> Gpu | None:
    """The card of lspci's words: a name in brackets, or `Device 2bb5` where pci.ids is old."""
    name, number = _IN_BRACKETS.search(description), _NUMBER.search(description)
    if name:
        return find_gpu(name.group(1))
    found = gpus_with_pci_id(number.group(1)) if number else ()
    return found[0] if len(found) == 1 else None


def groups_of(cards: tuple[Card, ...]) -> tuple[Group, ...]:
    """Cards by SKU; the largest group is `main`, the others carry the SKU's name."""
    counts = Counter(card.sku for card in cards)
    found = []
    for place, (sku, _) in enumerate(counts.most_common()):
        own = tuple(card for card in cards if card.sku == sku)
        found.append(Group("main" if place == 0 else sku[:32].strip("-"), sku, own))
    return tuple(found)
