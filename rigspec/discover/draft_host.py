"""Host, board, kernel, driver, containers and storage of a draft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from rigspec.catalog.boards import BoardModel, find_board
from rigspec.catalog.kernel_params import find_folk
from rigspec.catalog.kernel_params import known as takes
from rigspec.discover.capture import masked
from rigspec.discover.lines import entry, owner, quoted, remark
from rigspec.discover.seen import Seen
from rigspec.observed.kernel import cmdline_values
from rigspec.observed.record import known
from rigspec.spec.base import OsId

_BOOT = frozenset({"BOOT_IMAGE", "root", "ro", "rw", "quiet", "splash", "initrd", "rootflags"})
_OURS = frozenset({"iommu", "amd_iommu", "intel_iommu", "pcie_aspm.policy"})
"""What other keys of the spec write."""


def host_lines(seen: Seen, way: Mapping[str, str | int | bool]) -> Iterator[str]:
    """`host`; the way to it as it was reached."""
    for key, value in way.items():
        text = str(value).lower() if isinstance(value, bool) else quoted(str(value))
        yield entry(1, key, text, "so it was reached")
    if "address" not in way:
        yield owner(1, "address: name or IP for SSH; without it the rig is only planned")
    if "user" not in way:
        yield entry(1, "user", "root", "owner: the SSH user (with `sudo: true` if not root)")
    system = known(seen.os)
    found = f"{known(system.id)}-{known(system.version_id)}" if system else ""
    if found in get_args(OsId):
        yield entry(1, "os", found, f"{seen.where('os')}: os-release")
    else:
        why = f"the host says {found}, which is not supported" if found else "os-release not read"
        yield entry(1, "os", "debian-13", f"owner: placeholder, {why}")
    cpu = known(seen.cpu)
    model = (known(cpu.model) or "") if cpu else ""
    vendor = "amd" if "AMD" in model else "intel" if "Intel" in model else ""
    said = f"{seen.where('cpu')}: {model}"
    tree = known(seen.tree)
    hosts = " ".join(f.description for f in tree.functions[:1]) if tree else ""
    if not vendor and ("[AMD]" in hosts or "Intel" in hosts):
        vendor = "amd" if "[AMD]" in hosts else "intel"
        said = f"{seen.where('tree')}: the host bridge's maker"
    yield entry(1, "cpu", vendor or "amd", said if vendor else "owner: placeholder, lscpu not read")
    threads = known(cpu.present) if cpu else None
    if threads:
        yield entry(1, "logical_cpus", threads, f"{seen.where('cpu')}: online or not")
    else:
        yield owner(1, "logical_cpus: not read; from 255 on the IOMMU must stay on")


def _names(seen: Seen) -> list[str]:
    """What the firmware calls board and product; board first."""
    pairs = dict(line.split("=", 1) for line in seen.sections.get("dmi", ()) if "=" in line)
    return [name for key in ("board_name", "product_name") if (name := pairs.get(key))]


def board_name(seen: Seen) -> str:
    """Board or product as the firmware names it; empty where DMI was not read."""
    return next(iter(_names(seen)), "")


def known_board(seen: Seen) -> BoardModel | None:
    """The catalog's row of it; by product too, since a workstation's board is a part number."""
    return next((board for name in _names(seen) if (board := find_board(name))), None)


def board_lines(seen: Seen) -> Iterator[str]:
    """`board`, only where the firmware names one."""
    name = board_name(seen)
    if not name:
        yield from ("", owner(0, "board: {model: …}; DMI was not read"))
        return
    board = known_board(seen)
    if board is None:
        yield from ("", owner(0, f"board: firmware says `{name}`, which is not in the catalog"))
        return
    yield from ("", "board:", entry(1, "model", board.model, f"DMI: {', '.join(_names(seen))}"))


def kernel_lines(seen: Seen) -> Iterator[str]:
    """`kernel`: the current command line, sorted into what exists and what is folklore."""
    words = known(seen.cmdline)
    origin = seen.where("cmdline")
    if words is None:
        yield entry(1, "iommu", "pt", "owner: /proc/cmdline was not read; this is the default")
        return
    yield entry(1, "iommu", *iommu_now(seen, words))
    rest = other_words(words)
    ours = _words_of_rigspec(seen)
    kept = [word for word in rest if takes(word) and not find_folk(word)]
    wanted = [word for word in kept if ours is None or word in ours]
    if wanted:
        yield "  arguments:"
        yield from (f"{'    - ' + quoted(word):<34} # {origin}" for word in wanted)
    for word in (word for word in rest if word not in wanted):
        folk = find_folk(word)
        if folk:
            yield remark(1, f"{origin}: `{masked(word)}` does nothing: {folk.why}")
        elif word in kept:
            yield remark(1, f"{origin}: `{masked(word)}` stands there without rigspec: left alone")
        else:
            yield owner(1, f"`{masked(word)}` is on the command line; add it if it is wanted")


def other_words(words: Iterable[str]) -> list[str]:
    """Words of a kernel line that neither the boot itself nor another key of the spec writes."""
    own = (word for word in words if word.partition("=")[0] not in _BOOT | _OURS)
    return [word for word in own if not word.startswith("pci=disable_acs_redir=")]


def _words_of_rigspec(seen: Seen) -> set[str] | None:
    """Words in the GRUB drop-ins that rigspec wrote; None on a host without any."""
    lines = [line for line in seen.sections.get("grub", ()) if "-rigspec" in line.split(":")[0]]
    return {w.strip("'\"\\") for line in lines for w in line.split()} if lines else None


def iommu_now(seen: Seen, words: tuple[str, ...]) -> tuple[str, str]:
    """`kernel.iommu` as it is, and where that was read."""
    origin = seen.where("cmdline")
    for key in ("iommu", "amd_iommu", "intel_iommu"):
        values = cmdline_values(words, key)
        if "off" in values:
            return "off", f"{origin}: {key}=off"
        if "pt" in values:
            return "pt", f"{origin}: {key}=pt"
    iommu = known(seen.iommu)
    types = {known(g.type) for g in (known(iommu.groups) or ())} if iommu else set()
    if types & {"DMA", "DMA-FQ"}:
        return "on", f"{seen.where('iommu')}: groups are translated; `pt` is the usual choice"
    return "pt", f"owner: {origin} has no IOMMU word; `pt` is the default"


def running_driver(seen: Seen) -> tuple[str | None, str]:
    """The driver's version and the text it was read in; None where it is not a version."""
    cards = known(seen.cards) or ()
    shown = next((v for card in cards if (v := known(card.driver_version))), None)
    version, origin = (shown, "cards") if shown else (known(seen.driver), "driver")
    is_one = version and re.fullmatch(r"\d{3}\.\d{2,3}(\.\d{2})?", version)
    return version if is_one else None, seen.where(origin)


def driver_lines(seen: Seen) -> Iterator[str]:
    """`driver`."""
    version, origin = running_driver(seen)
    if version:
        yield entry(1, "branch", version.partition(".")[0], origin)
        yield entry(1, "version", version, f"{origin}: running now")
    else:
        yield entry(1, "branch", 580, "owner: placeholder, the driver's version was not read")
    is_open = known(seen.is_open)
    if is_open is None:
        yield entry(1, "flavour", "auto", "owner: /proc/driver/nvidia/version was not read")
    else:
        said = f"{seen.where('is_open')}: the loaded module's own words"
        yield entry(1, "flavour", "open" if is_open else "proprietary", said)
    secure = known(seen.secure_boot)
    enabled = known(secure.enabled) if secure else None
    if enabled is not None:
        yield entry(1, "secure_boot", '"on"' if enabled else '"off"', seen.where("secure_boot"))
    else:
        yield entry(1, "secure_boot", '"off"', "owner: not read; `mokutil --sb-state`")


def container_lines(seen: Seen) -> Iterator[str]:
    """`containers`, and what runs as comments."""
    packages = known(seen.packages)
    installed = [p for p in (packages.packages.values() if packages else ()) if p.installed]
    names = {package.name for package in installed}
    docker = any(name.startswith("docker") for name in names)
    engine = "podman" if "podman" in names and not docker else "docker"
    said = seen.where("packages") if names & {"podman"} or docker else "owner: not read"
    yield entry(1, "engine", engine, said)
    toolkit = packages.version("nvidia-container-toolkit") if packages else None
    if toolkit:
        yield entry(1, "toolkit_version", quoted(toolkit), f"{seen.where('packages')}: dpkg")
    for line in seen.sections.get("container-list", ()):
        if line.startswith("container "):
            yield owner(1, f"runs now: {masked(line)}")


def storage_lines(seen: Seen) -> Iterator[str]:
    """`storage`: every large file system that is not the system's own."""
    mounts = known(seen.storage.mounts)
    if mounts is None:
        yield from ("", owner(0, "storage: mounts were not read"))
        return
    own = [m for m in mounts if m.fstype in {"ext4", "xfs", "btrfs", "zfs"}]
    data = [m for m in own if not re.match(r"^/(?:$|boot|var|usr|home$|etc)", m.target)]
    if not data:
        yield from ("", owner(0, "storage: no file system beside the system's own was found"))
        return
    yield from ("", "storage:")
    devices = {d.path: d for d in known(seen.storage.devices) or ()}
    for mount in data:
        name = re.sub(r"[^a-z0-9]+", "-", mount.target.lower()).strip("-")[:32].strip("-")
        yield entry(1, name, "")
        yield entry(
            2, "path", quoted(mount.target), f"{seen.where('storage')}: {masked(mount.source)}"
        )
        yield entry(2, "filesystem", mount.fstype, seen.where("storage"))
        uuid = devices[mount.source].uuid if mount.source in devices else None
        if uuid:
            yield entry(2, "device", f"UUID={uuid}", f"{seen.where('storage')}: lsblk")
        else:
            yield owner(2, "device: UUID or label of its file system, to mount it")
