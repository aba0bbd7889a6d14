"""A QEMU new enough to emulate a PC without KVM, unpacked privately.

Debian 12's own QEMU 7.2 corrupts guest kernels under TCG (5 of 8 starts ended in an oops), so the
lab takes 10.0 from bookworm-backports, and 11.1 from trixie-backports with its own libc where an
AMD IOMMU is wanted: under 10.0 a guest panics with `amd-iommu`.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Literal

from rigspec.errors import LabError
from rigspec.lab.debian import bootstrap, unpack_packages
from rigspec.lab.home import cached
from rigspec.lab.hosttools import LIBRARIES, apt_line, run, say

Release = Literal["10", "11"]

PARTS = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")

WRAPPER = {
    "10": """#!/bin/sh
root=$(cd "$(dirname "$0")/root" && pwd)
QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu exec "$root/usr/bin/qemu-system-x86_64" \\
  -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L /usr/share/qemu "$@"
""",
    "11": """#!/bin/sh
root=$(cd "$(dirname "$0")/root" && pwd)
exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \\
  "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \\
  -L "$root/usr/share/ipxe/qemu" "$@"
""",
}


def has_native_kvm() -> bool:
    """Whether KVM runs stock kernels here; /dev/kvm alone proves nothing (kvm_pvm has it too)."""
    modules = (Path("/sys/module", name) for name in ("kvm_intel", "kvm_amd"))
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and any(m.exists() for m in modules)


def qemu(release: Release) -> Path:
    """The command that starts this QEMU; fetched on first use (1 s, or 20 s for 11)."""

    def build(folder: Path) -> None:
        say(f"fetching QEMU {release}")
        if release == "10":
            unpack_packages("bookworm-backports", PARTS, folder / "root")
        else:
            _bootstrap_own_libc(folder)
        wrapper = folder / "qemu"
        wrapper.write_text(WRAPPER[release])
        wrapper.chmod(0o755)
        _check_starts(wrapper)

    return cached("qemu", {"release": release, "wrapper": WRAPPER[release]}, build) / "qemu"


def _bootstrap_own_libc(folder: Path) -> None:
    packages = tuple(f"{part}/trixie-backports" for part in PARTS)
    tree = folder / "root.tar"
    bootstrap(("trixie", "trixie-backports"), packages, tree)
    with tarfile.open(tree) as archive:
        wanted = [m for m in archive.getmembers() if not (m.isdev() or m.name.startswith("./etc"))]
        archive.extractall(folder / "root", members=wanted, filter="tar")
    tree.unlink()


def _check_starts(wrapper: Path) -> None:
    try:
        run((wrapper, "--version"), doing="starting QEMU")
    except LabError as error:
        raise LabError(error.message, hint=apt_line(LIBRARIES)) from error
