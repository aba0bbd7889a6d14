"""Debian packages from the host's own mirror: trees by mmdebstrap, single packages unpacked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab.hosttools import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def host_mirror() -> str:
    """The Debian mirror this host's apt uses, without a trailing slash."""
    said = run(
        ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"),
        doing="asking apt for this host's mirror",
    )
    for line in said.splitlines():
        if line.rstrip("/").endswith("/debian"):
            return line.rstrip("/")
    raise LabError(
        "this host's apt knows no Debian mirror",
        hint="the lab needs a Debian host with package lists: sudo apt-get update",
    )


def as_root(argv: Sequence[str | Path]) -> tuple[str | Path, ...]:
    """The command inside a user namespace where we are root, or as it is when we are root."""
    if os.geteuid() == 0:
        return tuple(argv)
    return ("unshare", "--map-root-user", "--map-auto", *argv)


def bootstrap(
    suites: Sequence[str], packages: Sequence[str], target: Path, *, hooks: Sequence[str] = ()
) -> None:
    """Make a minimal Debian tree as a tar file; `suites[0]` is the base, others are added.

    Needs root or user namespaces with /etc/subuid (package uidmap). `hooks` are mmdebstrap
    customize hooks.
    """
    mirror = host_mirror()
    mode = "root" if os.geteuid() == 0 else "unshare"
    excluded = ("man/*", "locale/*", "doc/*", "info/*", "lintian/*")
    argv = [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        "--format=tar",
        "--quiet",
        f"--keyring={KEYRING}",
        '--aptopt=Acquire::Languages "none"',
        # a mirror that lags behind is still a signed one
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{path}" for path in excluded),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--include={','.join(packages)}",
        *(f"--customize-hook={hook}" for hook in hooks),
        suites[0],
        str(target),
        *(f"deb {mirror} {suite} main" for suite in suites),
    ]
    run(argv, doing=f"bootstrapping Debian {suites[0]}")


def unpack_packages(suite: str, packages: Sequence[str], target: Path) -> None:
    """Unpack packages of a suite below `target`, without installing anything on the host."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        options = _private_apt(work, suite)
        run(("apt-get", *options, "-qq", "update"), doing=f"reading the package lists of {suite}")
        run(
            ("apt-get", *options, "-qq", "download", *packages),
            doing=f"fetching {', '.join(packages)}",
            cwd=work,
        )
        target.mkdir(parents=True, exist_ok=True)
        for package in sorted(work.glob("*.deb")):
            run(("dpkg-deb", "-x", package, target), doing=f"unpacking {package.name}")


def _private_apt(work: Path, suite: str) -> tuple[str, ...]:
    """Options for an apt that knows only this suite and nothing of the host's state."""
    for folder in ("etc/preferences.d", "lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    source = work / "etc" / "sources.list"
    source.write_text(f"deb [signed-by={KEYRING}] {host_mirror()} {suite} main\n")
    settings = {
        "Dir::Etc": work / "etc",
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Dir::State::status": "/dev/null",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
        "APT::Sandbox::User": "root",
    }
    return tuple(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))
