"""The simulated NVIDIA repository: a flat apt repository, signed with this lab's own key."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

from rigspec.lab.home import cached
from rigspec.lab.hosttools import need, run
from rigspec.lab.rootfs import LAB_NAME
from rigspec.lab.signing import clearsigned, fingerprint, public_key
from rigspec.lab.simulated.packages import GpuFacts, Package, all_packages
from rigspec.lab.topology import MachineTree

URL = f"http://{LAB_NAME}/nvidia"
TOOLKIT_URL = f"http://{LAB_NAME}/toolkit"
KEY_URL = f"{URL}/key.asc"


def nvidia_repository(tree: MachineTree) -> Path:
    """The folder of the repository for a machine with these GPUs; built on first use (2 s)."""
    need("apt-ftparchive", "gpg")
    packages = all_packages(_facts(tree))
    inputs = {"packages": [asdict(package) for package in packages], "key": fingerprint()}
    return cached("nvidia", inputs, lambda folder: _build(packages, folder))


def _facts(tree: MachineTree) -> tuple[GpuFacts, ...]:
    return tuple(
        GpuFacts(
            gpu.vendor_id,
            gpu.device_id,
            gpu.subsystem,
            gpu.name,
            gpu.memory_mib,
            gpu.power_min_w,
            gpu.power_default_w,
            gpu.power_max_w,
            gpu.compute_capability,
            gpu.max_clock_mhz,
        )
        for gpu in tree.gpus
    )


def _build(packages: Sequence[Package], folder: Path) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(lambda package: build_package(package, folder), packages):
            pass
    listed = run(("apt-ftparchive", "packages", "."), doing="indexing packages", cwd=folder)
    (folder / "Packages").write_text(listed)
    label = "-o=APT::FTPArchive::Release::Origin=rigspec-lab-simulated"
    release = run(("apt-ftparchive", label, "release", "."), doing="indexing", cwd=folder)
    (folder / "InRelease").write_bytes(clearsigned(release))
    (folder / "key.asc").write_bytes(public_key())


def build_package(package: Package, folder: Path) -> Path:
    """Write a .deb: an ar archive of two tar files (deb(5)), which takes no tool and no root."""
    control = {"./control": (package.control, 0o644)}
    if package.postinst:
        control["./postinst"] = (package.postinst, 0o755)
    data = {f".{path}": (item.text, item.mode) for path, item in package.files.items()}
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tar(control),
        "data.tar.gz": _tar(data),
    }
    archive = bytearray(b"!<arch>\n")
    for name, body in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        archive += body + b"\n" * (len(body) % 2)
    file = folder / f"{package.name}_{package.version}_amd64.deb"
    file.write_bytes(archive)
    return file


def _tar(files: dict[str, tuple[str, int]]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        folders = {str(parent) for path in files for parent in Path(path).parents}
        for folder in sorted(folders - {"."}):
            member = tarfile.TarInfo(f"./{folder}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for path, (text, mode) in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text.encode()), mode
            archive.addfile(member, BytesIO(text.encode()))
    return buffer.getvalue()
