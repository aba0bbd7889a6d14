"""The component with the driver's dependencies is added without touching the owner's sources."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rigspec.operations.apt_scripts import UPDATE
from rigspec.operations.components import ENABLE_COMPONENTS

DEBIAN = "http://deb.example/debian"
APT_GET = """#!/bin/sh
case $1 in
indextargets)
  echo "http://deb.example/debian-security/ trixie-security main Debian"
  echo "http://deb.example/debian/ trixie main Debian"
  [ ! -e "$STATE/contrib" ] || echo "http://deb.example/debian/ trixie contrib Debian" ;;
*) echo "$@" >>"$STATE/calls"; [ ! -e "$STATE/refuse" ] || { cat "$STATE/refuse"; exit 100; } ;;
esac
"""
DEB822 = f"""Types: deb
URIs: http://deb.example/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/other.gpg

Types: deb
URIs: {DEBIAN}/
Suites: trixie trixie-updates
Components: main
# a comment
Check-Valid-Until: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "root/etc/apt/sources.list.d").mkdir(parents=True)
    tool = tmp_path / "bin/apt-get"
    tool.write_text(APT_GET)
    tool.chmod(0o755)
    return tmp_path


def run(machine: Path, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
        "STATE": str(machine),
        "RIGSPEC_ROOT": str(machine / "root"),
    }
    return subprocess.run(
        ["sh", "-c", script, "sh", *args], env=environment, capture_output=True, text=True
    )


def enable(machine: Path) -> subprocess.CompletedProcess[str]:
    script = ENABLE_COMPONENTS.replace("/var/lib/rigspec", str(machine / "stamp"))
    return run(machine, script, "contrib")


def written(machine: Path) -> str:
    return (machine / "root/etc/apt/sources.list.d/rigspec-contrib.sources").read_text()


def test_options_of_the_right_stanza_are_taken_over(machine: Path) -> None:
    (machine / "root/etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    done = enable(machine)
    assert done.returncode == 0, done.stderr
    lines = written(machine).splitlines()[1:]
    assert lines[:4] == ["Types: deb", f"URIs: {DEBIAN}", "Suites: trixie", "Components: contrib"]
    assert "Check-Valid-Until: no" in lines
    assert lines[-5:] == DEB822.splitlines()[-5:]  # the embedded key, whole
    assert "other.gpg" not in written(machine)


def test_a_one_line_source_gives_its_key(machine: Path) -> None:
    (machine / "root/etc/apt/sources.list").write_text(
        f"deb [arch=amd64 signed-by=/usr/share/keyrings/d.gpg] {DEBIAN} trixie main\n"
    )
    assert enable(machine).returncode == 0
    assert "Signed-By: /usr/share/keyrings/d.gpg" in written(machine).splitlines()


def test_nothing_is_written_where_it_is_listed(machine: Path) -> None:
    (machine / "contrib").touch()
    assert enable(machine).returncode == 0
    assert not list((machine / "root/etc/apt/sources.list.d").iterdir())
    assert not (machine / "calls").exists()


CONFLICT = f"E: Conflicting values set for option Signed-By regarding source {DEBIAN}/ trixie"
ELSEWHERE = "Err:5 https://drivers.example/debian13 Could not connect"


@pytest.mark.parametrize(("says", "is_its_own"), [(CONFLICT, True), (ELSEWHERE, False)])
def test_a_refused_source_is_taken_back_and_the_owner_told(
    machine: Path, says: str, is_its_own: bool
) -> None:
    (machine / "root/etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    (machine / "refuse").write_text(says)
    done = enable(machine)
    assert done.returncode == 1
    assert says in done.stderr
    told = "add contrib to the Components there, then run again" in done.stderr
    assert told == is_its_own  # another source that fails is no reason to edit this one
    assert not (machine / "root/etc/apt/sources.list.d/rigspec-contrib.sources").exists()
    assert not (machine / "stamp").exists()


def test_one_update_reads_the_component_and_the_driver_s_source(machine: Path) -> None:
    (machine / "root/etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    source = machine / "nvidia.sources"
    source.touch()
    stamp = machine / "stamp"
    script = UPDATE.replace("/var/lib/rigspec", str(stamp))
    assert enable(machine).returncode == 0
    assert run(machine, script, str(source)).returncode == 0
    assert len((machine / "calls").read_text().splitlines()) == 1
    os.utime(stamp / "apt-updated", (1, 1))  # written since
    assert run(machine, script, str(source)).returncode == 0
    assert len((machine / "calls").read_text().splitlines()) == 2
