"""Records out of a capture, each with the file it came from; what is in no file stays unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rigspec.discover.capture import Capture, CaptureFile, Kind
from rigspec.observed.containers import Cdi, parse_cdi_probe
from rigspec.observed.kernel import (
    Host,
    Iommu,
    Modules,
    OsRelease,
    SecureBoot,
    parse_driver_version,
    parse_host_probe,
    parse_iommu_probe,
    parse_modules_probe,
    parse_os_release,
    parse_secure_boot_probe,
    split_cmdline,
)
from rigspec.observed.kernel_log import KernelLog, parse_kernel_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.numa import Cpu, parse_lscpu
from rigspec.observed.nvidia_smi import GpuReading, parse_query_gpu, parse_smi_probe
from rigspec.observed.nvidia_smi_log import (
    ListedGpu,
    parse_smi_list,
    parse_smi_log,
    parse_smi_versions,
    parse_smi_xml,
)
from rigspec.observed.packages import Packages, parse_packages_probe
from rigspec.observed.pci import PciTree
from rigspec.observed.pci_probe import AerCounter, parse_aer_probe, parse_pci_probe
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown, known
from rigspec.observed.sections import section
from rigspec.observed.storage import Storage, parse_findmnt, parse_storage_probe
from rigspec.observed.topology import TopologyMatrix, parse_topo_matrix, parse_topo_p2p
from rigspec.observed.units import Unit, parse_units_probe

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
    cdi: Cdi = field(default_factory=lambda: Cdi(NOT_ASKED, ()))
    sections: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All sections of our own probe, for the few that have no record."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Field to the file it was read from."""

    @property
    def simulated(self) -> bool:
        """Whether the probe ran on a virtual rig, whose GPUs are stand-ins."""
        return "simulated" in self.sections.get("machine", ())

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
    cmdline, cmdline_from = _first(capture, Kind.CMDLINE, lambda x: split_cmdline(x[0]))
    os, os_from = _first(capture, Kind.OS_RELEASE, parse_os_release)
    cpu, cpu_from = _first(capture, Kind.LSCPU, parse_lscpu)
    topo, topo_from = _first(capture, Kind.TOPO, parse_topo_matrix)
    p2p, p2p_from = _first(capture, Kind.P2P, parse_topo_p2p)
    driver, is_open, driver_from = _driver(capture)
    dmesg = [line for file in capture.of(Kind.DMESG) for line in file.lines]
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
            "log": ", ".join(file.name for file in capture.of(Kind.DMESG)),
            "storage": mounts_from,
        },
    )


def _best_tree(capture: Capture) -> tuple[Reading[PciTree], str]:
    """The listing with most GPUs; bridges it leaves out come from a drawing beside it."""
    lists = [(parse_lspci(file.lines), file.name) for file in capture.of(Kind.LSPCI)]
    drawn = [(parse_lspci_tree(f.lines), f.name) for f in capture.of(Kind.LSPCI_TREE)]
    found = [*lists, *drawn]
    if not found:
        return NOT_ASKED, ""
    tree, origin = max(found, key=lambda item: len(item[0].gpus))
    if not drawn or not lists:
        return tree, origin
    drawing = {
        f.address: replace(f, class_code=0x0604) if isinstance(f.secondary_bus, int) else f
        for f in drawn[0][0].functions
    }
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
}


def _best_cards(capture: Capture) -> tuple[Reading[tuple[GpuReading, ...]], str]:
    """The nvidia-smi output with most GPUs; `-q` first, it shows BAR1 and both link ends."""
    best: Reading[tuple[GpuReading, ...]] = NOT_ASKED
    origin = ""
    for kind in (Kind.SMI_LOG, Kind.SMI_XML, Kind.SMI_CSV):
        for file in capture.of(kind):
            cards = _CARDS[kind](file.lines)
            if isinstance(cards, tuple) and len(cards) > len(known(best) or ()):
                best, origin = cards, file.name
    return best, origin


def _lists(capture: Capture) -> tuple[tuple[str, tuple[ListedGpu, ...]], ...]:
    found = [(file.name, parse_smi_list(file.lines)) for file in capture.of(Kind.SMI_LIST)]
    return tuple((name, gpus) for name, gpus in found if isinstance(gpus, tuple))


def _driver(capture: Capture) -> tuple[Reading[str], Reading[bool], str]:
    for file in capture.of(Kind.DRIVER):
        version, is_open = parse_driver_version(file.lines)
        if isinstance(version, str):
            return version, NOT_ASKED if is_open is None else is_open, file.name
    for file in capture.of(Kind.SMI_LOG, Kind.SMI_BANNER, Kind.SMI_CSV):
        shown = parse_smi_versions(file.lines).driver
        if isinstance(shown, str):
            return shown, NOT_ASKED, file.name
    return NOT_ASKED, NOT_ASKED, ""


def _with_probe(seen: Seen, probe: CaptureFile) -> Seen:
    """The same with everything a probe's sections say."""
    at = probe.sections
    host, modules, storage = (
        parse_host_probe(at),
        parse_modules_probe(at),
        parse_storage_probe(at),
    )
    loaded = known(modules)
    version = loaded.nvidia_version if loaded else None
    is_open = loaded.nvidia_is_open if loaded else None
    said: dict[str, object] = {
        "tree": parse_pci_probe(at),
        "cards": _probe_cards(at),
        "host": host,
        "cmdline": host if isinstance(host, Unknown) else host.cmdline,
        "os": host if isinstance(host, Unknown) else host.os,
        "cpu": _parsed(at, "cpu", parse_lscpu),
        "driver": NOT_ASKED if version is None else version,
        "is_open": NOT_ASKED if is_open is None else is_open,
        "iommu": parse_iommu_probe(at),
        "modules": modules,
        "secure_boot": parse_secure_boot_probe(at),
        "log": _parsed(at, "kernel-log", parse_kernel_log),
        "topo": _parsed(at, "smi-topo", parse_topo_matrix),
        "p2p": _parsed(at, "smi-p2p", parse_topo_p2p),
        "aer": parse_aer_probe(at),
        "packages": parse_packages_probe(at),
        "units": parse_units_probe(at),
    }
    better = {name: value for name, value in said.items() if not isinstance(value, Unknown)}
    if not isinstance(storage.mounts, Unknown):
        better["storage"] = storage
    if not isinstance((cdi := parse_cdi_probe(at)).devices, Unknown):
        better["cdi"] = cdi
    origin = {**seen.origin, **dict.fromkeys(better, probe.name)}
    return replace(seen, **better, sections={**seen.sections, **at}, origin=origin)  # type: ignore[arg-type]  # names are fields, values their parsers'


def _probe_cards(at: Mapping[str, Sequence[str]]) -> Reading[tuple[GpuReading, ...]]:
    """Cards of the query, with BAR1 from the section that asks for memory."""
    cards = parse_smi_probe(at)
    more = _parsed(at, "smi-memory", parse_smi_log)
    if isinstance(cards, Unknown) or isinstance(more, Unknown):
        return cards
    bars = {known(card.bus_id): card.bar1_total_mib for card in more}
    return tuple(
        replace(card, bar1_total_mib=bars.get(known(card.bus_id), card.bar1_total_mib))
        for card in cards
    )


def _parsed(
    at: Mapping[str, Sequence[str]], name: str, read: Callable[[list[str]], Reading[T]]
) -> Reading[T]:
    lines = section(at, name)
    return lines if isinstance(lines, Unknown) else read(lines)


_ATTACHED = re.compile(r"^Attached GPUs\s*:\s*(\d+)", re.MULTILINE)


def _attached(seen: Seen, capture: Capture) -> Reading[int]:
    counts = [len(gpus) for _, gpus in seen.listed]
    counts += [len(value) for value in (seen.cards,) if isinstance(value, tuple)]
    counts += [len(topo.gpus) for topo in (seen.topo,) if isinstance(topo, TopologyMatrix)]
    for file in capture.of(Kind.SMI_LOG):
        counts += [int(match) for match in _ATTACHED.findall("\n".join(file.lines[:40]))]
    return max(counts) if counts else NOT_ASKED
