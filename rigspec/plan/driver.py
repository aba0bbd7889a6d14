"""The NVIDIA driver: packages, pins and the repository they come from."""

from __future__ import annotations

from pathlib import Path

from rigspec.catalog.drivers import Flavour, packages_for
from rigspec.plan.gpus import known_card
from rigspec.plan.render import render
from rigspec.plan.repository import plan_repository
from rigspec.plan.sections import DriverPlan, Package, RenderedFile
from rigspec.spec.rig import Rig

PREFERENCES = "/etc/apt/preferences.d/rigspec-nvidia"

PINNED_NAMES = (
    "nvidia-* libnvidia-* libcuda* cuda-drivers* firmware-nvidia-* xserver-xorg-video-nvidia*"
)
"""Everything that is versioned like the driver; what carries another version (the container
toolkit's libnvidia-container1, say) is not touched by a pin on the driver's version."""


def plan_driver(rig: Rig, extra: Path | None = None) -> DriverPlan:
    """Packages of the wanted branch and flavour; every one of them is asked for by version, so that
    a change of branch in the spec is seen."""
    wanted, flavour = rig.driver, flavour_of(rig, extra)
    known = packages_for(rig.host.os, wanted.branch, wanted.version, flavour, wanted.hold)
    # a pinning package is there for every branch, but not for every release: our own file pins too
    pinning = known.pinning if known.pinning and not wanted.version else None
    return DriverPlan(
        branch=wanted.branch,
        version=wanted.version,
        flavour=flavour,
        repository=plan_repository(
            rig.name, known.repository, wanted.repository, origin="driver.repository"
        ),
        pinning_packages=(Package(pinning),) if pinning else (),
        packages=tuple(Package(name, known.pin_pattern) for name, _ in known.install),
        hold=tuple(name for name in known.hold if name != known.pinning or pinning),
        must_be_absent=known.must_be_absent,
        files=(_preferences(rig, known.pin_pattern),),
        headers=known.headers,
        components=known.distribution_components,
    )


def flavour_of(rig: Rig, extra: Path | None = None) -> Flavour:
    """`open` or `proprietary`; `auto` is open where every card can be driven by it."""
    if rig.driver.flavour != "auto":
        return rig.driver.flavour
    cards = (known_card(group.sku, extra) for group in rig.gpus.values())
    return "proprietary" if any(c.open_module == "unsupported" for c in cards) else "open"


def _preferences(rig: Rig, pattern: str) -> RenderedFile:
    return render(
        PREFERENCES,
        rig=rig.name,
        origin="driver.branch and driver.version",
        packages=PINNED_NAMES,
        version=pattern,
    )
