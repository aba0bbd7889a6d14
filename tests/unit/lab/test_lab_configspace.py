"""The editing itself, on configuration spaces laid out by hand as QEMU lays them out."""

from __future__ import annotations

import os
import struct

import pytest

from rigspec.errors import LabError
from rigspec.lab.configspace import (
    Device,
    Memory,
    apply_edit,
    find_devices,
    malloc_regions,
    play_reset,
)
from rigspec.lab.qemu_args import ConfigEdit
from rigspec.lab.topology import Link

WMASK = 0x10000


class PlainMemory(Memory):
    """A process's memory that is a bytearray: configuration space at 0, write mask at WMASK."""

    def __init__(self) -> None:
        self.data = bytearray(0x20000)

    def read(self, at: int, count: int) -> bytes:
        return bytes(self.data[at : at + count])

    def write(self, at: int, data: bytes) -> None:
        self.data[at : at + len(data)] = data


def conventional_device() -> Device:
    return Device(PlainMemory(), 0, WMASK, "gpu0")


def downstream_port() -> Device:
    """An Express capability at 0x90 and one extended capability (AER) at 0x100."""
    device = Device(PlainMemory(), 0, WMASK, "dn1")
    device.put(6, 0x10, 2)
    device.put(0x34, 0x90)
    device.put(0x90, 0x10)
    device.put(0x92, 0x62, 2)  # version 2, type 6: downstream port
    device.put(0x100, 0x0001 | 1 << 16, 4)
    return device


def gpu_edit() -> ConfigEdit:
    return ConfigEdit(
        "gpu0",
        (0x1AF4, 0x1110),
        (0x10DE, 0x2684),
        Link(4, 16),
        Link(3, 8),
        firmware_aspm=2,
        class_code=0x0302,
        subsystem=(0x1043, 0x88E2),
        card=0x00070003,
    )


def port_edit(*, acs: bool) -> ConfigEdit:
    ids = (0x104C, 0x8233)
    return ConfigEdit("dn1", ids, ids, Link(4, 16), Link(4, 16), acs=acs)


def acs_capability(device: Device) -> int | None:
    """Where lspci would find ACS, walking the extended capabilities."""
    at = 0x100
    while at:
        header = device.get(at, 4)
        if header & 0xFFFF == 0x000D:
            return at
        at = header >> 20
    return None


def test_a_card_shows_its_ids_class_and_number() -> None:
    device = conventional_device()
    apply_edit(device, gpu_edit())
    assert device.get(0, 4) == 0x268410DE
    assert device.get(0x0A, 2) == 0x0302
    assert device.get(0x2C, 4) == 0x88E21043
    assert device.get(0x28, 4) == 0x00070003


def test_a_conventional_device_becomes_an_express_endpoint() -> None:
    device = conventional_device()
    apply_edit(device, gpu_edit())
    assert device.get(6, 2) & 0x10
    at = device.get(0x34)
    assert device.get(at) == 0x10
    assert device.get(at + 2, 2) & 0xF0 == 0


def test_link_registers_show_capability_and_trained_state() -> None:
    device = conventional_device()
    apply_edit(device, gpu_edit())
    at = device.get(0x34)
    assert device.get(at + 12, 4) & 0x3FF == 4 | 16 << 4
    assert device.get(at + 18, 2) & 0x3FF == 3 | 8 << 4
    assert device.get(at + 44, 4) == 0b11110


def test_aspm_is_writable_and_back_at_the_firmware_value_after_reset() -> None:
    device = conventional_device()
    apply_edit(device, gpu_edit())
    control = device.get(0x34) + 16
    mask = struct.unpack("<H", device.memory.read(WMASK + control, 2))[0]
    assert mask & 3 == 3
    device.put(control, 0, 2)
    play_reset(device)
    assert device.get(control, 2) & 3 == 2


def test_a_port_gets_acs_behind_its_last_capability() -> None:
    port = downstream_port()
    apply_edit(port, port_edit(acs=True))
    at = acs_capability(port)
    assert at is not None
    assert port.get(at + 4, 2) == 0x5F
    port.put(at + 6, 0x1D, 2)
    play_reset(port)
    assert port.get(at + 6, 2) == 0


def test_acs_is_not_added_twice() -> None:
    port = downstream_port()
    apply_edit(port, port_edit(acs=True))
    before = port.memory.read(0, 0x1000)
    apply_edit(port, port_edit(acs=True))
    assert port.memory.read(0, 0x1000) == before


def test_a_port_can_lose_acs_and_keep_what_stands_behind_it() -> None:
    port = downstream_port()
    apply_edit(port, port_edit(acs=True))
    apply_edit(port, port_edit(acs=False))
    assert acs_capability(port) is None
    assert port.get(0x100, 2) == 0x0001


def test_a_device_that_is_not_there_is_named() -> None:
    with Memory(os.getpid()) as memory, pytest.raises(LabError, match="did not find dn1"):
        find_devices(memory, [port_edit(acs=True)])


def test_malloc_is_looked_for_on_the_heap_first_and_not_in_guest_memory() -> None:
    maps = """\
5581c0000000-5581c0400000 rw-p 00000000 00:00 0
7f0000000000-7f0060000000 rw-p 00000000 00:00 0
7f1000000000-7f1000100000 rw-p 00000000 00:00 0                          [heap]
7f2000000000-7f2000001000 r--p 00000000 00:00 0
7f3000000000-7f3000001000 rw-p 00001000 fe:00 42                         /lib/libc.so.6
7f4000000000-7f4000001000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
"""
    assert malloc_regions(maps) == [
        (0x7F1000000000, 0x7F1000100000),
        (0x5581C0000000, 0x5581C0400000),
    ]


class HeldMemory(PlainMemory):
    """One device at 0x1000, its PCIDevice at 0x4000 with the pointers QEMU has there."""

    def __init__(self, names: dict[int, bytes]) -> None:
        super().__init__()
        self.write(0x1000, struct.pack("<HH", 0x1B36, 0x000C))
        self.write(0x4000, struct.pack("<4Q", 0x1000, 0x2000, 0x3000, 0))
        self.write(0x2000, b"\xff" * 4)
        self.write(0x303C, b"\xff")
        for number, (distance, name) in enumerate(names.items()):
            text = 0x18000 + 32 * number
            self.write(text, name + b"\0")
            self.write(0x4000 - distance, struct.pack("<Q", text))
        self._regions = [(0, bytes(self.data))]


def root_port(ident: str) -> ConfigEdit:
    ids = (0x1B36, 0x000C)
    return ConfigEdit(ident, ids, ids, Link(4, 16), Link(4, 16), acs=True)


def test_a_device_is_found_by_the_name_nearest_to_its_pointers() -> None:
    memory = HeldMemory({0x1C8: b"up1", 0x90: b"rp1"})
    assert find_devices(memory, [root_port("rp1")])["rp1"].config == 0x1000


def test_something_that_only_looks_like_a_device_is_left_alone() -> None:
    memory = HeldMemory({0x90: b"rp1"})
    memory.write(0x2000, b"\0\0\0\0")
    with pytest.raises(LabError, match="did not find rp1"):
        find_devices(memory, [root_port("rp1")])
