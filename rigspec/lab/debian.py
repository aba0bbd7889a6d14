"""Debian trees from the host's own mirror."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
    suites: Sequence[str],
    packages: Sequence[str],
    target: Path,
    *,
    variant: Literal["minbase", "extract"] = "minbase",
    hooks: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> None:
    """Make a minimal Debian tree as a tar file; `suites[0]` is the base, others are added.

    Needs root or user namespaces with /etc/subuid (package uidmap). `extract` is no system: the
    files of the packages and of what they depend on, nothing configured. `hooks` are mmdebstrap
    customize hooks, `skip` the steps of its own that are left out.
    """
    mirror = host_mirror()
    mode = "root" if os.geteuid() == 0 else "unshare"
    excluded = ("man/*", "locale/*", "doc/*", "info/*", "lintian/*")
    argv = [
        "mmdebstrap",
        f"--mode={mode}",
        f"--variant={variant}",
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
        *(f"--skip={step}" for step in skip),
        suites[0],
        str(target),
        *(f"deb {mirror} {suite} main" for suite in suites),
    ]
    run(argv, doing=f"bootstrapping Debian {suites[0]}")


def unpack_programs(tree: Path, target: Path) -> None:
    """Unpack programs and libraries (/usr) of a bootstrapped tree, owned by whoever calls."""
    target.mkdir()
    run(
        ("tar", "-xf", tree, "-C", target, "--no-same-owner", "./usr"),
        doing=f"unpacking {tree.name}",
    )
