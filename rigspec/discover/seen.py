"""Records out of a capture, each with the file it came from; what is in no file stays unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Any, TypeVar

from rigspec.discover.capture import Capture, CaptureFile, Kind
from rigspec.discover.cmdline import read_cmdline
from rigspec.discover.from_probe import driver_values, values_of_probe
from rigspec.discover.planned import Planned
from rigspec.frozen import dataclass
from rigspec.observed.containers import Cdi
from rigspec.observed.iommu_groups import devices_listed, parse_iommu_groups
from rigspec.observed.kernel import (
    Host,
    Iommu,
    Modules,
    OsRelease,
    SecureBoot,
    parse_driver_version,
    parse_os_release,
)
from rigspec.observed.kernel_log import KernelLog, parse_kernel_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.numa import Cpu, parse_lscpu
from rigspec.observed.nvidia_smi import GpuReading, parse_query_gpu
from rigspec.observed.nvidia_smi_log import (
    ListedGpu,
    parse_smi_list,
    parse_smi_log,
    parse_smi_versions,
    parse_smi_xml,
)
from rigspec.observed.nvidia_smi_table import parse_smi_table
from rigspec.observed.packages import Packages
from rigspec.observed.pci import PciTree
from rigspec.observed.pci_probe import AerCounter
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown, known
from rigspec.observed.storage import Storage, parse_findmnt
from rigspec.observed.topology import TopologyMatrix, parse_topo_matrix, parse_topo_p2p
from rigspec.observed.units import Unit

T = TypeVar("T")
_NO_STORAGE = Storage(NOT_ASKED, NOT_ASKED, NOT_ASKED)


@dataclass(frozen=True)
class Seen(Record):
    """What the texts of one host say together."""

    tree: Reading[PciTree] = NOT_ASKED
    cards: Reading[tuple[GpuReading, ...]] = NOT_ASKED
    listed: tuple[tuple[str, tuple[ListedGpu, ...]], ...] = ()
    """`nvidia-smi -L`, by file."""
    attached: Reading[int] = NOT_ASKED
    """How many GPUs the driver shows, by whichever of its outputs says most."""
    host: Reading[Host] = NOT_ASKED
    cmdline: Reading[tuple[str, ...]] = NOT_ASKED
    os: Reading[OsRelease] = NOT_ASKED
    cpu: Reading[Cpu] = NOT_ASKED
    driver: Reading[str] = NOT_ASKED
    is_open: Reading[bool] = NOT_ASKED
    iommu: Reading[Iommu] = NOT_ASKED
    modules: Reading[Modules] = NOT_ASKED
    secure_boot: Reading[SecureBoot] = NOT_ASKED
    log: Reading[KernelLog] = NOT_ASKED
    topo: Reading[TopologyMatrix] = NOT_ASKED
    p2p: Reading[TopologyMatrix] = NOT_ASKED
    aer: Reading[tuple[AerCounter, ...]] = NOT_ASKED
    packages: Reading[Packages] = NOT_ASKED
    units: Reading[Mapping[str, Unit]] = NOT_ASKED
    storage: Storage = _NO_STORAGE
    planned: Reading[Planned] = NOT_ASKED
    """What rigspec itself left on the host."""
    cdi: Cdi = field(default_factory=lambda: Cdi(NOT_ASKED, ()))
    sections: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All sections of our own probe, for the few that have no record."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Field to the file it was read from."""

    @property
    def simulated(self) -> bool:
        """Whether the probe ran on a virtual rig, whose GPUs are stand-ins."""
        return "simulated" in self.sections.get("machine", ())

    @property
    def planned_name(self) -> str:
        """The rig's name on a host that rigspec keeps; empty elsewhere."""
        planned = known(self.planned)
        return planned.name if planned else ""

    def where(self, name: str) -> str:
        """The file of a field, for comments."""
        return self.origin.get(name, "not read")


def read_seen(capture: Capture) -> Seen:
    """Every record the capture holds; a probe's own sections win over single texts."""
    seen = _of_texts(capture)
    for probe in capture.of(Kind.PROBE):
        seen = _with_probe(seen, probe)
    return replace(seen, attached=_attached(seen, capture))


def _first(
    capture: Capture, kind: Kind, read: Callable[[tuple[str, ...]], Reading[T]]
) -> tuple[Reading[T], str]:
    """The first text of a kind that can be read."""
    lost: Unknown = NOT_ASKED
    for file in capture.of(kind):
        value = read(file.lines)
        if not isinstance(value, Unknown):
            return value, file.name
        lost = value
    return lost, ""


def _of_texts(capture: Capture) -> Seen:
    tree, tree_from = _best_tree(capture)
    cards, cards_from = _best_cards(capture)
    cmdline, cmdline_from = read_cmdline(capture)
    os, os_from = _first(capture, Kind.OS_RELEASE, parse_os_release)
    cpu, cpu_from = _first(capture, Kind.LSCPU, parse_lscpu)
    topo, topo_from = _first(capture, Kind.TOPO, parse_topo_matrix)
    p2p, p2p_from = _first(capture, Kind.P2P, parse_topo_p2p)
    driver, is_open, driver_from, open_from = _driver(capture)
    dmesg = [line for file in capture.of(Kind.DMESG) for line in file.lines]
    iommu, iommu_from = _first(capture, Kind.IOMMU_GROUPS, parse_iommu_groups)
    if isinstance(iommu, Unknown):
        iommu, iommu_from = _first(capture, Kind.DMESG, _groups_in)
    mounts, mounts_from = _first(capture, Kind.FINDMNT, parse_findmnt)
    return Seen(
        tree=tree,
        cards=cards,
        listed=_lists(capture),
        cmdline=cmdline,
        os=os,
        cpu=cpu,
        topo=topo,
        p2p=p2p,
        driver=driver,
        is_open=is_open,
        iommu=iommu,
        log=parse_kernel_log(dmesg) if dmesg else NOT_ASKED,
        storage=replace(_NO_STORAGE, mounts=mounts),
        origin={
            "tree": tree_from,
            "cards": cards_from,
            "cmdline": cmdline_from,
            "os": os_from,
            "cpu": cpu_from,
            "topo": topo_from,
            "p2p": p2p_from,
            "driver": driver_from,
            "is_open": open_from,
            "iommu": iommu_from,
            "log": ", ".join(file.name for file in capture.of(Kind.DMESG)),
            "storage": mounts_from,
        },
    )


def _groups_in(log: Sequence[str]) -> Reading[Iommu]:
    return parse_iommu_groups([line for line in log if "iommu" in line])


def _best_tree(capture: Capture) -> tuple[Reading[PciTree], str]:
    """The listing with most GPUs; bridges it leaves out come from a drawing beside it."""
    lists = [(parse_lspci(file.lines), file.name) for file in capture.of(Kind.LSPCI)]
    lists += [
        (parse_lspci(devices_listed(file.lines)), file.name)
        for file in capture.of(Kind.IOMMU_GROUPS)
    ]
    drawn = [(parse_lspci_tree(f.lines), f.name) for f in capture.of(Kind.LSPCI_TREE)]
    found = [*lists, *drawn]
    if not found:
        return NOT_ASKED, ""
    tree, origin = max(found, key=lambda item: len(item[0].gpus))
    if not drawn or not lists:
        return tree, origin
    drawing = {function.address: function for function in drawn[0][0].functions}
    listed = {
        function.address: replace(function, parent=drawing[function.address].parent)
        if isinstance(function.parent, Unknown) and function.address in drawing
        else function
        for function in tree.functions
    }
    both = {**drawing, **listed}
    return PciTree(tuple(both[address] for address in sorted(both))), origin


_CARDS: Mapping[Kind, Callable[[tuple[str, ...]], Reading[tuple[GpuReading, ...]]]] = {
    Kind.SMI_CSV: parse_query_gpu,
    Kind.SMI_XML: parse_smi_xml,
    Kind.SMI_LOG: parse_smi_log,
    Kind.SMI_BANNER: parse_smi_table,
}


def _best_cards(capture: Capture) -> tuple[Reading[tuple[GpuReading, ...]], str]:
    """The nvidia-smi output with most GPUs; `-q` first, it shows BAR1 and both link ends.

    The table comes last: it cuts names, and shows no UUID.
    """
    best: Reading[tuple[GpuReading, ...]] = NOT_ASKED
    origin = ""
    for kind in (Kind.SMI_LOG, Kind.SMI_XML, Kind.SMI_CSV, Kind.SMI_BANNER):
        for file in capture.of(kind):
            cards = _CARDS[kind](file.lines)
            if isinstance(cards, tuple) and len(cards) > len(known(best) or ()):
                best, origin = cards, file.name
    return best, origin


def _lists(capture: Capture) -> tuple[tuple[str, tuple[ListedGpu, ...]], ...]:
    found = [(file.name, parse_smi_list(file.lines)) for file in capture.of(Kind.SMI_LIST)]
    return tuple((name, gpus) for name, gpus in found if isinstance(gpus, tuple))


def _driver(capture: Capture) -> tuple[Reading[str], Reading[bool], str, str]:
    """Version and flavour, each with its text: what runs now before what a log says was loaded."""
    loaded: tuple[Reading[str], Reading[bool], str] = (NOT_ASKED, NOT_ASKED, "")
    for file in (*capture.of(Kind.DMESG), *capture.of(Kind.DRIVER)):
        version, is_open = parse_driver_version(reversed(file.lines))  # the last boot of a log
        if isinstance(version, str) and is_open is not None:
            loaded = version, is_open, file.name
    version, is_open, origin = loaded
    for file in capture.of(Kind.SMI_LOG, Kind.SMI_BANNER, Kind.SMI_CSV):
        shown = parse_smi_versions(file.lines).driver
        if isinstance(shown, str) and not capture.of(Kind.DRIVER):
            return shown, is_open if shown == version else NOT_ASKED, file.name, origin
    return version, is_open, origin, origin


def _with_probe(seen: Seen, probe: CaptureFile) -> Seen:
    """The same with everything a probe's sections say."""
    better = values_of_probe(probe.sections)
    origin = {**seen.origin, **dict.fromkeys(better, probe.name)}
    sections = {**seen.sections, **probe.sections}
    return replace(seen, **better, sections=sections, origin=origin)


def with_records(seen: Seen, record: Record, origin: str) -> Seen:
    """The same with the fields of another look (`rigspec verify --save`) that we have, too."""
    own = {field.name for field in fields(Seen)} - {"origin", "sections"}
    said = {f.name: getattr(record, f.name) for f in fields(record) if f.name in own}
    better: dict[str, Any] = {n: v for n, v in said.items() if not isinstance(v, Unknown)}
    host, modules = known(getattr(record, "host", NOT_ASKED)), known(seen.modules)
    if isinstance(host, Host):
        better |= {"cmdline": host.cmdline, "os": host.os}
    modules = better.get("modules", modules)
    if isinstance(modules, Modules):
        better |= driver_values(modules)
    if isinstance(cards := better.get("cards"), tuple):
        better["attached"] = len(cards)
    where = {**seen.origin, **dict.fromkeys(better, origin)}
    sections = seen.sections
    if getattr(record, "simulated", False):
        sections = {**sections, "machine": ["simulated"]}
    return replace(seen, **better, origin=where, sections=sections)


_ATTACHED = re.compile(r"^Attached GPUs\s*:\s*(\d+)", re.MULTILINE)


def _attached(seen: Seen, capture: Capture) -> Reading[int]:
    counts = [_listed(gpus) for _, gpus in seen.listed]
    counts += [len(value) for value in (seen.cards,) if isinstance(value, tuple)]
    matrices = (known(seen.topo), known(seen.p2p))
    counts += [len(matrix.gpus) for matrix in matrices if matrix is not None]
    for file in capture.of(Kind.SMI_LOG):
        counts += [int(match) for match in _ATTACHED.findall("\n".join(file.lines))]
    return max(counts) if counts else NOT_ASKED


def _listed(gpus: Sequence[ListedGpu]) -> int:
    """How many a listing shows, each once; those above one whose head was cut off count, too."""
    numbers = [gpu.index for gpu in gpus]
    return max(numbers) + 1 if min(numbers, default=0) else len({gpu.uuid for gpu in gpus})
