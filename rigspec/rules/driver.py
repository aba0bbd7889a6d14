"""`driver`: branch, flavour and version that these cards and images can live with."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig


def version_in_branch(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The exact version belongs to the branch."""
    version, branch = rig.driver.version, rig.driver.branch
    if version is not None and not version.startswith(f"{branch}."):
        yield error(
            "driver.version-in-branch",
            ("driver", "version"),
            f"version {version} does not belong to branch {branch}",
            hint=f"set `branch: {version.partition('.')[0]}`, or give a version {branch}.…",
        )


def open_needed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Blackwell cards work with the open kernel modules only."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card and card.open_module == "required" and rig.driver.flavour == "proprietary":
            yield error(
                "driver.open-needed",
                ("driver", "flavour"),
                f"a {card.name} works with the open kernel modules only",
                why="the proprietary modules do not know Blackwell and newer cards: "
                "`No devices were found`",
                hint="set `flavour: auto` or `open`",
            )


def open_too_new(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Cards before Turing work with the proprietary modules only."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card and card.open_module == "unsupported" and rig.driver.flavour == "open":
            yield error(
                "driver.open-too-new",
                ("driver", "flavour"),
                f"a {card.name} does not work with the open kernel modules",
                why="they need the GSP processor of Turing and newer cards",
                hint="set `flavour: auto` or `proprietary`",
            )


def no_common_driver(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One host has one driver."""
    cards = {name: card for name in rig.gpus if (card := facts.gpu(rig, name))}
    old = [n for n, card in cards.items() if card.open_module == "unsupported"]
    new = [n for n, card in cards.items() if card.open_module == "required"]
    if old and new:
        yield error(
            "driver.no-common-driver",
            ("gpus", old[0], "sku"),
            f"no driver drives both a {cards[old[0]].name} and a {cards[new[0]].name}",
            why="the one needs the proprietary modules, the other the open ones; a host loads one "
            "set",
            hint="put them into two machines",
        )


def not_held(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What happens to a driver that is not held."""
    if not rig.driver.hold:
        yield warning(
            "driver.not-held",
            ("driver", "hold"),
            "an unattended upgrade may replace the driver below a running engine",
            why="library and kernel module then differ, and every new process fails until the next "
            "boot (`Driver/library version mismatch`)",
            hint="delete `hold: false`; raise `branch` or `version` when you want a newer one",
        )


def secure_boot_key(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What Secure Boot asks of the owner."""
    if rig.driver.secure_boot == "on":
        yield note(
            "driver.secure-boot-key",
            ("driver", "secure_boot"),
            "with Secure Boot on, the key that signs the driver must be enrolled at the console",
            why="the firmware asks for a password at the next boot, before SSH is up; without the "
            "key the module is refused (`Key was rejected by service`)",
            hint="`mokutil --import` the DKMS key and stand by at screen or BMC, once",
        )
