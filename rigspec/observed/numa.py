"""NUMA nodes: CPUs, memory and distances; `numactl --hardware`, `lscpu` or our probe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import cpu_list, ends_open


@dataclass(frozen=True)
class NumaNode(Record):
    """One node; a node without memory or CPUs is shown as it is."""

    number: int
    cpus: Reading[tuple[int, ...]]
    memory_mib: Reading[int]
    distances: tuple[int, ...]


def parse_numactl(text: str | Iterable[str]) -> Reading[tuple[NumaNode, ...]]:
    """`numactl --hardware` (`-H`)."""
    lines = bare_lines(text)
    cpus: dict[int, Reading[tuple[int, ...]]] = {}
    sizes: dict[int, int] = {}
    distances: dict[int, tuple[int, ...]] = {}
    for line in lines:
        cpu = re.match(r"^node (\d+) cpus:((?: \d+)*)\s*$", line)
        size = re.match(r"^node (\d+) size: (\d+) MB", line)
        row = re.match(r"^\s+(\d+):\s+(\d+(?:\s+\d+)*)\s*$", line)
        if cpu:
            cpus[int(cpu.group(1))] = tuple(map(int, cpu.group(2).split()))
        elif size:
            sizes[int(size.group(1))] = int(size.group(2))
        elif row:
            distances[int(row.group(1))] = tuple(map(int, row.group(2).split()))
    whole = len(sizes)  # 10 is the least distance (ACPI, SLIT)
    distances = {n: r for n, r in distances.items() if len(r) == whole and min(r) >= 10}
    cut = Unknown("the list of CPUs may be cut: the node's size does not follow")
    cpus |= dict.fromkeys(cpus.keys() - sizes.keys(), cut)
    missing = Unknown("line was not printed")
    nodes = tuple(
        NumaNode(n, cpus.get(n, missing), sizes.get(n, missing), distances.get(n, ()))
        for n in sorted(cpus | sizes)
    )
    return nodes or Unknown("no NUMA node in the text")


def parse_numa_probe(sections: Mapping[str, Sequence[str]]) -> Reading[tuple[NumaNode, ...]]:
    """The section `numa`; a kernel without NUMA prints no node."""
    lines = section(sections, "numa")
    if isinstance(lines, Unknown):
        return lines
    nodes = []
    for line in lines:
        match = re.match(r"^node (\d+) kib=(\d*) cpus=(\S*) distances=(.*)$", line)
        if match:
            number, kib, cpus, row = match.groups()
            distances = tuple(int(word) for word in row.split() if word.isdecimal())
            memory: Reading[int] = int(kib) // 1024 if kib else Unknown("no MemTotal", line)
            nodes.append(NumaNode(int(number), cpu_list(cpus), memory, distances))
    return tuple(sorted(nodes, key=lambda node: node.number))


@dataclass(frozen=True)
class Cpu(Record):
    """The processor as `lscpu` shows it."""

    model: Reading[str]
    online: Reading[int]
    sockets: Reading[int]
    cores_per_socket: Reading[int]
    threads_per_core: Reading[int]
    numa_nodes: Reading[int]
    hypervisor: str | None
    offline: str | None
    """CPUs that are not online, as printed (`239`)."""

    @property
    def present(self) -> Reading[int]:
        """Logical CPUs that the kernel knows, whether online or not."""
        idle = cpu_list(self.offline) if self.offline else ()
        if isinstance(self.online, Unknown) or isinstance(idle, Unknown):
            return self.online
        return self.online + len(idle)

    @property
    def expected(self) -> Reading[int]:
        """Logical CPUs that the silicon has: sockets × cores × threads.

        More than there are where only some cores have two threads.
        """
        product = 1
        for part in (self.sockets, self.cores_per_socket, self.threads_per_core):
            if isinstance(part, Unknown):
                return part
            product *= part
        return product


_ALL_CPUS = "CPU(s)"
_PER_MODEL = frozenset({"Socket(s)", "Core(s) per socket", "Thread(s) per core"})


def _count(cpus: tuple[int, ...] | Unknown, listed: str) -> Reading[int]:
    if isinstance(cpus, Unknown):
        return cpus
    return len(cpus) or Unknown("the list of CPUs is empty", listed)


def parse_lscpu(text: str | Iterable[str]) -> Cpu:
    """`lscpu` in the C locale."""
    lines = bare_lines(text)
    split = [line.partition(":") for line in (lines[:-1] if ends_open(text) else lines)]
    pairs = {key.strip(): value.strip() for key, colon, value in split if colon}
    models = [value.strip() for key, _, value in split if key.strip() == "Model name"]

    def get(key: str) -> Reading[str]:
        return pairs.get(key) or Unknown(f"lscpu does not show `{key}`")

    if "Thread(s) per core" not in pairs:  # stands below: the list of CPUs may have been cut off
        pairs.pop(_ALL_CPUS, None)

    def number(key: str) -> Reading[int]:
        value = get(key)
        if isinstance(value, Unknown):
            return value
        if len(models) > 1 and key in _PER_MODEL:
            return Unknown("counted for each kind of core", " + ".join(models))
        return int(value) if value.isdecimal() else Unknown("not a number", value)

    listed = pairs.get("On-line CPU(s) list")
    cpus = cpu_list(listed) if listed else ()
    return Cpu(
        " + ".join(filter(None, models)) or get("Model name"),
        _count(cpus, listed) if listed is not None else number(_ALL_CPUS),
        number("Socket(s)"),
        number("Core(s) per socket"),
        number("Thread(s) per core"),
        number("NUMA node(s)"),
        pairs.get("Hypervisor vendor"),
        pairs.get("Off-line CPU(s) list"),
    )
