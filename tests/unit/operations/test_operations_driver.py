"""The driver stage: headers come before the module that is built from them."""

from __future__ import annotations

from pathlib import Path

from rigspec.facts.managed import AptState, PackageState
from rigspec.operations.driver import headers_for_all, steps_of, wanted_of
from rigspec.plan.rig import plan_rig
from rigspec.spec.load import load

RIG_SOURCE = "/etc/apt/sources.list.d/rigspec-nvidia.sources"
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


def test_sources_of_later_stages_are_read_with_the_driver_s_and_only_then() -> None:
    rig = load(str(RIGS / "home.yaml")).rig
    assert rig is not None
    plan = plan_rig(rig)
    later = plan.containers.repositories
    assert later
    said = [str(step) for step in steps_of(plan.driver, later, AptState({}, False, {}, ()), {})]
    source = later[0].sources.dest
    written = next(n for n, text in enumerate(said) if source in text)
    reading = [n for n, text in enumerate(said) if f"set -- {RIG_SOURCE}" in text]
    assert len(reading) == 1  # one `apt-get update` for both
    assert source in said[reading[0]]
    assert written < reading[0]

    wanted = wanted_of(plan.driver)
    there = {
        package.name: PackageState((package.version or "1").replace("*", "0"), True, False)
        for package in (*wanted.packages, *wanted.first)
    }
    steps = steps_of(plan.driver, later, AptState(there, False, {}, ()), {})
    assert all(source not in str(step) for step in steps)
