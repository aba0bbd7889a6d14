"""Bootable disk images from a tree, with no loop device and nothing mounted.

`mke2fs -d` fills the file system. For BIOS, GRUB's boot.img and core.img are put where
`grub-bios-setup` would put them; for UEFI the EFI system partition gets Debian's signed shim and
GRUB. The first boot then runs the real grub-install (see `image.py`).
"""

from __future__ import annotations

import struct
import tarfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab.debian import as_root
from rigspec.lab.hosttools import find_command, need, run
from rigspec.lab.rootfs import EMULATED

SECTOR = 512
BIOS_START = 34  # first sector after the GPT
MIB_SECTORS = 2048
ESP_SECTORS = 64 * MIB_SECTORS
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

GRUB_MODULES = ("biosdisk", "part_gpt", "ext2", "search", "search_fs_uuid")
GRUB_COMMANDS = ("normal", "configfile", "linux", "boot", "echo")


@dataclass(frozen=True)
class Volumes:
    """The identities of an image's file systems, known before they exist."""

    root_uuid: str
    esp_serial: str  # eight hexadecimal digits

    @classmethod
    def named_after(cls, name: str) -> Volumes:
        """Stable identities for the image of this name."""
        root = uuid.uuid5(uuid.NAMESPACE_URL, name)
        return cls(str(root), root.hex[:8].upper())

    def fstab(self, *, uefi: bool) -> str:
        """/etc/fstab for this image."""
        text = f"UUID={self.root_uuid} / ext4 defaults 0 1\n"
        if uefi:
            esp = f"{self.esp_serial[:4]}-{self.esp_serial[4:]}"
            text += f"UUID={esp} /boot/efi vfat umask=0077 0 1\n"
        return text


def make_bios_disk(tree: Path, disk: Path, size_gib: int, volumes: Volumes) -> None:
    """A GPT disk with a BIOS boot partition that starts GRUB on the tree's kernel."""
    work = disk.parent
    boot = _member(tree, "./usr/lib/grub/i386-pc/boot.img")
    core = work / "core.img"
    early = work / "early.cfg"
    early.write_text(_first_menu(tree, volumes))
    argv = ("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "/boot/grub", "-c", early)
    run((*argv, *GRUB_MODULES, *GRUB_COMMANDS), doing="making GRUB's core image")
    root = _partition(disk, size_gib, BIOS_START, MIB_SECTORS - BIOS_START, BIOS_BOOT)
    _fill_root(tree, disk, root, volumes)
    _place_grub(disk, boot, core.read_bytes())


def make_uefi_disk(tree: Path, disk: Path, size_gib: int, volumes: Volumes) -> None:
    """A GPT disk with an EFI system partition that holds Debian's signed shim and GRUB."""
    need("mkfs.vfat", "mcopy")
    root = _partition(disk, size_gib, MIB_SECTORS, ESP_SECTORS, EFI_SYSTEM)
    _fill_root(tree, disk, root, volumes)
    esp = disk.parent / "esp.img"
    esp.write_bytes(b"")
    with esp.open("r+b") as handle:
        handle.truncate(ESP_SECTORS * SECTOR)
    run(("mkfs.vfat", "-i", volumes.esp_serial, esp), doing="making the EFI system partition")
    run(("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT", "::/EFI/debian"), doing="making its folders")
    signed = "./usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    parts = {
        "::/EFI/BOOT/BOOTX64.EFI": _member(tree, "./usr/lib/shim/shimx64.efi.signed"),
        "::/EFI/BOOT/grubx64.efi": _member(tree, signed),
        "::/EFI/debian/grub.cfg": _first_menu(tree, volumes).encode(),
    }
    for place, data in parts.items():
        part = disk.parent / "esp.part"
        part.write_bytes(data)
        run(("mcopy", "-i", esp, part, place), doing="filling the EFI system partition")
    with disk.open("r+b") as handle:
        handle.seek(MIB_SECTORS * SECTOR)
        handle.write(esp.read_bytes())


def _member(tree: Path, path: str) -> bytes:
    with tarfile.open(tree) as archive:
        handle = archive.extractfile(path)
        if handle is None:
            raise LabError(f"the bootstrapped tree has no {path}")
        return handle.read()


def _first_menu(tree: Path, volumes: Volumes) -> str:
    """Use GRUB's real menu when there is one, else start the tree's newest kernel."""
    with tarfile.open(tree) as archive:
        names = [n for n in archive.getnames() if n.startswith("./boot/vmlinuz-")]
    version = max(names).removeprefix("./boot/vmlinuz-")
    root = volumes.root_uuid
    return (
        f"search --no-floppy --fs-uuid --set=root {root}\nset prefix=($root)/boot/grub\n"
        "if [ -s $prefix/grub.cfg ]; then configfile $prefix/grub.cfg; fi\n"
        f"linux /boot/vmlinuz-{version} root=UUID={root} ro {EMULATED}\n"
        f"initrd /boot/initrd.img-{version}\nboot\n"
    )


def _partition(disk: Path, size_gib: int, start: int, length: int, kind: str) -> tuple[int, int]:
    """Write the table; gives first sector and length of the root partition."""
    disk.write_bytes(b"")
    with disk.open("r+b") as handle:
        handle.truncate(size_gib << 30)
    root = start + length
    root_length = (size_gib << 30) // SECTOR - root - MIB_SECTORS
    script = (
        f"label: gpt\nfirst-lba: {BIOS_START}\nunit: sectors\n"
        f"1 : start={start}, size={length}, type={kind}\n"
        f"2 : start={root}, size={root_length}, type={LINUX}\n"
    )
    argv = ("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--force", disk)
    run(argv, doing="partitioning the disk image", text_in=script)
    return root, root_length


def _fill_root(tree: Path, disk: Path, root: tuple[int, int], volumes: Volumes) -> None:
    start, length = root
    mke2fs = find_command("mke2fs") or "mke2fs"
    # one shell, so that unpacking and filling share a user namespace and owners stay right
    script = (
        'set -e; mkdir "$2"; tar -xf "$1" -C "$2" --numeric-owner --exclude="./dev/*"; '
        f'{mke2fs} -q -F -t ext4 -d "$2" -U {volumes.root_uuid} -L rig -m 0 -J size=16 '
        f'-E offset={start * SECTOR},lazy_itable_init=1,lazy_journal_init=1 "$3" '
        f'{length * SECTOR // 1024}k; rm -rf "$2"'
    )
    argv = ("sh", "-c", script, "fill", tree, disk.parent / "tree", disk)
    run(as_root(argv), doing="filling the root file system")


def _place_grub(disk: Path, boot: bytes, core: bytes) -> None:
    """What grub-bios-setup does for a BIOS boot partition (util/setup.c), on a plain file."""
    sectors = -(-len(core) // SECTOR)
    if sectors > MIB_SECTORS - BIOS_START:
        raise LabError("GRUB's core image does not fit in front of the first partition")
    image = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    # block list at the end of the first sector: where the rest is, how long, load segment
    struct.pack_into("<QHH", image, SECTOR - 12, BIOS_START + 1, sectors - 1, 0x820)
    start = bytearray(boot)
    struct.pack_into("<Q", start, 0x5C, BIOS_START)
    start[0x66:0x68] = b"\x90\x90"  # no jump around the drive check
    with disk.open("r+b") as handle:
        record = bytearray(handle.read(SECTOR))
        record[0:3] = start[0:3]
        record[0x5A:0x1B8] = start[0x5A:0x1B8]  # keep the BPB and the partition table
        handle.seek(0)
        handle.write(record)
        handle.seek(BIOS_START * SECTOR)
        handle.write(image)
