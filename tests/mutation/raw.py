"""What a host printed when verify asked it, by section, and ways to spoil one thing in it.

Every change must change something: a pattern that no longer matches is an error, not a healthy rig.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rigspec.facts.observe import Everything, of
from rigspec.observed.pci_probe import config_bytes
from rigspec.observed.text import normal_bdf
from rigspec.plan.sections import Plan
from rigspec.verify.observation import Observation

EXPRESS, ACS = 0x10, 0x0D
"""Ids of the PCI Express capability and of the extended capability ACS (PCI Express base spec.)."""


@dataclass(frozen=True)
class Raw:
    """The text of each section."""

    sections: Mapping[str, str]

    def observed(self, plan: Plan) -> Observation:
        """Through the fact's own parsers."""
        fact = Everything()
        fact.command(of(plan))
        return fact.parse({name: text.split("\n") for name, text in self.sections.items()})

    def text(self, section: str) -> str:
        """The text of a section."""
        return self.sections[section]

    def put(self, section: str, text: str) -> Raw:
        """Another text for a section, which may be new."""
        if self.sections.get(section) == text:
            raise ValueError(f"section `{section}` has that text already")
        return Raw({**self.sections, section: text})

    def sub(self, section: str, pattern: str, new: str, *, count: int = 1) -> Raw:
        """A regular expression replaced, in the first `count` places (0: all)."""
        text, found = re.subn(pattern, new, self.text(section), count=count, flags=re.MULTILINE)
        if not found:
            raise ValueError(f"section `{section}` has no {pattern!r}")
        return self.put(section, text)

    def drop(self, section: str, pattern: str) -> Raw:
        """Without the lines in which the expression is found."""
        kept = [line for line in self.text(section).split("\n") if not re.search(pattern, line)]
        return self.put(section, "\n".join(kept))

    def append(self, section: str, *lines: str) -> Raw:
        """With more lines at the end of a section."""
        return self.put(section, "\n".join([self.text(section), *lines]))

    def lost(self, section: str, why: str = "##RIG-EXIT 1 tool") -> Raw:
        """As if the section's command had failed without a word."""
        return self.put(section, why)

    def unit(self, name: str, **properties: str) -> Raw:
        """One unit's block of `systemctl show` with other values."""
        blocks = self.text("units").split("\n\n")
        place = next(
            n for n, b in enumerate(blocks) if re.search(rf"^Id={re.escape(name)}$", b, re.M)
        )
        for key, value in properties.items():
            blocks[place], found = re.subn(
                rf"^{key}=.*$", f"{key}={value}", blocks[place], flags=re.M
            )
            if not found:
                raise ValueError(f"{name} shows no {key}")
        return self.put("units", "\n\n".join(blocks))

    def cell(self, field: str, value: str, *, card: int = 0, section: str = "smi") -> Raw:
        """One cell of nvidia-smi's CSV with another value."""
        from rigspec.observed.nvidia_smi import EXTRA_FIELDS, QUERY_FIELDS

        fields = QUERY_FIELDS if section == "smi" else EXTRA_FIELDS
        lines = self.text(section).split("\n")
        rows = [n for n, line in enumerate(lines) if line.count(",") == len(fields) - 1]
        cells = lines[rows[card]].split(", ")
        cells[fields.index(field)] = value
        lines[rows[card]] = ", ".join(cells)
        return self.put(section, "\n".join(lines))

    def device(self, address: str, **attributes: str) -> Raw:
        """One PCI function's sysfs attributes with other values."""
        raw = self
        for key, value in attributes.items():
            raw = raw.sub("pci", rf"^({re.escape(address)} .*\b{key}=)\S+", rf"\g<1>{value}")
        return raw

    def config(self, address: str, change: Callable[[bytearray], None]) -> Raw:
        """One function's configuration space, changed in place."""
        spaces = {
            a: bytearray(data)
            for a, data in config_bytes(self.text("pci-config").split("\n")).items()
        }
        change(spaces[address])
        return self.put("pci-config", _dump(spaces))

    def word(self, address: str, capability: int, offset: int, word: int) -> Raw:
        """One 16 bit register of a capability (ids above are extended where `ACS`)."""

        def change(data: bytearray) -> None:
            at = (_extended if capability == ACS else _capability)(data, capability) + offset
            data[at : at + 2] = word.to_bytes(2, "little")

        return self.config(address, change)

    def read_word(self, address: str, capability: int, offset: int) -> int:
        """The register as it is."""
        data = bytearray(config_bytes(self.text("pci-config").split("\n"))[address])
        at = (_extended if capability == ACS else _capability)(data, capability) + offset
        return int.from_bytes(data[at : at + 2], "little")

    def has(self, address: str, capability: int) -> bool:
        """Whether the function has the capability."""
        try:
            self.read_word(address, capability, 0)
        except ValueError:
            return False
        return True

    def without_function(self, address: str) -> Raw:
        """As if the function had left the bus: no sysfs line, no configuration space."""
        lines = self.text("pci-config").split("\n")
        spaces = {a: bytearray(d) for a, d in config_bytes(lines).items() if a != address}
        return self.drop("pci", f"^{re.escape(address)} ").put("pci-config", _dump(spaces))

    @property
    def slots(self) -> tuple[str, ...]:
        """Addresses of the cards, as nvidia-smi lists them."""
        rows = [line.split(", ") for line in self.text("smi").split("\n") if line.count(",") > 5]
        return tuple(slot for row in rows if (slot := normal_bdf(row[2])))

    @property
    def uuids(self) -> tuple[str, ...]:
        """UUIDs of the cards, as nvidia-smi lists them."""
        return tuple(re.findall(r"GPU-[0-9a-f-]{36}", self.text("smi")))

    def above(self, address: str) -> str:
        """The bridge above a function; empty on a root bus."""
        line = re.search(rf"^{re.escape(address)} path=(\S*)", self.text("pci"), re.MULTILINE)
        assert line, address
        way = [bdf for part in line.group(1).split("/") if (bdf := normal_bdf(part))]
        return way[-2] if len(way) > 1 else ""


def _capability(data: bytearray, wanted: int) -> int:
    at = data[0x34] & 0xFC
    while at:
        if data[at] == wanted:
            return at
        at = data[at + 1] & 0xFC
    raise ValueError(f"no capability {wanted:#x}")


def _extended(data: bytearray, wanted: int) -> int:
    at = 0x100
    while at:
        header = int.from_bytes(data[at : at + 4], "little")
        if header & 0xFFFF == wanted:
            return at
        at = header >> 20 & 0xFFC
    raise ValueError(f"no extended capability {wanted:#x}")


def _dump(spaces: Mapping[str, bytearray]) -> str:
    """As `head -v -c 4096 … | od -Ax -tx1` prints it, a run of equal rows folded into `*`."""
    parts = [
        b"==> /sys/bus/pci/devices/%s/config <==\n%s" % (a.encode(), d) for a, d in spaces.items()
    ]
    data = b"\n".join(parts)
    lines, row = [], None
    for at in range(0, len(data), 16):
        if data[at : at + 16] == row and at + 16 < len(data):
            if lines[-1] != "*":
                lines.append("*")
            continue
        row = data[at : at + 16]
        lines.append(f"{at:06x} " + " ".join(f"{byte:02x}" for byte in row))
    return "\n".join([*lines, f"{len(data):06x}"])
