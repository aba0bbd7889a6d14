"""NVIDIA driver packages per operating system, branch and flavour, and which driver suits what.

Names: NVIDIA Driver Installation Guide r590 ("Recent updates", "Version locking", the chapters
Debian and Ubuntu), compute-only sets. From branch 590 on the Ubuntu packages lost their branch
suffix: `nvidia-driver-pinning-BRANCH` first, then unversioned names. Debian's never had one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rigspec.catalog.data import load_table
from rigspec.catalog.gpus import Gpu
from rigspec.catalog.repositories import Repository, nvidia_repository
from rigspec.frozen import dataclass

Flavour = Literal["open", "proprietary"]

FIRST_UNVERSIONED_BRANCH = 590
"""Ubuntu: from here on one unversioned set of names, the branch chosen by a pinning package."""
FIRST_PINNED_BRANCH = 570
"""Oldest branch for which `nvidia-driver-pinning-570` was seen in the repositories (2026)."""
FIRST_OPEN_BRANCH = 515
"""First branch with open kernel modules (515.43.04, May 2022)."""
RUNNING_KERNEL = "{release}"
"""Stands for `uname -r` in the name of the headers of the running kernel."""

_PROPRIETARY_ONLY_LAST = 580
_HEADERS = {
    "debian-12": "linux-headers-amd64",
    "debian-13": "linux-headers-amd64",
    "ubuntu-22.04": "linux-headers-generic",
    "ubuntu-24.04": "linux-headers-generic",
}


@dataclass(frozen=True)
class DriverPackages:
    """What to install for a driver, in this order: repository, headers, pinning, packages."""

    repository: Repository
    headers: tuple[str, ...]
    """DKMS builds for kernels whose headers are there; `{release}` stands for `uname -r`."""
    pinning: str | None
    """Package that pins the branch or version in apt; None where no such package exists."""
    install: tuple[tuple[str, str | None], ...]
    """Name and apt version pattern (`595.71.05-*`); None leaves the choice to the pin."""
    hold: tuple[str, ...]
    must_be_absent: tuple[str, ...]
    """The other flavour, and the distribution's own driver: never two on one host."""
    pin_pattern: str
    """Version pattern for a preferences file: `595.71.05-*` or `595.*`."""
    distribution_components: tuple[str, ...]
    """Components of the distribution that dependencies come from."""
    notes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class CudaDriver:
    """Drivers for one CUDA release."""

    cuda: str
    minimum: str
    """Oldest driver that runs images built with it (minor version compatibility)."""
    ships_with: str
    """Driver of the toolkit release: from here on nothing is missing."""
    source: str


@dataclass(frozen=True)
class CardDriver:
    """First driver that knows a card, and the last branch that still does; CUDA likewise."""

    minimum: str
    last_branch: int | None
    source: str


@dataclass(frozen=True)
class CardCuda:
    """CUDA releases that compile for a card; None where there is no end."""

    first: str
    last: str | None
    source: str

    def compiles(self, cuda: str) -> Literal["yes", "not yet", "no longer"]:
        """Whether a release of CUDA can hold code for the card."""
        if _numbers(cuda) < _numbers(self.first):
            return "not yet"
        return "no longer" if self.last and _numbers(cuda) > _numbers(self.last) else "yes"


def packages_for(
    os: str, branch: int, version: str | None, flavour: Flavour, hold: bool = True
) -> DriverPackages:
    """Compute-only driver packages from NVIDIA's repository.

    `branch` 595, `version` 595.71.05 or None for the newest of the branch.
    """
    names = _names(os, branch, flavour)
    other = _names(os, branch, "proprietary" if flavour == "open" else "open")
    pattern = f"{version}-*" if version else f"{branch}.*"
    pinning = (
        f"nvidia-driver-pinning-{version or branch}" if branch >= FIRST_PINNED_BRANCH else None
    )
    return DriverPackages(
        repository=nvidia_repository(os),
        headers=(_HEADERS[os], f"linux-headers-{RUNNING_KERNEL}"),
        pinning=pinning,
        install=tuple((name, pattern if version else None) for name in names),
        hold=(*((pinning,) if pinning else ()), *names) if hold else (),
        must_be_absent=tuple(name for name in other if name not in names),
        pin_pattern=pattern,
        distribution_components=("contrib",) if os.startswith("debian") else (),
        notes=_notes(os, branch, version),
        source="vendor: NVIDIA Driver Installation Guide r590; names seen in public install "
        "scripts for 580, 595, 610 and 615 (2026-11-24)",
    )


def cuda_driver(cuda: str) -> CudaDriver | None:
    """Drivers for a CUDA release (`13.0`); None when the release is not in the table."""
    row = load_table("drivers").get(f"cuda-{cuda}")
    if row is None:
        return None
    return CudaDriver(cuda, row.text("minimum"), row.text("ships_with"), row.text("source"))


def card_driver(gpu: Gpu) -> CardDriver | None:
    """First driver for a card, by SKU where that is later, else by architecture."""
    table = load_table("drivers")
    capability = ".".join(str(part) for part in gpu.compute_capability)
    row = table.get(f"sku-{gpu.sku}") or table.get(f"cards-{capability}")
    if row is None:
        return None
    return CardDriver(row.text("minimum"), row.optional_whole("last_branch"), row.text("source"))


def card_cuda(gpu: Gpu) -> CardCuda | None:
    """CUDA releases that compile for a card, by its major capability: code for 8.0 runs on 8.9."""
    table, (major, minor) = load_table("drivers"), gpu.compute_capability
    row = table.get(f"code-{major}.{minor}") or table.get(f"code-{major}")
    if row is None:
        return None
    return CardCuda(row.text("first"), row.optional_text("last"), row.text("source"))


def driver_covers(branch: int, version: str | None, minimum: str) -> bool:
    """Whether a driver is at least `minimum`; a bare branch is taken as its newest release."""
    wanted = _numbers(minimum)
    if version is None:
        return branch >= wanted[0]
    return _numbers(version) >= wanted


def flavours_for(gpu: Gpu) -> tuple[Flavour, ...]:
    """Kernel module flavours that drive a card, the better first."""
    by_support: Mapping[str, tuple[Flavour, ...]] = {
        "required": ("open",),
        "supported": ("open", "proprietary"),
        "unsupported": ("proprietary",),
    }
    return by_support[gpu.open_module]


def _names(os: str, branch: int, flavour: Flavour) -> tuple[str, ...]:
    if os.startswith("debian"):
        kernel = "nvidia-kernel-open-dkms" if flavour == "open" else "nvidia-kernel-dkms"
        return ("nvidia-driver-cuda", kernel, "nvidia-persistenced")
    suffix = "-open" if flavour == "open" else ""
    if branch >= FIRST_UNVERSIONED_BRANCH:
        return ("libnvidia-compute", f"nvidia-dkms{suffix}", "nvidia-persistenced")
    return (
        f"libnvidia-compute-{branch}",
        f"nvidia-dkms-{branch}{suffix}",
        f"nvidia-compute-utils-{branch}",  # nvidia-persistenced
        f"nvidia-utils-{branch}",  # nvidia-smi
    )


def _notes(os: str, branch: int, version: str | None) -> tuple[str, ...]:
    notes = ["NVIDIA's packages and the distribution's own must not be mixed"]
    if branch < FIRST_PINNED_BRANCH:
        notes.append(f"no pinning package for branch {branch}: a preferences file must hold it")
    elif version:
        notes.append("a pinning package exists for most, not all releases: ask apt before")
    if os == "debian-13":
        notes.append("Debian 13's own driver is 550.163.01: too old for any Blackwell card")
    if branch > _PROPRIETARY_ONLY_LAST:
        notes.append("Maxwell, Pascal and Volta cards end with branch 580")
    return tuple(notes)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
