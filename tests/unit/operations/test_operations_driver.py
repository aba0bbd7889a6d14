"""The driver stage: headers come before the module that is built from them."""

from __future__ import annotations

from pathlib import Path

from rigspec.operations.driver import headers_for_all, wanted_of
from rigspec.plan.rig import plan_rig
from rigspec.spec.load import load

RIGS = Path(__file__).resolve().parents[3] / "rigs"


def test_headers_of_every_kernel_are_wanted_before_the_driver() -> None:
    rig = load(str(RIGS / "home.yaml")).rig
    assert rig is not None
    wanted = wanted_of(plan_rig(rig).driver)
    first = [package.name for package in wanted.first]
    # without headers DKMS builds nothing and the module is absent after the reboot (domain: DKMS)
    assert "linux-headers-amd64" in first
    assert "linux-headers-amd64" not in [package.name for package in wanted.packages]
    assert "linux-headers-amd64" in wanted.names  # so that the second run knows it is there


def test_headers_of_one_release_are_not_a_fixed_name() -> None:
    rig = load(str(RIGS / "home.yaml")).rig
    assert rig is not None
    assert all("{" not in package.name for package in headers_for_all(plan_rig(rig).driver))
