"""A QEMU new enough to emulate a PC without KVM, unpacked privately with its own libc.

Debian 12's own QEMU 7.2 corrupts guest kernels when it emulates (5 of 8 starts ended in an oops),
and under 10.0 a guest panics with `amd-iommu`. 11.1 from trixie-backports has neither trouble, and
started through its own ld.so it needs nothing of the host's libraries.
"""

from __future__ import annotations

from pathlib import Path

from rigspec.lab.debian import bootstrap, unpack_programs
from rigspec.lab.home import cached
from rigspec.lab.hosttools import run, say

SUITES = ("trixie", "trixie-backports")
PARTS = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")
PACKAGES = tuple(f"{part}/trixie-backports" for part in PARTS)
LIBRARIES = "usr/lib/x86_64-linux-gnu"

WRAPPER = f"""#!/bin/sh
root=$(cd "$(dirname "$0")/root" && pwd)
export QEMU_MODULE_DIR=$root/{LIBRARIES}/qemu
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/{LIBRARIES}" \\
  "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
"""


def qemu() -> Path:
    """The command that starts QEMU; fetched on first use (30 s)."""
    inputs = {"packages": PACKAGES, "suites": SUITES, "wrapper": WRAPPER}
    return cached("qemu", inputs, _fetch) / "qemu"


def _fetch(folder: Path) -> None:
    say("fetching QEMU")
    tree = folder / "root.tar"
    bootstrap(SUITES, PACKAGES, tree, variant="extract")
    unpack_programs(tree, folder / "root")
    tree.unlink()
    wrapper = folder / "qemu"
    wrapper.write_text(WRAPPER)
    wrapper.chmod(0o755)
    run((wrapper, "--version"), doing="starting QEMU")
