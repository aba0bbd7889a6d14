"""Packages, units, files, NUMA: absent and unreadable are two things."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from rigspec.observed import files, numa, packages, probes, units
from rigspec.observed import host_probes as host
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections

CAPTURES = Path(__file__).parents[2] / "captures"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"


def run(*asked: probes.Probe) -> dict[str, list[str]]:
    done = subprocess.run(
        ["sh", "-c", probes.script(asked)], capture_output=True, text=True, check=True
    )
    return split_sections(done.stdout)


def test_packages_installed_removed_held_and_half_configured() -> None:
    found = packages.parse_packages_probe(
        {
            "packages": [
                "nvidia-open\tamd64\t595.58.03-1\thi ",
                "docker-ce\tamd64\t5:29.7.2-1\tii ",
                "nvidia-dkms-open\tamd64\t595.58.03-1\tiF ",
                "nvidia-driver-550\tamd64\t550.163-1\trc ",
                "nvidia-settings\t\t\tun ",
            ],
            "holds": ["nvidia-open", ""],
            "dpkg-audit": ["The following packages are only half configured", " nvidia-dkms-open"],
        }
    )
    assert not isinstance(found, Unknown)
    assert found.version("nvidia-open") == "595.58.03-1"
    assert found.version("nvidia-driver-550") is None and found.version("nosuch") is None
    assert found.packages["nvidia-dkms-open"].broken
    assert not found.packages["nvidia-dkms-open"].installed
    assert "nvidia-settings" not in found.packages
    assert found.held == ("nvidia-open",)


def test_no_such_package_is_an_answer_and_no_dpkg_is_not() -> None:
    none = packages.parse_packages_probe({"packages": ["", "##RIG-EXIT 1 dpkg-query"], "holds": []})
    assert not isinstance(none, Unknown) and none.packages == {} and none.held == ()
    assert isinstance(none.audit, Unknown)
    absent = packages.parse_packages_probe({"packages": ["##RIG-ABSENT dpkg-query"]})
    assert isinstance(absent, Unknown)


def test_apt_policy_with_and_without_candidate() -> None:
    offers = packages.parse_apt_policy(
        "nvidia-open:\n  Installed: (none)\n  Candidate: 595.58.03-1\n  Version table:\n"
        "     595.58.03-1 600\n"
        "        600 https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64"
        "  Packages\n"
        "     550.163.01-2 500\n"
        "        500 http://deb.example/debian trixie/non-free amd64 Packages\n"
        "cuda-drivers:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
    )
    offer = offers["nvidia-open"]
    assert (offer.installed, offer.candidate) == (None, "595.58.03-1")
    assert [version for version, _ in offer.versions] == ["595.58.03-1", "550.163.01-2"]
    assert "developer.download.nvidia.com" in offer.versions[0][1][0]
    assert offers["cuda-drivers"].candidate is None


UNITS = """\
Id=rigspec-acs.service
LoadState=loaded
ActiveState=active
SubState=exited
UnitFileState=enabled
NeedDaemonReload=no
Result=success
ExecMainStatus=0
ActiveEnterTimestampMonotonic=4561239
NRestarts=0
StatusText=cleared on 4 ports
Environment=A=1 "B=x y"

Id=rigspec-engine.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled
NeedDaemonReload=yes
Result=exit-code
ExecMainStatus=2
NRestarts=5

Id=nosuch.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
"""


def test_units_active_failed_and_missing() -> None:
    found = units.parse_units(UNITS)
    acs, engine, missing = (
        found[f"{n}.service"] for n in ("rigspec-acs", "rigspec-engine", "nosuch")
    )
    assert acs.active and acs.enabled and acs.active_enter_us == 4561239
    assert acs.properties["Environment"] == 'A=1 "B=x y"'
    assert (engine.active, engine.need_daemon_reload, engine.exec_main_status) == (False, True, 2)
    assert (engine.result, engine.n_restarts) == ("exit-code", 5)
    assert not missing.exists and not missing.enabled
    assert isinstance(missing.need_daemon_reload, Unknown)


def test_units_cut_anywhere_never_raise() -> None:
    for end in range(len(UNITS)):
        for unit in units.parse_units(UNITS[:end]).values():
            json.dumps(unit.to_json())


def test_units_without_systemd_are_unknown() -> None:
    answer = units.parse_units_probe(
        {"units": ["System has not been booted with systemd as init system (PID 1)."]}
    )
    assert isinstance(answer, Unknown) and "PID 1" in answer.line


def test_file_probe_reads_mode_hash_link_and_absence(tmp_path: Path) -> None:
    regular, empty, link = (tmp_path / name for name in ("a file.conf", "empty", "link"))
    regular.write_text("options nvidia_uvm uvm_disable_hmm=1\n")
    regular.chmod(0o640)
    empty.touch()
    link.symlink_to(regular)
    asked = [str(path) for path in (regular, empty, link, tmp_path, tmp_path / "x/none")]
    found = files.parse_files_probe(run(host.files(asked)), asked)
    assert not isinstance(found, Unknown)
    state = found[str(regular)]
    assert (state.mode, state.size_bytes) == (0o640, 37)
    assert state.sha256 == hashlib.sha256(regular.read_bytes()).hexdigest()
    assert found[str(empty)].sha256 == hashlib.sha256(b"").hexdigest()
    assert found[str(link)].link_target == str(regular)
    assert found[str(tmp_path)].kind == "directory" and found[str(tmp_path)].sha256 is None
    assert found[str(tmp_path / "x/none")].exists is False


def test_unreadable_and_unprinted_files_are_unknown() -> None:
    sections = {
        "files": [
            "stat 600 root root 12 regular file /etc/rigspec/key",
            "sha256sum: /etc/rigspec/key: Permission denied",
            "/root/x: Permission denied",
            "##RIG-CUT",
        ]
    }
    found = files.parse_files_probe(sections, ["/etc/rigspec/key", "/root/x", "/etc/later"])
    assert not isinstance(found, Unknown)
    key = found["/etc/rigspec/key"]
    assert key.exists is True and isinstance(key.sha256, Unknown)
    assert key.sha256.reason == "permission denied"
    assert isinstance(found["/root/x"].exists, Unknown)
    later = found["/etc/later"].exists
    assert isinstance(later, Unknown) and "cut" in later.reason


def test_file_probe_without_right_to_look_is_unknown(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "deep").mkdir(parents=True)
    hidden.chmod(0o000)
    path = str(hidden / "deep/file")
    script = probes.script([host.files([path])])
    user = "nobody" if os.geteuid() == 0 else None
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, user=user, cwd="/"
    )
    hidden.chmod(0o700)
    found = files.parse_files_probe(split_sections(done.stdout), [path])
    assert not isinstance(found, Unknown) and isinstance(found[path].exists, Unknown)


def test_numa_of_two_sockets_shows_the_missing_cpu() -> None:
    nodes = numa.parse_numactl((ASUS / "numa.txt").read_text())
    assert not isinstance(nodes, Unknown)
    assert [node.distances for node in nodes] == [(10, 32), (32, 10)]
    cpus = nodes[1].cpus
    assert not isinstance(cpus, Unknown) and 239 not in cpus and len(cpus) == 127
    assert nodes[0].memory_mib == 773676
    cpu = numa.parse_lscpu((ASUS / "lscpu.txt").read_text())
    assert (cpu.online, cpu.expected, cpu.offline) == (255, 256, "239")


def test_numa_probe_and_its_absence() -> None:
    nodes = numa.parse_numa_probe(
        {
            "numa": [
                "node 1 kib=2048 cpus=2-3,6 distances=32 10",
                "node 0 kib= cpus= distances=10 32",
            ]
        }
    )
    assert not isinstance(nodes, Unknown)
    assert nodes[1].cpus == (2, 3, 6) and nodes[1].memory_mib == 2
    assert isinstance(nodes[0].memory_mib, Unknown) and nodes[0].cpus == ()
    assert isinstance(numa.parse_numa_probe({}), Unknown)
    assert numa.parse_numactl((STELLINE / "numactl-hardware.txt").read_text()) != ()


def test_probes_of_this_machine_print_every_section() -> None:
    asked = (
        *host.packages(["bash", "no-such-package"]),
        host.units(["ssh.service"]),
        host.files(["/etc/passwd"]),
        *host.STORAGE,
        *host.CDI,
        host.NUMA,
    )
    sections = run(*asked)
    assert list(sections) == [probe.name for probe in asked]
    assert all("##RIG-CUT" not in lines for lines in sections.values())


def test_probes_beside_others_run_at_the_same_time_and_lose_nothing(tmp_path: Path) -> None:
    def meet(mine: str, other: str) -> str:
        """Says `met` only if the other side runs before this one has ended."""
        return (
            f"touch {tmp_path}/{mine}; n=0; while [ $n -lt 100 ] && [ ! -e {tmp_path}/{other} ]; "
            f"do sleep 0.1; n=$((n+1)); done; [ ! -e {tmp_path}/{other} ] || echo met"
        )

    beside = [probes.Probe("server", meet("a", "b")), probes.Probe("failing", "exit 7")]
    here = [probes.Probe("host", meet("b", "a")), probes.Probe("greedy", "cat")]
    done = subprocess.run(
        ["sh", "-c", probes.script(here, beside)], capture_output=True, text=True, check=True
    )
    assert split_sections(done.stdout) == {
        "host": ["met"], "greedy": [], "server": ["met"], "failing": [],
    }  # fmt: skip


def test_holds_are_read_off_dpkg_and_no_list_of_a_source_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = tmp_path / "states"  # as dpkg-query prints them: want, status and error, then a space
    states.write_text("ii  bash\nhi  nvidia-persistenced\nhiR nvidia-open\nrc  hello\n")
    tool = tmp_path / "dpkg-query"
    tool.write_text(f"#!/bin/sh\ncase $* in *Status-Abbrev*Version*) ;; *) cat {states} ;; esac\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run(*host.packages(["nvidia-*"]))["holds"] == ["nvidia-persistenced", "nvidia-open"]


def test_more_than_a_pipe_holds_comes_through() -> None:
    lines = "n=0; while [ $n -lt 4000 ]; do echo 0123456789012345678901234567890; n=$((n+1)); done"
    long = probes.Probe("long", lines)
    done = subprocess.run(
        ["sh", "-c", probes.script([probes.Probe("wait", "sleep 0.3")], [long])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(split_sections(done.stdout)["long"]) == 4000


def test_a_long_row_of_digits_that_is_no_distance_is_left_at_once() -> None:
    row = "  0: " + "1" * 60 + " x"
    begun = time.process_time()
    assert isinstance(numa.parse_numactl(row), Unknown)
    assert time.process_time() - begun < 1  # all ways to split the digits would take for ever
