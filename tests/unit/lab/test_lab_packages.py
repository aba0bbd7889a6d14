"""The simulated NVIDIA packages; dpkg is the judge of their form."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rigspec.lab.repo import build_package
from rigspec.lab.simulated.packages import GpuFacts, Package, all_packages

CARD = GpuFacts(0x10DE, 0x2684, (0x10DE, 0x1234), "NVIDIA Test", 24564, 150, 450, 600, "8.9", 2520)


@pytest.fixture(scope="module")
def packages() -> tuple[Package, ...]:
    return all_packages([CARD])


def names_of(packages: tuple[Package, ...], version: str) -> set[str]:
    return {package.name for package in packages if package.version == f"{version}-1"}


def test_branch_580_has_versioned_metapackages(packages: tuple[Package, ...]) -> None:
    assert {"nvidia-open-580", "cuda-drivers-580"} <= names_of(packages, "580.95.05")


def test_branch_595_has_plain_names_and_pinning(packages: tuple[Package, ...]) -> None:
    names = names_of(packages, "595.71.05")
    assert {"nvidia-open", "cuda-drivers", "nvidia-driver-pinning-595"} <= names
    assert not any(name.startswith("nvidia-open-") for name in names)


def test_every_dependency_is_in_the_repository(packages: tuple[Package, ...]) -> None:
    known = {(package.name, package.version) for package in packages}
    for package in packages:
        for dependency in package.depends:
            for choice in dependency.split(" | "):
                name, _, version = choice.partition(" (= ")
                assert (name, version.rstrip(")")) in known, f"{package.name} needs {choice}"


def test_one_version_never_depends_on_another(packages: tuple[Package, ...]) -> None:
    for package in packages:
        assert all(package.version in dependency for dependency in package.depends)


def test_every_package_says_that_it_is_simulated(packages: tuple[Package, ...]) -> None:
    assert all("simulated" in package.control for package in packages)


def test_the_card_table_is_in_the_driver(packages: tuple[Package, ...]) -> None:
    driver = next(p for p in packages if p.name == "nvidia-driver-cuda")
    table = driver.files["/usr/lib/nvidia-sim/gpus.sh"].text
    shown = 'echo "$name $memory $min $max"'
    ask = f"for key in 10de:2684:10de:1234 10de:0:0:0; do sim_facts $key; {shown}; done"
    said = subprocess.run(["sh", "-c", table + ask], capture_output=True, text=True, check=True)
    assert said.stdout == "NVIDIA Test 24564 150 600\nNVIDIA Graphics Device 0 0 0\n"


def test_dpkg_reads_a_package_we_wrote(packages: tuple[Package, ...], tmp_path: Path) -> None:
    package = next(p for p in packages if p.name == "nvidia-kernel-open-dkms")
    file = build_package(package, tmp_path)
    fields = ["dpkg-deb", "--field", str(file), "Package", "Version", "Depends"]
    said = subprocess.run(fields, capture_output=True, text=True, check=True).stdout
    assert f"Version: {package.version}" in said
    assert "Depends: firmware-nvidia-gsp" in said
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(file)], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.split() for line in listed.splitlines()]
    modes = {line[-1]: line[0] for line in lines}
    assert modes["./usr/lib/nvidia-sim/load-module"] == "-rwxr-xr-x"
    assert {line[1] for line in lines} == {"0/0"}
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "-e", str(file), str(unpacked)], check=True)
    assert (unpacked / "postinst").stat().st_mode & 0o111
