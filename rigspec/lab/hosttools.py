"""What the lab needs of its host: Debian packages, and how their commands are called."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from rigspec.errors import LabError


@dataclass(frozen=True)
class HostTool:
    """A command, the Debian package that has it, and what the lab needs it for."""

    command: str
    package: str
    why: str


TOOLS = (
    HostTool("mmdebstrap", "mmdebstrap", "bootstraps the Debian images"),
    HostTool("sfdisk", "fdisk", "partitions the disk images"),
    HostTool("mke2fs", "e2fsprogs", "makes the file systems"),
    HostTool("grub-mkimage", "grub-common", "makes the first boot loader of an image"),
    HostTool("qemu-img", "qemu-utils", "makes disks and overlays"),
    HostTool("socat", "socat", "carries the guest's connections to the lab's own server"),
    HostTool("mkfs.vfat", "dosfstools", "makes the EFI system partition"),
    HostTool("mcopy", "mtools", "fills the EFI system partition"),
    HostTool("apt-ftparchive", "apt-utils", "indexes the simulated NVIDIA repository"),
    HostTool("gpg", "gnupg", "signs what the lab's repositories list"),
    HostTool("gpgv", "gpgv", "checks what Debian has signed"),
    HostTool("ssh", "openssh-client", "reaches the virtual rig"),
    HostTool("newuidmap", "uidmap", "lets a user who is not root bootstrap an image"),
)

# no command to look for: GRUB's modules and the UEFI firmware
DATA_PACKAGES = ("grub-pc-bin", "ovmf")


def debian_packages() -> tuple[str, ...]:
    """Every Debian package the lab needs on its host, sorted."""
    return tuple(sorted({tool.package for tool in TOOLS} | set(DATA_PACKAGES)))


def apt_line(packages: Sequence[str]) -> str:
    """The command that installs these packages."""
    return "sudo apt-get install --no-install-recommends " + " ".join(packages)


def need(*commands: str) -> None:
    """Raise LabError naming every one of these commands that is missing, and how to get it."""
    missing = [t for t in TOOLS if t.command in commands and find_command(t.command) is None]
    if missing:
        what = ", ".join(f"`{t.command}` ({t.why})" for t in missing)
        raise LabError(f"the lab lacks {what}", hint=apt_line(sorted({t.package for t in missing})))


def find_command(name: str) -> str | None:
    """Where a command is, None when it is not installed; /sbin is not on a normal user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def run(
    argv: Sequence[str | Path], *, doing: str, text_in: str | None = None, cwd: Path | None = None
) -> str:
    """Run a host command and give its stdout; LabError with the last lines it said if it fails."""
    words = [str(word) for word in argv]
    need(words[0])
    words[0] = find_command(words[0]) or words[0]
    try:
        done = subprocess.run(words, input=text_in, capture_output=True, text=True, cwd=cwd)
    except OSError as error:
        raise LabError(f"{doing}: cannot run `{words[0]}`: {error.strerror}") from error
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise LabError(f"{doing}: `{words[0]}` ended with {done.returncode}\n{said}")
    return done.stdout


def say(text: str) -> None:
    """One line of progress, on stderr: stdout is for data."""
    click.echo(f"lab: {text}", err=True)
