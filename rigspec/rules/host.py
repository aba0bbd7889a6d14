"""`host`: is its address one, can rigspec become root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.finding import Finding, error, note
from rigspec.rules.context import CheckContext
from rigspec.rules.exposure import parsed
from rigspec.spec.rig import Rig

_NUMBERS = re.compile(r"[0-9.]+")


def address_valid(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`address` is a host name or an IP address, without a port."""
    address = rig.host.address or ""
    if not (":" in address or _NUMBERS.fullmatch(address)) or parsed(address) is not None:
        return
    name, colon, port = address.rpartition(":")
    with_port = colon and ":" not in name and port.isdecimal()
    yield error(
        "host.address-valid",
        ("host", "address"),
        f"`{address}` holds a port" if with_port else f"`{address}` is no IP address",
        why="ssh would look it up as a name, and no name is like that",
        hint=f"write `address: {name}` and `port: {port}`"
        if with_port
        else "four numbers from 0 to 255, an IPv6 address, or a name",
    )


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
