"""Driver, toolkit and container engine packages: both naming eras, keys, driver floors."""

from __future__ import annotations

import pytest

from rigspec.catalog.containers import engine_packages, toolkit_packages
from rigspec.catalog.data import load_table
from rigspec.catalog.drivers import (
    Flavour,
    card_driver,
    cuda_driver,
    driver_covers,
    flavours_for,
    packages_for,
)
from rigspec.catalog.gpus import all_gpus, find_gpu

SYSTEMS = ("debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04")


def names(os: str, branch: int, flavour: Flavour) -> list[str]:
    return [name for name, _ in packages_for(os, branch, None, flavour).install]


@pytest.mark.parametrize(
    ("os", "branch", "flavour", "expected"),
    [  # Driver Installation Guide r590, compute-only; 580 as in public install scripts
        ("debian-13", 595, "open", ["nvidia-driver-cuda", "nvidia-kernel-open-dkms"]),
        ("debian-12", 580, "proprietary", ["nvidia-driver-cuda", "nvidia-kernel-dkms"]),
        ("ubuntu-24.04", 595, "open", ["libnvidia-compute", "nvidia-dkms-open"]),
        ("ubuntu-24.04", 610, "proprietary", ["libnvidia-compute", "nvidia-dkms"]),
        ("ubuntu-22.04", 580, "open", ["libnvidia-compute-580", "nvidia-dkms-580-open"]),
        ("ubuntu-22.04", 580, "proprietary", ["libnvidia-compute-580", "nvidia-dkms-580"]),
    ],
)
def test_compute_only_packages_have_the_names_of_their_era(
    os: str, branch: int, flavour: Flavour, expected: list[str]
) -> None:
    assert names(os, branch, flavour)[:2] == expected


def test_branch_590_is_where_ubuntu_names_lose_their_suffix() -> None:
    assert all("-580" in name for name in names("ubuntu-24.04", 580, "open"))
    assert not any(char.isdigit() for name in names("ubuntu-24.04", 590, "open") for char in name)


@pytest.mark.parametrize("os", SYSTEMS)
def test_pinning_package_names_the_branch_or_the_exact_version(os: str) -> None:
    assert packages_for(os, 595, None, "open").pinning == "nvidia-driver-pinning-595"
    exact = packages_for(os, 595, "595.71.05", "open")
    assert exact.pinning == "nvidia-driver-pinning-595.71.05"
    assert {pattern for _, pattern in exact.install} == {"595.71.05-*"}
    assert packages_for(os, 535, None, "open").pinning is None


@pytest.mark.parametrize("os", SYSTEMS)
def test_hold_covers_all_that_is_installed(os: str) -> None:
    packages = packages_for(os, 595, None, "open")
    assert set(packages.hold) == {name for name, _ in packages.install} | {packages.pinning}
    assert packages_for(os, 595, None, "open", hold=False).hold == ()


@pytest.mark.parametrize("os", SYSTEMS)
def test_the_other_flavour_must_be_absent_and_never_what_is_installed(os: str) -> None:
    for branch in (580, 595):
        packages = packages_for(os, branch, None, "open")
        assert packages.must_be_absent
        assert not set(packages.must_be_absent) & {name for name, _ in packages.install}


def test_debian_13_has_a_signing_key_of_its_own() -> None:
    trixie = packages_for("debian-13", 595, None, "open").repository
    bookworm = packages_for("debian-12", 595, None, "open").repository
    assert trixie.key_url.endswith("/debian13/x86_64/8793F200.pub")
    assert trixie.key_fingerprint.endswith("8793F200")
    assert bookworm.key_url.endswith("/debian12/x86_64/3bf863cc.pub")
    assert bookworm.key_fingerprint.endswith("3BF863CC")
    assert packages_for("ubuntu-24.04", 595, None, "open").repository.url.endswith(
        "/ubuntu2404/x86_64/"
    )


def test_headers_cover_the_running_and_the_next_kernel() -> None:
    assert packages_for("debian-13", 595, None, "open").headers == (
        "linux-headers-amd64",
        "linux-headers-{release}",
    )


@pytest.mark.parametrize(
    ("cuda", "minimum", "ships_with"),
    [  # CUDA Toolkit release notes
        ("12.8", "525.60.13", "570.26"),
        ("13.0", "580.65.06", "580.65.06"),
        ("13.2", "580.65.06", "595.45.04"),
    ],
)
def test_cuda_release_names_its_drivers(cuda: str, minimum: str, ships_with: str) -> None:
    found = cuda_driver(cuda)
    assert found is not None
    assert (found.minimum, found.ships_with) == (minimum, ships_with)


def test_cuda_release_nobody_knows_has_no_driver() -> None:
    assert cuda_driver("19.9") is None


@pytest.mark.parametrize(
    ("branch", "version", "minimum", "covers"),
    [
        (580, None, "580.65.06", True),
        (575, None, "580.65.06", False),
        (570, "570.86.10", "570.86.16", False),
        (570, "570.124.06", "570.86.16", True),
        (595, "595.71.05", "580", True),
    ],
)
def test_driver_covers_compares_numbers(
    branch: int, version: str | None, minimum: str, covers: bool
) -> None:
    assert driver_covers(branch, version, minimum) is covers


def test_every_card_has_a_driver_floor_and_blackwell_needs_570() -> None:
    for gpu in all_gpus():
        found = card_driver(gpu)
        assert found is not None, gpu.sku
        if gpu.architecture == "blackwell":
            assert driver_covers(int(found.minimum.split(".")[0]), None, "570"), gpu.sku


def test_old_cards_end_with_branch_580_and_take_no_open_module() -> None:
    volta = find_gpu("v100")
    assert volta is not None
    found = card_driver(volta)
    assert found is not None
    assert found.last_branch == 580
    assert flavours_for(volta) == ("proprietary",)


def test_every_row_of_the_driver_table_names_a_source() -> None:
    assert all(row.text("source") for row in load_table("drivers").values())


def test_debian_12_takes_docker_from_dockers_repository() -> None:
    """20.10 knows no CDI."""
    packages = engine_packages("debian-12", "docker")
    assert packages.install[0] == "docker-ce"
    assert packages.repository is not None
    assert (packages.repository.suite, packages.repository.components) == ("bookworm", ("stable",))
    assert packages.cdi == "default"
    assert dict(packages.daemon_settings) == {}


def test_docker_before_28_3_needs_the_cdi_feature_named() -> None:
    packages = engine_packages("debian-13", "docker")
    assert packages.install == ("docker.io",)
    assert packages.repository is None
    assert dict(packages.daemon_settings) == {"features": {"cdi": True}}


def test_podman_has_quadlet_from_4_4_and_cdi_from_4_1() -> None:
    assert not engine_packages("debian-12", "podman").has_quadlet
    assert engine_packages("ubuntu-24.04", "podman").has_quadlet
    assert engine_packages("ubuntu-22.04", "podman").install == ()
    assert engine_packages("ubuntu-22.04", "podman").cdi == "none"


def test_toolkit_version_becomes_an_apt_pattern() -> None:
    assert toolkit_packages("1.20.0").install == (("nvidia-container-toolkit-base", "1.20.0-*"),)
    assert toolkit_packages("1.20.0-1").install[0][1] == "1.20.0-1"
    assert toolkit_packages(None).install[0][1] is None
