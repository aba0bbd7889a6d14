"""IOMMU groups as people paste them, and as the kernel log says them; our probe reads sysfs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.observed.dressing import bare_lines
from rigspec.observed.kernel import Iommu, IommuGroup
from rigspec.observed.record import Reading, Unknown
from rigspec.observed.text import normal_bdf

GROUP = re.compile(r"^IOMMU group:? +(?P<group>\d+)\b:? *(?P<rest>.*)", re.I)
"""The loop over sysfs that every guide has: devices behind the number, or below it."""
_IN_SYSFS = re.compile(r"/iommu_groups/(?P<group>\d+)/devices/(?P<rest>[0-9a-f:.]+)")
_ADDED = re.compile(r"(?P<rest>[0-9a-f:.]+): Adding to iommu group (?P<group>\d+)")
_DEVICE = re.compile(
    r"^(?:\[\w{4}:\w{4}\]\s+)?(?:\[R\]\s+)?(?P<at>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\b"
)
_DEFAULT = re.compile(r"Default domain type: (\w+)")
_TYPES = {"Passthrough": "identity", "Translated": "DMA"}
"""The kernel's words in its log (drivers/iommu/iommu.c) and in sysfs."""


def parse_iommu_groups(text: str | Iterable[str]) -> Reading[Iommu]:
    """Groups and their devices; what kind of domain they have only a kernel log tells.

    Said twice (two boots of one log), the last word holds.
    """
    place: dict[str, int] = {}
    kind: Reading[str] = Unknown("a listing of groups does not say their domain type")
    current: int | None = None
    for line in map(str.strip, bare_lines(text)):
        if default := _DEFAULT.search(line):
            kind = _TYPES.get(default[1], Unknown("an unknown word", line))
        found = GROUP.match(line) or _IN_SYSFS.search(line) or _ADDED.search(line)
        if found:
            current = int(found["group"])
        device = _DEVICE.match(found["rest"] if found else line)
        address = normal_bdf(device["at"]) if device else None
        if address is not None and current is not None:
            place[address] = current
        elif not found and line:
            current = None  # a group ends where something else begins
    if not place:
        return Unknown("no IOMMU group is named")
    numbers = sorted(set(place.values()))
    groups = (IommuGroup(n, kind, tuple(a for a in place if place[a] == n)) for n in numbers)
    lost = Unknown("a listing of groups does not say it")
    return Iommu(lost, lost, tuple(groups))


def devices_listed(text: str | Iterable[str]) -> list[str]:
    """The devices of a pasted listing, as lspci alone would print them."""
    lines = map(str.strip, bare_lines(text))
    behind = (found["rest"] if (found := GROUP.match(line)) else line for line in lines)
    return [line[device.start("at") :] for line in behind if (device := _DEVICE.match(line))]
