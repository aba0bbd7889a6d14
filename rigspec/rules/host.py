"""`host`: can rigspec become root."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, note
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig


def sudo_missing(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A login that is not root needs sudo."""
    if rig.host.user != "root" and not rig.host.sudo:
        yield error(
            "host.sudo-missing",
            ("host", "user"),
            f"`{rig.host.user}` is not root and `sudo` is off",
            why="every stage changes the system: kernel arguments, packages, units",
            hint="set `sudo: true` and allow `sudo -n` (NOPASSWD) on the host, or log in as root",
        )


def sudo_needless(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Root needs no sudo."""
    if rig.host.user == "root" and rig.host.sudo:
        yield note(
            "host.sudo-needless",
            ("host", "sudo"),
            "`user` is root, so `sudo` changes nothing",
            why="it needs sudo installed on a host that may have none",
            hint="delete the line",
        )
