"""Everything verify looks at, read off a host in one go; what was not asked is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property

from rigspec.frozen import dataclass
from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import Completion, HttpAnswer, ServedModel
from rigspec.observed.exposure import ContainerImage, Listener, RouteAnswer
from rigspec.observed.kernel import Host, Iommu, Modules, RefusedOption, SecureBoot
from rigspec.observed.kernel_log import KernelLog
from rigspec.observed.last_boot import LastBoot
from rigspec.observed.load import LoadReading
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.packages import Packages
from rigspec.observed.pairs import FabricReading
from rigspec.observed.pci import PciFunction, PciTree
from rigspec.observed.pci_probe import AerCounter
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown, known
from rigspec.observed.storage import Storage
from rigspec.observed.topology import TopologyMatrix
from rigspec.observed.units import Unit
from rigspec.observed.upkeep import Upkeep
from rigspec.plan.binding import BoundCard


@dataclass(frozen=True)
class Answers(Record):
    """What one service said to the smoke test."""

    models: Reading[tuple[ServedModel, ...]] = NOT_ASKED
    without_key: HttpAnswer | None = None
    """A request without the key, where one is required."""
    completion: Reading[Completion] = NOT_ASKED
    stream: Reading[Completion] = NOT_ASKED
    seconds: Reading[float] = NOT_ASKED
    cards: Reading[tuple[str, ...]] = NOT_ASKED
    """UUIDs the container sees."""
    stopped: Reading[Completion] = NOT_ASKED
    """A completion that was to end at the first blank, or after STREAM_TOKENS tokens."""
    slot_context: Reading[int] | None = None
    """Tokens of one slot, as llama.cpp's /props says; None for other engines."""
    routes: Reading[tuple[RouteAnswer, ...]] | None = None
    """Every route without the key; None where no key is planned."""
    image: ContainerImage = field(default_factory=lambda: ContainerImage(NOT_ASKED, NOT_ASKED))


@dataclass(frozen=True)
class Observation(Record):
    """One look at a host."""

    host: Reading[Host] = NOT_ASKED
    cpu_vendor: Reading[str] = NOT_ASKED
    iommu: Reading[Iommu] = NOT_ASKED
    modules: Reading[Modules] = NOT_ASKED
    secure_boot: Reading[SecureBoot] = NOT_ASKED
    key_enrolled: Reading[bool] = NOT_ASKED
    """Whether the firmware trusts the key that DKMS signs with."""
    refused: Reading[tuple[RefusedOption, ...]] = NOT_ASKED
    log: Reading[KernelLog] = NOT_ASKED
    """What matters in this boot's kernel log."""
    last_boot: Reading[LastBoot] = NOT_ASKED
    next_boot: Reading[tuple[str, ...]] = NOT_ASKED
    """Kernel arguments of GRUB's first entry."""
    tree: Reading[PciTree] = NOT_ASKED
    aer: Reading[tuple[AerCounter, ...]] = NOT_ASKED
    """PCIe errors that functions have counted since boot."""
    cards: Reading[tuple[GpuReading, ...]] = NOT_ASKED
    topology: Reading[TopologyMatrix] = NOT_ASKED
    """How the driver says that cards reach each other; only where a bridge is planned."""
    binding: tuple[BoundCard, ...] = ()
    packages: Reading[Packages] = NOT_ASKED
    units: Reading[Mapping[str, Unit]] = NOT_ASKED
    cdi: Cdi = field(default_factory=lambda: Cdi(NOT_ASKED, ()))
    storage: Storage = field(default_factory=lambda: Storage(NOT_ASKED, NOT_ASKED, NOT_ASKED))
    models: Mapping[str, bool] | Unknown = NOT_ASKED
    """By model: whether its weights are there and complete."""
    weights_lack: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By model: files that are missing or damaged, one sentence each."""
    answers: Mapping[str, Answers] = field(default_factory=dict)
    listeners: Reading[tuple[Listener, ...]] = NOT_ASKED
    upkeep: Upkeep = field(default_factory=Upkeep)
    fabric: Reading[FabricReading] = NOT_ASKED
    """The benchmark's last run on this host (`rigspec verify --load`), however old it is."""
    load: Reading[LoadReading] = NOT_ASKED
    """The cards during that run."""
    burn: Reading[LoadReading] = NOT_ASKED
    """The last run of `rigspec burn`."""
    simulated: bool = False
    """The lab's marker was found: GPUs, driver and engine are stand-ins."""

    @property
    def is_guest(self) -> bool:
        """Whether PCI readings come out of a hypervisor and prove nothing (the lab's do)."""
        host = known(self.host)
        virt = known(host.virtualization) if host else None
        return not self.simulated and virt not in {None, "none"}

    @cached_property
    def bound(self) -> dict[str, BoundCard]:
        """Bound cards by member."""
        return {card.member: card for card in self.binding}

    def card(self, member: str) -> Reading[GpuReading]:
        """What nvidia-smi says about a member's card."""
        if member not in self.bound:
            return Unknown(f"no card is bound to {member} in /etc/rigspec/gpus.tsv")
        if isinstance(self.cards, Unknown):
            return self.cards
        uuid = self.bound[member].uuid
        found = next((card for card in self.cards if card.uuid == uuid), None)
        return found or Unknown(f"{uuid} does not answer")

    def function(self, address: str) -> Reading[PciFunction]:
        """A PCI function by address."""
        if isinstance(self.tree, Unknown):
            return self.tree
        return self.tree.by_address.get(address) or Unknown(f"{address} is not on the PCI bus")
