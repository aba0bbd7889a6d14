"""apt: repair first, keys by fingerprint, one install call, holds; nothing when all is there."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.facts.managed import AptState, FileState, PackageState
from rigspec.operations.apt import Wanted, changes
from rigspec.operations.apt_scripts import FETCH_KEY, INSTALL, MARK, REPAIR
from rigspec.operations.files import digest
from rigspec.plan.sections import AptRepository, Package, RenderedFile

SOURCES = RenderedFile("/etc/apt/sources.list.d/rigspec-nvidia.sources", "Types: deb\n", "x")
RING = "/usr/share/keyrings/rigspec-nvidia.asc"
REPOSITORY = AptRepository("nvidia", SOURCES, "https://x.example/key.pub", "AB" * 20, RING)
WANTED = Wanted(
    packages=(Package("nvidia-open", "595.*"), Package("dkms")),
    repositories=(REPOSITORY,),
    first=(Package("nvidia-driver-pinning-595"),),
    hold=("nvidia-open",),
    absent=("nvidia-driver",),
)
THERE = {
    "nvidia-open": PackageState("595.71.05-1", installed=True, held=True),
    "dkms": PackageState("3.1", installed=True, held=False),
    "nvidia-driver-pinning-595": PackageState("595-1", installed=True, held=False),
}
FILES = {SOURCES.dest: FileState("644", "root:root", 1, digest(SOURCES.content))}


def state(packages: dict[str, PackageState] | None = None, **more: object) -> AptState:
    values: dict[str, object] = {"broken": False, "lists_stale": ()}
    values |= {"fingerprints": {RING: ("AB" * 20,)}} | more
    return AptState(packages=THERE if packages is None else packages, **values)  # type: ignore[arg-type]


def kinds(seen: AptState, files: dict[str, FileState] = FILES) -> list[str]:
    """What each command does, and to what."""
    names = {"--configure -a": "repair", "$ring.new": "key", "sh -s": "files"}
    found = []
    for command in changes(WANTED, seen, dict(files)):
        text = str(command)
        first = text.splitlines()[0]
        if "rig_try apt-mark" in text:
            found.append(first.replace("set --", "apt-mark"))
        elif 'rig_what="install $*"' in text:
            found.append("install " + first.removeprefix("set -- "))
        else:
            found.append(next((v for k, v in names.items() if k in text), "update"))
    return found


def test_a_converged_host_needs_nothing() -> None:
    assert kinds(state()) == []


def test_a_bare_host_gets_key_sources_update_pins_packages_and_holds_in_this_order() -> None:
    assert kinds(state({}, fingerprints={}), {}) == [
        "key",
        "files",
        "update",
        "install --no-install-recommends --allow-change-held-packages nvidia-driver-pinning-595",
        "install --no-install-recommends --allow-change-held-packages --allow-downgrades "
        "'nvidia-open=595.*' dkms",
        "apt-mark hold nvidia-open",
    ]


def test_a_component_is_enabled_once_the_sources_are_there_and_before_they_are_read() -> None:
    wanted = replace(WANTED, components=("contrib",))
    said = [str(command) for command in changes(wanted, state({}), {})]
    enabled = next(n for n, text in enumerate(said) if "rigspec-$component.sources" in text)
    assert SOURCES.dest in said[enabled - 1]
    assert said[enabled].startswith("set -- contrib\n")
    assert said[enabled + 1].startswith(f"set -- {SOURCES.dest}\n")
    assert not list(changes(wanted, state(), dict(FILES)))


def test_an_interrupted_dpkg_is_repaired_first() -> None:
    half = THERE | {"dkms": PackageState("3.1", installed=False, held=False)}
    assert kinds(state(half, broken=True)) == [
        "repair",
        "install --no-install-recommends --allow-change-held-packages dkms",
    ]


def test_another_version_is_brought_to_the_pin_and_held_again() -> None:
    other = THERE | {"nvidia-open": PackageState("580.95.05-1", installed=True, held=True)}
    assert kinds(state(other))[-2:] == [
        "install --no-install-recommends --allow-change-held-packages --allow-downgrades "
        "'nvidia-open=595.*'",
        "apt-mark hold nvidia-open",
    ]


def test_a_blocker_is_removed_in_the_same_transaction() -> None:
    blocked = THERE | {"nvidia-driver": PackageState("550-1", installed=True, held=False)}
    assert kinds(state(blocked)) == [
        "install --no-install-recommends --allow-change-held-packages nvidia-driver-"
    ]


def test_configuration_left_by_a_removed_blocker_is_no_obstacle() -> None:
    rest = THERE | {"nvidia-driver": PackageState("550-1", installed=False, held=False)}
    assert kinds(state(rest)) == []


def test_a_lost_hold_is_set_again_without_installing() -> None:
    loose = THERE | {"nvidia-open": PackageState("595.71.05-1", installed=True, held=False)}
    assert kinds(state(loose)) == ["apt-mark hold nvidia-open"]


def test_a_hold_that_is_not_wanted_any_more_is_released() -> None:
    held = THERE | {"dkms": PackageState("3.1", installed=True, held=True)}
    assert kinds(state(held)) == ["apt-mark unhold dkms"]


def test_a_key_with_another_fingerprint_is_fetched_again() -> None:
    assert kinds(state(fingerprints={RING: ("CD" * 20,)})) == ["key"]


def test_sources_written_by_a_run_that_died_before_its_update_are_read_before_installing() -> None:
    missing = {n: p for n, p in THERE.items() if n != "dkms"}
    assert kinds(state(missing, lists_stale=(SOURCES.dest,)))[0] == "update"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of stand-in commands, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def tool(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def execute(tools: Path, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script, "sh", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        check=False,
    )


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("E: The repository 'http://x Release' is not signed.", "not signed by its key"),
        ("E: Failed to fetch http://x/y.deb 404  Not Found", "does not answer"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"),
        ("E: Version '595.*' for 'nvidia-open' was not found", "no source offers that version"),
        ("Err:1 http://x\n  Could not resolve 'x'", "does not resolve"),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", "did not configure"),
    ],
    ids=["unsigned", "404", "full disk", "no version", "dns", "dpkg"],
)
def test_a_failing_install_says_what_to_look_at(tools: Path, output: str, advice: str) -> None:
    tool(tools, "apt-get", f'case "$*" in *-s*) exit 0;; esac\ncat <<"X"\n{output}\nX\nexit 100')
    done = execute(tools, INSTALL, "nvidia-open")
    assert done.returncode == 1
    assert advice in done.stderr
    assert output.splitlines()[0] in done.stderr


LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend, held by process 7"
TAKEN = "dpkg: error: dpkg frontend lock was locked by /usr/bin/apt-get process with pid 7"


@pytest.mark.parametrize(
    ("program", "says", "script", "words"),
    [
        ("apt-get", LOCKED, INSTALL, ("dkms",)),
        ("apt-mark", TAKEN, MARK, ("hold", "dkms")),
        ("dpkg", TAKEN, REPAIR, ()),
    ],
)
def test_a_held_lock_is_waited_for(
    tools: Path, tmp_path: Path, program: str, says: str, script: str, words: tuple[str, ...]
) -> None:
    for other in ("sleep", "apt-get"):
        tool(tools, other, "exit 0")
    tool(tools, program, f"echo \"$*\" >>{tmp_path}/said\n"
         f"[ $(wc -l <{tmp_path}/said) -gt 2 ] || {{ echo '{says}'; exit 100; }}")  # fmt: skip
    assert execute(tools, script, *words).returncode == 0
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 3  # two refusals, then it is done
    assert all(word in said[-1] for word in words)


def test_a_hold_that_is_refused_for_another_reason_is_said(tools: Path) -> None:
    tool(tools, "apt-mark", "echo 'E: No packages found' >&2; exit 100")
    done = execute(tools, MARK, "hold", "nvidia-open")
    assert done.returncode == 1
    assert "apt-mark hold nvidia-open failed" in done.stderr
    assert "No packages found" in done.stderr


def test_repair_finishes_dpkg_and_then_apt(tools: Path, tmp_path: Path) -> None:
    tool(tools, "dpkg", f'echo "dpkg $*" >>{tmp_path}/said')
    tool(tools, "apt-get", f'echo "apt $*" >>{tmp_path}/said')
    assert execute(tools, REPAIR).returncode == 0
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0].endswith("--configure -a")
    assert said[1].endswith("install -f")


@pytest.mark.parametrize("found", ["AB" * 20, "CD" * 20, ""], ids=["right", "wrong", "no key"])
def test_only_a_key_with_the_declared_fingerprint_is_installed(
    tools: Path, tmp_path: Path, found: str
) -> None:
    ring = tmp_path / "keyrings" / "x.asc"
    tool(tools, "curl", 'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo key >"$2"; shift; done')
    tool(tools, "gpg", f"echo pub:x; echo fpr:::::::::{found}:" if found else "exit 2")
    done = execute(tools, FETCH_KEY, "https://x.example/key", "AB" * 20, str(ring))
    assert (done.returncode == 0) == (found == "AB" * 20)
    assert ring.exists() == (found == "AB" * 20)
    if done.returncode:
        assert f"expected {'AB' * 20}" in done.stderr
