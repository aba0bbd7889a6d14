"""What words on the kernel command line and module options really do, and which are folklore."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from rigspec.catalog.data import Row, load_table, nearest
from rigspec.frozen import dataclass

Certainty = Literal["yes", "no", "some"]


@dataclass(frozen=True)
class KernelParameter:
    """A kernel argument or module option that exists."""

    name: str
    """`iommu`, `pci=config_acs`, or for options `nvidia_uvm.uvm_disable_hmm`."""
    meaning: str
    since: str | None
    """First kernel that knows it; None: older than any kernel we install on."""
    values: tuple[str, ...]
    """Words it takes; empty: anything, or none."""
    source: str


@dataclass(frozen=True)
class FolkParameter:
    """Something people copy from page to page that does not do what they think."""

    name: str
    why: str
    instead: str
    source: str


@dataclass(frozen=True)
class KernelOfSystem:
    """Kernels an operating system boots, the default first."""

    os: str
    versions: tuple[str, ...]
    acs_lists_fixed: bool | None
    """Whether ACS parameters take lists of devices; None: not checked."""
    source: str

    def knows(self, parameter: str) -> Certainty:
        """Whether its kernels know an argument: all (`yes`), none (`no`) or `some`."""
        found = find_parameter(parameter)
        if found is None:
            return "no"
        if found.since is None:
            return "yes"
        hits = [_numbers(version) >= _numbers(found.since) for version in self.versions]
        return "yes" if all(hits) else "some" if any(hits) else "no"


def find_folk(argument: str) -> FolkParameter | None:
    """The folklore an argument is, None when it is none.

    `pci=` holds several options: `pci=noacs,realloc=off` is found too.
    """
    for single in _singles(argument):
        for row in _group("folk").values():
            key = single.partition("=")[0]
            name = row.id.partition(" ")[2]
            if name == (single if row.text("matches") == "exact" else key):
                return FolkParameter(name, row.text("why"), row.text("instead"), row.text("source"))
    return None


def find_parameter(argument: str) -> KernelParameter | None:
    """The kernel argument behind `iommu=pt` or `pci=config_acs=…@…`; None when unknown."""
    key, _, value = argument.partition("=")
    group = _group("argument")
    row = (
        group.get(f"{key}={value.partition('=')[0]}") if key == "pci" and value else group.get(key)
    )
    return _parameter(row) if row else None


def known(argument: str) -> bool:
    """Whether every word of an argument exists and takes the value it is given."""
    return all(_takes(find_parameter(single), single) for single in _singles(argument))


def find_option(module: str, option: str) -> KernelParameter | None:
    """A module option; None when unknown. Module names compare with `-` as `_`."""
    row = _group("option").get(f"{module.replace('-', '_')}.{option}")
    return _parameter(row) if row else None


def kernel_of(os: str) -> KernelOfSystem:
    """The kernels of `debian-12` … `ubuntu-24.04`."""
    row = _group("kernel")[os]
    return KernelOfSystem(
        os, row.texts("versions"), row.optional_flag("lists_fixed"), row.text("source")
    )


def nearest_parameters(argument: str) -> tuple[str, ...]:
    """Did-you-mean for an argument's key."""
    return nearest(argument.partition("=")[0], tuple(_group("argument")))


def nearest_options(module: str, option: str) -> tuple[str, ...]:
    """Did-you-mean for a module option."""
    return nearest(
        f"{module.replace('-', '_')}.{option}".lower(),
        {name.lower(): name for name in _group("option")},
    )


def all_parameters() -> tuple[KernelParameter, ...]:
    """Every kernel argument of the table."""
    return tuple(_parameter(row) for row in _group("argument").values())


@lru_cache(maxsize=8)
def _group(kind: str) -> Mapping[str, Row]:
    rows = load_table("kernel").values()
    chosen = {row.id.partition(" ")[2]: row for row in rows if row.id.startswith(f"{kind} ")}
    return MappingProxyType(chosen)


def _singles(argument: str) -> tuple[str, ...]:
    key, _, value = argument.partition("=")
    if key != "pci":
        return (argument,)
    return tuple(f"pci={option}" for option in value.split(","))


def _takes(parameter: KernelParameter | None, single: str) -> bool:
    if parameter is None:
        return False
    value = single.removeprefix(parameter.name).removeprefix("=")
    return not parameter.values or not value or value in parameter.values


def _parameter(row: Row) -> KernelParameter:
    return KernelParameter(
        name=row.id.partition(" ")[2],
        meaning=row.text("meaning"),
        since=row.optional_text("since"),
        values=row.texts("values"),
        source=row.text("source"),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
