"""Images of a freshly installed Debian, built once and sealed by the real grub-install."""

from __future__ import annotations

from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab import disk as disks
from rigspec.lab.home import cached, digest
from rigspec.lab.hosttools import run, say
from rigspec.lab.machine import Machine, MachineConfig
from rigspec.lab.rootfs import Installation, make_tree
from rigspec.lab.topology import MachineTree

DISK_GIB = 48  # sparse; `min_free_gib` of a spec is judged against it
FORMAT = 1  # raise when disks are laid out differently

# what the installer does last; the removable path is what a machine without boot entries starts
SEAL = {
    "bios": "grub-install /dev/vda",
    "uefi": "grub-install --target=x86_64-efi --force-extra-removable",
}


def base_image(installation: Installation) -> Path:
    """The sealed image of this installation (qcow2); built on first use, in minutes."""
    inputs = {"recipe": installation.recipe, "seal": SEAL, "format": FORMAT, "gib": DISK_GIB}
    name = digest(inputs)

    def build(folder: Path) -> None:
        say(f"building the {installation.suite} image ({installation.firmware}): minutes, once")
        _build_unsealed(installation, folder, name)
        _seal(installation, folder, name)

    return cached("image", inputs, build) / "base.qcow2"


def _build_unsealed(installation: Installation, folder: Path, name: str) -> None:
    uefi = installation.firmware == "uefi"
    volumes = disks.Volumes.named_after(name)
    tree, raw = folder / "tree.tar", folder / "disk.raw"
    make_tree(installation, {"/etc/fstab": volumes.fstab(uefi=uefi)}, tree)
    make = disks.make_uefi_disk if uefi else disks.make_bios_disk
    make(tree, raw, DISK_GIB, volumes)
    argv = ("qemu-img", "convert", "-O", "qcow2", raw, folder / "unsealed.qcow2")
    run(argv, doing="packing the disk image")
    for scratch in folder.iterdir():
        if scratch.name != "unsealed.qcow2":
            scratch.unlink()


def _seal(installation: Installation, folder: Path, name: str) -> None:
    """Boot it once, install GRUB as the installer would, and flatten the result."""
    machine = Machine(f"seal-{name}")
    config = MachineConfig(MachineTree(), folder / "unsealed.qcow2", installation.firmware)
    try:
        machine.boot(config, fresh=True)
        code, said = machine.ssh(f"{SEAL[installation.firmware]} && update-grub && sync")
        if code:
            raise LabError(f"the new image could not install its boot loader\n{said}")
        machine.ssh("systemctl poweroff", limit_s=20)
        if not machine.wait_stopped(90):
            raise LabError("the new image did not power off")
        flat = ("qemu-img", "convert", "-O", "qcow2", "disk.qcow2", folder / "base.qcow2")
        run(flat, doing="sealing the image", cwd=machine.folder)
    finally:
        machine.kill()
        machine.remove()
    (folder / "unsealed.qcow2").unlink()
