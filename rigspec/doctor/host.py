"""Symptoms that the kernel log, units, packages and files of the host show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.discover.capture import Capture, Place
from rigspec.discover.seen import Seen
from rigspec.doctor.planned import is_declared, rig_of
from rigspec.observed.kernel_log import BandwidthLimit, Event, KernelEvent, KernelLog
from rigspec.observed.record import Unknown, known
from rigspec.observed.units import Unit

_GPU_LANES = 16


def log_of(seen: Seen) -> KernelLog:
    """The kernel log, empty where none was read."""
    return known(seen.log) or KernelLog((), (), False)


def place_of(capture: Capture, event: KernelEvent) -> Iterator[Place]:
    """The line of an event in the text it came from."""
    found = capture.find(event.line)
    if found:
        yield found


def _recovered(event: KernelEvent, seen: Seen) -> bool:
    """Whether the last Xid 154 of a card says that nothing more is wanted of it."""
    said = [
        e.line for e in log_of(seen).of(Event.XID) if (e.xid, e.address) == (154, event.address)
    ]
    return event.xid == 154 and "to 0x0 (None)" in said[-1]


_CAUSED_BY = re.compile(r"caused by previous Xid (\d+)")


def xids(capture: Capture, seen: Seen, numbers: frozenset[int]) -> Iterator[Place]:
    """The first line of each wanted Xid, its own or one that names it as its cause.

    None of a recovery that was done since.
    """
    done = set[int]()
    for event in log_of(seen).of(Event.XID):
        before = _CAUSED_BY.search(event.line)
        said = {event.xid or 0, int(before[1]) if before else 0} & numbers - done
        if said and not _recovered(event, seen):
            done |= said
            yield from place_of(capture, event)


def fallen_without_xid(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The phrase alone, no Xid beside it."""
    if not any(event.xid == 79 for event in log_of(seen).of(Event.XID)):
        for event in log_of(seen).of(Event.FALLEN_OFF)[:1]:
            yield from place_of(capture, event)


def xid79_many(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Xid 79 on more than one card."""
    lost = {e.address: e for e in log_of(seen).of(Event.XID) if e.xid == 79 and e.address}
    for event in lost.values() if len(lost) > 1 else ():
        yield from place_of(capture, event)


def _limits(capture: Capture, seen: Seen) -> Iterator[tuple[BandwidthLimit, Place]]:
    """`limited by` for a GPU; without a PCI listing, for a device of 16 lanes.

    Not where the plan expects no more of the card's link, or of a switch above it.
    """
    tree = known(seen.tree)
    gpus = {gpu.address: gpu for gpu in tree.gpus} if tree else {}
    for limit in log_of(seen).limits:
        gpu = gpus.get(limit.device)
        is_gpu = gpu is not None if gpus else limit.capable_width >= _GPU_LANES
        found = capture.find(f"{limit.device.removeprefix('0000:')}: {limit.available_gbit_s:.3f}")
        steps = tree.path(limit.device) if tree and gpu else ()
        way = () if isinstance(steps, Unknown) else steps
        planned = any(is_declared(seen, s, known(limit.gen), limit.width) for s in way)
        if is_gpu and found and not planned:
            yield limit, found


def bandwidth_limited(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Fewer lanes than the card has."""
    for limit, found in _limits(capture, seen):
        if limit.width < limit.capable_width:
            yield found


def generation_limited(capture: Capture, seen: Seen) -> Iterator[Place]:
    """All lanes, of a lower generation than the card's: an older slot does so by design."""
    for limit, found in _limits(capture, seen):
        if limit.width >= limit.capable_width:
            yield found


def iommu_translated(capture: Capture, seen: Seen) -> Iterator[Place]:
    """An IOMMU group of a GPU that is translated, with more than one GPU."""
    tree, iommu, rig = known(seen.tree), known(seen.iommu), rig_of(seen)
    if rig and rig.kernel.iommu == "on" and not rig.pcie.peer_to_peer:
        return
    gpus = tree.gpus if tree else ()
    for gpu in gpus if iommu and len(gpus) > 1 else ():
        group = iommu.group_of(gpu.address) if iommu else None
        if group and known(group.type) in {"DMA", "DMA-FQ"}:
            own = capture.find(f"group {group.number} {known(group.type)}")
            said = own or capture.find("Default domain type: Translated")
            if said:
                yield said


def _found(capture: Capture, *needles: str) -> Iterator[Place]:
    found = capture.find(*needles)
    if found:
        yield found


def version_mismatch(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The loaded module's version against the installed libraries'."""
    loaded, packages = known(seen.driver), known(seen.packages)
    for package in packages.packages.values() if packages else ():
        is_library = re.match(r"libnvidia-(?:compute|ml1?)\b|libcuda1$", package.name)
        version = re.search(r"\d{3}\.\d{2,3}(?:\.\d{2})?", package.version)
        if loaded and is_library and package.installed and version and version[0] != loaded:
            found = capture.find(f"{package.name}\t")
            if found:
                yield found
                return


def _unit(seen: Seen, name: str) -> Unit | None:
    return (known(seen.units) or {}).get(name)


def _started(unit: Unit | None) -> int:
    """When it became active, µs since boot; 0: not in this boot."""
    return (known(unit.active_enter_us) or 0) if unit else 0


def _unit_place(capture: Capture, name: str) -> Iterator[Place]:
    found = capture.find(f"Id={name}")
    if found:
        yield found


_GATES = frozenset({"rigspec-acs.service", "rigspec-power.service", "rigspec-ready.service"})


def _servers(seen: Seen) -> Iterator[tuple[str, Unit]]:
    """Services of ours, without the units that they wait for."""
    for name, unit in (known(seen.units) or {}).items():
        if name.startswith("rigspec-") and name not in _GATES:
            yield name, unit


def acs_late(capture: Capture, seen: Seen) -> Iterator[Place]:
    """The ACS unit became active after docker, or after a server of ours where one is shown."""
    acs = _started(_unit(seen, "rigspec-acs.service"))
    servers = [start for _, unit in _servers(seen) if (start := _started(unit))]
    first = min(servers, default=_started(_unit(seen, "docker.service")))
    if acs and first and acs > first:
        yield from _unit_place(capture, "rigspec-acs.service")


def started_early(capture: Capture, seen: Seen) -> Iterator[Place]:
    """A server of ours that started before persistenced or the gate, unless it runs since."""
    gates = ("nvidia-persistenced.service", "rigspec-ready.service")
    ready = max((_started(_unit(seen, name)) for name in gates), default=0)
    for name, unit in _servers(seen):
        runs_since = unit.active and known(unit.n_restarts) == 0
        if 0 < _started(unit) < ready and not runs_since:
            yield from _unit_place(capture, name)


_SMALL_SHM = re.compile(
    r"^container /?(?P<name>\S+) image=(?P<image>\S+) .*ipc=private shm=67108864\b"
)
_USES_NCCL = re.compile(r"vllm|sglang|tensorrt|trtllm|text-generation|torch|lmdeploy|nccl", re.I)


def small_shm(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Docker's 64 MiB for an engine that runs NCCL; under a plan only its own containers count."""
    planned = rig_of(seen) is not None
    for file, number, line in capture.places():
        found = _SMALL_SHM.search(line)
        if found is None:
            continue
        is_ours = found["name"].startswith("rigspec-")
        if is_ours if planned else _USES_NCCL.search(found["image"]):
            yield file.place(number)


def two_writers(capture: Capture, seen: Seen) -> Iterator[Place]:
    """Two files or units that set power limits."""
    writers = [line for line in seen.sections.get("limit-writers", ()) if line.startswith("/")]
    ours = _unit(seen, "rigspec-power.service")
    names = ("lactd.service", "nvidia-powerd.service")
    others = [f"Id={name}" for name in names if (unit := _unit(seen, name)) and unit.active]
    lines = [line for line in writers if "rigspec" not in line] + others
    if len(lines) + bool(ours and ours.exists) > 1:
        yield from (place for line in lines if (place := capture.find(line)))


def cdi_twice(capture: Capture, seen: Seen) -> Iterator[Place]:
    """nvidia files in both CDI folders: the old one may win."""
    files = [name for name in known(seen.cdi.spec_files) or () if "nvidia" in name]
    if any(f.startswith("/etc") for f in files) and any(f.startswith("/var") for f in files):
        yield from (place for name in files if (place := capture.find(name)))
