"""NCCL's own lines (`NCCL_DEBUG=INFO`): which way the data goes, and what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown

_CHANNEL = re.compile(
    r"NCCL INFO (?:Channel|Ring) (\d+)(?:/\d+)? : (\d+)\[\w+\] -> (\d+)\[\w+\](?: \[\w+\])? via "
    r"((?:P2P|SHM|NET|CollNet|NVLS|PXN|C2C)\b\S*|direct shared memory)"
)
_VERSION = re.compile(r"NCCL version (?:: )?(\d+\.\d+(?:\.\d+)?)|using nccl==(\S+)")
_TROUBLE = re.compile(
    r"NCCL WARN|failed to extend /dev/shm|Failed to CUDA calloc|unhandled (?:cuda|system) error"
)


@dataclass(frozen=True)
class Channel(Record):
    """One channel between two ranks."""

    number: int
    source: int
    target: int
    transport: str
    """`P2P/CUMEM`, `P2P/direct`, `SHM/direct/direct`, `NET/Socket/0`."""


@dataclass(frozen=True)
class NcclLog(Record):
    """Transports, version and complaints."""

    version: Reading[str]
    channels: tuple[Channel, ...]
    warnings: tuple[str, ...]

    @property
    def transports(self) -> frozenset[str]:
        """First words of the transports in use: `P2P`, `SHM`, `NET`."""
        return frozenset(channel.transport.split("/")[0] for channel in self.channels)


def parse_nccl_log(text: str | Iterable[str]) -> NcclLog:
    """Any log that NCCL wrote into."""
    channels, warnings = [], []
    version: Reading[str] = Unknown("NCCL did not print its version")
    for line in bare_lines(text):
        channel, seen = _CHANNEL.search(line), _VERSION.search(line)
        if channel:
            number, source, target, transport = channel.groups()
            way = transport.replace("direct shared memory", "SHM")  # its name before 2.12
            channels.append(Channel(int(number), int(source), int(target), way))
        elif seen:
            version = seen.group(1) or seen.group(2)
        elif _TROUBLE.search(line):
            warnings.append(line.strip())
    return NcclLog(version, tuple(channels), tuple(dict.fromkeys(warnings)))
