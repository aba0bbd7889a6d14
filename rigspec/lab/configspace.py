"""Edit the PCI configuration spaces of a paused QEMU that is our own child.

QEMU has no property for vendor, device and class, for a switch port's ACS capability or for an
endpoint's link. A configuration space is a plain array in QEMU's heap, and `PCIDevice` holds four
pointers in a row: config, cmask, wmask, w1cmask (`include/hw/pci/pci_device.h`). They are found
through /proc/PID/mem and checked before anything is written. Register offsets: PCI Express base
specification, chapter 7.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rigspec.errors import LabError
from rigspec.lab.qemu_args import ConfigEdit
from rigspec.lab.topology import Link

CAP_EXPRESS, EXT_CAP_ACS = 0x10, 0x000D
FLAGS, DEVCAP, LNKCAP, LNKCTL, LNKSTA, LNKCAP2, LNKCTL2 = 2, 4, 12, 16, 18, 44, 48
CIS_POINTER = 0x28  # unused by GPUs and readable without root: carries the card's number
EXPRESS_AT = 0x60  # free in ivshmem-plain
ACS_AT = 0x1C0  # free in xio3130-downstream
MALLOC_LIMIT = 128 << 20
ACS_BITS = 0x5F  # SrcValid TransBlk ReqRedir CmpltRedir UpstreamFwd DirectTrans


def malloc_regions(maps: str) -> list[tuple[int, int]]:
    """Where malloc keeps small things: the heap first, then private memory without a file.

    A program started through its own ld.so may find no room to grow its heap; malloc then takes
    mappings. Guest memory and translated code are far larger and are left out.
    """
    heap: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for match in re.finditer(r"(?m)^(\w+)-(\w+) rw-p \S+ \S+ \d+ *(.*)$", maps):
        region = int(match[1], 16), int(match[2], 16)
        if match[3] == "[heap]":
            heap.append(region)
        elif not match[3] and region[1] - region[0] <= MALLOC_LIMIT:
            others.append(region)
    return heap + others


class Memory:
    """What another process has on its heap, for its parent or root; use it in a `with`."""

    def __init__(self, pid: int) -> None:
        try:
            self._file = Path(f"/proc/{pid}/mem").open("r+b", buffering=0)  # noqa: SIM115 - kept open
            maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError as error:
            raise LabError(
                f"cannot reach QEMU's memory: {error.strerror}",
                hint="the lab needs to be QEMU's parent, or root",
            ) from error
        self._regions = [(low, self.read(low, high - low)) for low, high in malloc_regions(maps)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, at: int, count: int) -> bytes:
        """Bytes at an address; empty when nothing is mapped there."""
        try:
            self._file.seek(at)
            return self._file.read(count)
        except (OSError, ValueError, OverflowError):
            return b""

    def write(self, at: int, data: bytes) -> None:
        """Put bytes at an address."""
        self._file.seek(at)
        self._file.write(data)

    def find(self, needle: bytes) -> Iterator[int]:
        """Every address in the heap, as it was when opened, where these bytes stand."""
        for low, blob in self._regions:
            at = blob.find(needle)
            while at >= 0:
                yield low + at
                at = blob.find(needle, at + 1)


@dataclass
class Device:
    """One emulated device: where its configuration space and its write mask are."""

    memory: Memory
    config: int
    wmask: int
    ident: str
    resets: list[tuple[int, int]] = field(default_factory=list)

    def get(self, offset: int, size: int = 1) -> int:
        """A register."""
        return int.from_bytes(self.memory.read(self.config + offset, size), "little")

    def put(self, offset: int, value: int, size: int = 1) -> None:
        """Set a register, writable by the guest or not."""
        self.memory.write(self.config + offset, value.to_bytes(size, "little"))

    def allow(self, offset: int, mask: int, size: int = 1) -> None:
        """Let the guest write these bits."""
        old = int.from_bytes(self.memory.read(self.wmask + offset, size), "little")
        self.memory.write(self.wmask + offset, (old | mask).to_bytes(size, "little"))

    def put_at_reset(self, offset: int, value: int) -> None:
        """Set a 16-bit register now and after each reset."""
        self.put(offset, value, 2)
        self.resets.append((offset, value))

    def find_capability(self, wanted: int) -> int | None:
        """Offset of a capability in the first 256 bytes."""
        at = self.get(0x34) if self.get(6, 2) & 0x10 else 0
        while at:
            if self.get(at) == wanted:
                return at
            at = self.get(at + 1)
        return None


def find_devices(memory: Memory, edits: Sequence[ConfigEdit]) -> dict[str, Device]:
    """The device of each edit by its QEMU id; LabError when one is not found exactly."""
    wanted = {edit.ident for edit in edits}
    found: dict[str, Device] = {}
    for stock in sorted({edit.stock for edit in edits}):
        for device in _devices_with_ids(memory, stock, wanted):
            if device.ident in found:
                raise LabError(f"found {device.ident} twice in QEMU's memory")
            found[device.ident] = device
    if missing := sorted(wanted - set(found)):
        raise LabError(f"did not find {', '.join(missing)} in QEMU's memory")
    return found


def _devices_with_ids(memory: Memory, stock: tuple[int, int], wanted: set[str]) -> Iterator[Device]:
    for at in memory.find(struct.pack("<HH", *stock)):
        if at % 16:  # malloc aligns
            continue
        for holder in memory.find(struct.pack("<Q", at)):
            _config, cmask, wmask, _w1c = struct.unpack("<4Q", memory.read(holder, 32))
            ident = _qdev_id(memory, holder)
            if ident in wanted and _is_config_space(memory, cmask, wmask):
                yield Device(memory, at, wmask, ident)
                break


def _is_config_space(memory: Memory, cmask: int, wmask: int) -> bool:
    # cmask: ids are compared on migration; wmask: ids are read-only, the interrupt line is not
    return (
        memory.read(cmask, 4) == b"\xff\xff\xff\xff"
        and memory.read(wmask, 4) == b"\0\0\0\0"
        and memory.read(wmask + 0x3C, 1) == b"\xff"
    )


def _qdev_id(memory: Memory, holder: int) -> str:
    """DeviceState.id lies a little before PCIDevice.config; nearest first, as what lies further
    off may be another object's."""
    blob = memory.read(holder - 0x200, 0x200)
    for (pointer,) in reversed(list(struct.iter_unpack("<Q", blob))):
        if pointer > 0x10000:
            text = memory.read(pointer, 16).split(b"\0")[0]
            if re.fullmatch(rb"(gpu|rp|up|dn)\d+", text):
                return text.decode()
    return ""


def apply_edit(device: Device, edit: ConfigEdit) -> None:
    """Make one device show what the edit says."""
    device.put(0x00, edit.ids[0], 2)
    device.put(0x02, edit.ids[1], 2)
    if edit.class_code is not None:
        device.put(0x08, 0xA1)
        device.put(0x09, 0)
        device.put(0x0A, edit.class_code, 2)
    if edit.subsystem is not None:
        device.put(0x2C, edit.subsystem[0], 2)
        device.put(0x2E, edit.subsystem[1], 2)
    if edit.card is not None:
        device.put(CIS_POINTER, edit.card, 4)
    if device.find_capability(CAP_EXPRESS) is None:
        _add_express(device)
    _edit_link(device, edit.capable, edit.trained, edit.firmware_aspm)
    if edit.acs is True:
        _add_acs(device)
    elif edit.acs is False:
        _remove_acs(device)


def play_reset(device: Device) -> None:
    """Put back what a hardware reset puts back."""
    for offset, value in device.resets:
        device.put(offset, value, 2)


def _add_express(device: Device) -> None:
    """Give a conventional device a PCI Express endpoint capability, version 2."""
    body = bytearray(60)
    struct.pack_into("<BBH", body, 0, CAP_EXPRESS, device.get(0x34), 0x0002)
    struct.pack_into("<I", body, DEVCAP, 0x8000)  # role-based error reporting
    device.memory.write(device.config + EXPRESS_AT, bytes(body))
    device.put(0x34, EXPRESS_AT)
    device.put(6, device.get(6, 2) | 0x10, 2)
    device.allow(EXPRESS_AT + 8, 0xFF, 2)


def _edit_link(device: Device, capable: Link, trained: Link, aspm: int) -> None:
    cap = device.find_capability(CAP_EXPRESS)
    if cap is None:
        raise LabError(f"{device.ident} has no PCI Express capability")
    kept = device.get(cap + LNKCAP, 4) & ~0x3FFFF  # port number and the reporting bits
    l0s_and_l1, exit_latency = 3 << 10, 3 << 12 | 2 << 15
    value = kept | capable.gen | capable.width << 4 | l0s_and_l1 | exit_latency
    device.put(cap + LNKCAP, value, 4)
    device.put(cap + LNKCAP2, ((1 << capable.gen) - 1) << 1, 4)
    status = device.get(cap + LNKSTA, 2) & ~0x3FF
    device.put(cap + LNKSTA, status | trained.gen | trained.width << 4 | 0x1000, 2)
    device.put(cap + LNKCTL2, capable.gen, 2)
    if device.get(cap + FLAGS, 2) & 0xF0 == 0:  # an endpoint: any exit latency is acceptable
        device.put(cap + DEVCAP, device.get(cap + DEVCAP, 4) | 0xFC0, 4)
    device.allow(cap + LNKCTL, 0x01C3, 2)  # ASPM, common clock, extended sync, clock request
    device.put_at_reset(cap + LNKCTL, aspm)


def _extended_capabilities(device: Device) -> Iterator[tuple[int, int]]:
    at, header = 0x100, device.get(0x100, 4)
    while at and header:
        yield at, header
        at = header >> 20
        header = device.get(at, 4)


def _add_acs(device: Device) -> None:
    chain = list(_extended_capabilities(device))
    if any(header & 0xFFFF == EXT_CAP_ACS for _, header in chain):
        return
    at = ACS_AT if chain else 0x100
    if chain:
        last, header = chain[-1]
        device.put(last, header & 0xFFFFF | at << 20, 4)
    device.put(at, EXT_CAP_ACS | 1 << 16, 4)
    device.put(at + 4, ACS_BITS, 2)
    device.allow(at + 6, ACS_BITS, 2)
    device.put_at_reset(at + 6, 0)


def _remove_acs(device: Device) -> None:
    """Turn the ACS capability into a null capability, which readers step over."""
    for at, header in _extended_capabilities(device):
        if header & 0xFFFF == EXT_CAP_ACS:
            device.put(at, header & ~0xFFFF, 4)
