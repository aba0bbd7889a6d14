"""Records out of the sections of our own probe, by the names of `Seen`'s fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from rigspec.discover.planned import parse_planned_probe
from rigspec.observed.containers import parse_cdi_probe
from rigspec.observed.kernel import (
    Modules,
    parse_host_probe,
    parse_iommu_probe,
    parse_modules_probe,
    parse_secure_boot_probe,
)
from rigspec.observed.kernel_log import parse_kernel_log_probe
from rigspec.observed.numa import parse_lscpu
from rigspec.observed.nvidia_smi import GpuReading, parse_smi_probe
from rigspec.observed.nvidia_smi_log import parse_smi_log
from rigspec.observed.packages import parse_packages_probe
from rigspec.observed.pci_probe import parse_aer_probe, parse_pci_probe
from rigspec.observed.record import Reading, Unknown, known
from rigspec.observed.sections import section
from rigspec.observed.storage import parse_storage_probe
from rigspec.observed.topology import parse_topo_matrix, parse_topo_p2p
from rigspec.observed.units import Unit, parse_units_probe

T = TypeVar("T")
Sections = Mapping[str, Sequence[str]]


def values_of_probe(at: Sections) -> dict[str, Any]:
    """Every field that the sections give; what they do not say is left out."""
    host, modules = parse_host_probe(at), parse_modules_probe(at)
    storage, cdi = parse_storage_probe(at), parse_cdi_probe(at)
    said: dict[str, Any] = {
        "tree": parse_pci_probe(at),
        "cards": _cards(at),
        "host": host,
        "cmdline": host if isinstance(host, Unknown) else host.cmdline,
        "os": host if isinstance(host, Unknown) else host.os,
        "cpu": _parsed(at, "cpu", parse_lscpu),
        "iommu": parse_iommu_probe(at),
        "modules": modules,
        "secure_boot": parse_secure_boot_probe(at),
        "log": parse_kernel_log_probe(at),
        "topo": _parsed(at, "smi-topo", parse_topo_matrix),
        "p2p": _parsed(at, "smi-p2p", parse_topo_p2p),
        "aer": parse_aer_probe(at),
        "packages": parse_packages_probe(at),
        "units": _units(at),
        "planned": parse_planned_probe(at),
        "storage": storage.mounts if isinstance(storage.mounts, Unknown) else storage,
        "cdi": cdi.devices if isinstance(cdi.devices, Unknown) else cdi,
    }
    if not isinstance(modules, Unknown):
        said |= driver_values(modules)
    return {name: value for name, value in said.items() if not isinstance(value, Unknown)}


def driver_values(modules: Modules) -> dict[str, Any]:
    """`driver` and `is_open` as far as the loaded module says them."""
    said = {"driver": modules.nvidia_version, "is_open": modules.nvidia_is_open}
    return {n: v for n, v in said.items() if v is not None and not isinstance(v, Unknown)}


def _units(at: Sections) -> Reading[Mapping[str, Unit]]:
    """Units that any host may have, and those that rigspec has written."""
    usual = parse_units_probe(at)
    ours = parse_units_probe({"units": at["rigspec-units"]}) if "rigspec-units" in at else usual
    if isinstance(usual, Unknown) or isinstance(ours, Unknown):
        return usual if isinstance(ours, Unknown) else ours
    return {**usual, **ours}


def _cards(at: Sections) -> Reading[tuple[GpuReading, ...]]:
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


def _parsed(at: Sections, name: str, read: Callable[[list[str]], Reading[T]]) -> Reading[T]:
    lines = section(at, name)
    return lines if isinstance(lines, Unknown) else read(lines)
