"""`driver`: branch, flavour and version that these cards and images can live with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.drivers import card_driver, cuda_driver, driver_covers
from rigspec.catalog.engines import engine
from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card
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


def too_old_for_card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The branch knows every card."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        needs = card_driver(card) if card else None
        if card is None or needs is None:
            continue
        if driver_covers(rig.driver.branch, rig.driver.version, needs.minimum):
            continue
        say = warning if needs.source.startswith("derived") else error
        yield say(
            "driver.too-old-for-card",
            _version_path(rig),
            f"driver {_version(rig)} does not know {a_card(card)}; {needs.minimum} and newer do",
            why="the driver loads and finds no device",
            hint="580 is the long-lived branch, 595 the production branch",
        )


def too_new_for_card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The branch still knows every card."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        needs = card_driver(card) if card else None
        if card and needs and needs.last_branch and rig.driver.branch > needs.last_branch:
            yield error(
                "driver.too-new-for-card",
                ("driver", "branch"),
                f"branch {rig.driver.branch} does not drive {a_card(card)} any more; "
                f"{needs.last_branch} is the last that does",
                why="Maxwell, Pascal and Volta cards were dropped after it",
                hint=f"set `branch: {needs.last_branch}`",
            )


def too_old_for_image(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The driver runs the CUDA version of every image."""
    for name, service in rig.services.items():
        needs = engine(service.engine).driver_floor(service.image, service.cuda)
        if needs is None or driver_covers(rig.driver.branch, rig.driver.version, needs.minimum):
            continue
        found = error(
            "driver.too-old-for-image",
            ("services", name, "cuda" if service.cuda else "image"),
            f"an image built with CUDA {needs.cuda} needs driver {needs.minimum} or newer, the "
            f"spec installs {_version(rig)}",
            why="the engine ends with error 804 or runs on the CPU",
            hint=f"set `driver.branch: {needs.minimum.partition('.')[0]}` or newer, or take an "
            "image built with an older CUDA",
        )
        yield replace(found, also=(_version_path(rig),))


def cuda_in_catalog(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The CUDA version is one whose driver floor is known."""
    for name, service in rig.services.items():
        if service.cuda is not None and cuda_driver(service.cuda) is None:
            yield warning(
                "driver.cuda-in-catalog",
                ("services", name, "cuda"),
                f"the driver floor of CUDA {service.cuda} is not in the catalog",
                why="whether the driver is new enough is not checked",
                hint="look for it in NVIDIA's CUDA release notes",
            )


def _version(rig: Rig) -> str:
    return rig.driver.version or f"branch {rig.driver.branch}"


def _version_path(rig: Rig) -> tuple[str, str]:
    return ("driver", "version" if rig.driver.version else "branch")


def open_needed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Blackwell cards work with the open kernel modules only."""
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card and card.open_module == "required" and rig.driver.flavour == "proprietary":
            yield error(
                "driver.open-needed",
                ("driver", "flavour"),
                f"{a_card(card)} works with the open kernel modules only",
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
                f"{a_card(card)} does not work with the open kernel modules",
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
            f"no driver drives both {a_card(cards[old[0]])} and {a_card(cards[new[0]])}",
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
