"""The NVIDIA driver: packages, pins and the repository they come from."""

from __future__ import annotations

from pathlib import Path

from rigspec.plan.gpus import known_card
from rigspec.plan.render import render
from rigspec.plan.repository import plan_repository
from rigspec.plan.sections import DriverPlan, Package, RenderedFile
from rigspec.spec.rig import Rig

PREFERENCES = "/etc/apt/preferences.d/rigspec-nvidia"


def plan_driver(rig: Rig, extra: Path | None = None) -> DriverPlan:
    """Provisional."""
    wanted = rig.driver
    flavour = flavour_of(rig, extra)
    packages = {
        "open": ("nvidia-open", "nvidia-driver-cuda", "nvidia-kernel-open-dkms"),
        "proprietary": ("cuda-drivers",),
    }[flavour]
    pattern = f"{wanted.version}-*" if wanted.version else f"{wanted.branch}.*"
    mirror = wanted.repository
    return DriverPlan(
        branch=wanted.branch,
        version=wanted.version,
        flavour=flavour,
        repository=plan_repository(
            rig.name,
            "nvidia",
            origin="driver.repository",
            url=mirror.url
            if mirror
            else "https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/",
            suite="/",
            components="",
            key_url=mirror.key_url
            if mirror
            else "https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/3bf863cc.pub",
            key_fingerprint=mirror.key_fingerprint if mirror else "0" * 40,
        ),
        pinning_packages=(),
        packages=tuple(Package(name, pattern) for name in packages),
        hold=packages if wanted.hold else (),
        must_be_absent=(),
        files=(_preferences(rig, packages, pattern),),
    )


def flavour_of(rig: Rig, extra: Path | None = None) -> str:
    """`open` or `proprietary`; `auto` is open where every card can be driven by it."""
    if rig.driver.flavour != "auto":
        return rig.driver.flavour
    cards = (known_card(group.sku, extra) for group in rig.gpus.values())
    return "proprietary" if any(c.open_module == "unsupported" for c in cards) else "open"


def _preferences(rig: Rig, packages: tuple[str, ...], pattern: str) -> RenderedFile:
    return render(
        PREFERENCES,
        rig=rig.name,
        origin="driver.branch and driver.version",
        packages=" ".join(packages),
        version=pattern,
    )
