"""Whole rendered trees of the shipped rigs: reviewed as files, and judged by the tools that read
them on a host. `tests/render/update` writes them anew; review the difference before committing it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rigspec.plan.kernel import acs_grub_file
from rigspec.plan.rig import all_files, plan_rig
from rigspec.plan.sections import Plan
from rigspec.spec.load import load, load_text

HERE = Path(__file__).resolve().parent
RIGS = ("home", "starter")
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
# what our units name and the host's packages bring
FOREIGN_UNITS = ("docker", "nvidia-persistenced", "nvidia-cdi-refresh", "systemd-modules-load")


def plan_of(name: str) -> Plan:
    loaded = load(HERE.parents[1] / "rigs" / f"{name}.yaml")
    assert loaded.rig is not None
    return plan_rig(loaded.rig)


def golden(name: str) -> dict[str, tuple[str, str]]:
    """Text and mode by path on the host."""
    folder = HERE / name
    return {
        f"/{path.relative_to(folder)}": (
            path.read_text(encoding="utf-8"),
            "755" if path.stat().st_mode & 0o100 else "644",
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", RIGS)
def test_rendered_tree_is_the_reviewed_one(name: str) -> None:
    reviewed = golden(name)
    rendered = {file.dest: (file.content, file.mode) for file in all_files(plan_of(name))}
    assert set(rendered) == set(reviewed)
    for dest, (content, mode) in rendered.items():
        assert content == reviewed[dest][0], f"{dest} differs: tests/render/update, then review"
        assert mode == reviewed[dest][1], dest


def judge(name: str, package: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a judge; a missing one fails, for without it the test would prove nothing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"`{name}` is missing: apt-get install {package}")
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


def paths(name: str, below: str) -> list[Path]:
    return sorted(path for path in (HERE / name / below).rglob("*") if path.is_file())


@pytest.mark.parametrize("name", RIGS)
def test_scripts_please_shellcheck_and_dash(name: str) -> None:
    # the one Python file is judged by ruff, like every other one below this folder
    scripts = [p for p in paths(name, "usr/local/lib/rigspec") if p.suffix != ".py"]
    assert scripts
    checked = judge("shellcheck", "shellcheck", "--shell=sh", "--severity=info", *scripts)
    assert checked.returncode == 0, checked.stdout
    for script in scripts:
        assert judge("dash", "dash", "-n", script).returncode == 0
        assert script.read_text().startswith("#!/bin/sh\n")


@pytest.fixture
def host_root(tmp_path: Path) -> Path:
    """A root file system with systemd's own units, and empty units for those of packages."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    if not SYSTEM_UNITS.is_dir():
        pytest.fail(f"{SYSTEM_UNITS} is missing: apt-get install systemd")
    for target in SYSTEM_UNITS.glob("*.target"):
        shutil.copy(target, units, follow_symlinks=True)
    for tool in ("docker", "podman"):
        path = tmp_path / "usr/bin" / tool
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for unit in FOREIGN_UNITS:
        (units / f"{unit}.service").write_text("[Service]\nExecStart=/usr/bin/docker\n")
    return tmp_path


def verify(root: Path, *units: str) -> str:
    done = judge("systemd-analyze", "systemd", "verify", "--man=no", f"--root={root}", *units)
    return done.stdout + done.stderr + (f"status {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize("name", RIGS)
def test_units_please_systemd(name: str, host_root: Path) -> None:
    shutil.copytree(HERE / name, host_root, dirs_exist_ok=True)
    units = [path.name for path in paths(name, "etc/systemd/system")]
    assert len(units) >= 3
    assert verify(host_root, *units) == ""


def test_units_of_podman_please_systemd(host_root: Path) -> None:
    text = (HERE.parents[1] / "rigs/home.yaml").read_text()
    rig = load_text("podman.yaml", text.replace("engine: docker", "engine: podman")).rig
    assert rig is not None
    (host_root / "usr/lib/systemd/system/docker.service").unlink()
    plan = plan_rig(rig)
    for file in all_files(plan):
        path = host_root / file.dest.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
        path.chmod(int(file.mode, 8))
    units = [service.unit for service in plan.services]
    assert verify(host_root, *units) == ""
    assert "docker.service" not in (host_root / "etc/systemd/system" / units[0]).read_text()


def test_the_daily_look_pleases_its_judges(host_root: Path) -> None:
    text = (HERE.parents[1] / "rigs/home.yaml").read_text()
    rig = load_text("daily.yaml", f"{text}\nverify: {{daily: true}}\n").rig
    assert rig is not None
    plan = plan_rig(rig)
    assert plan.daily is not None
    for file in all_files(plan):
        path = host_root / file.dest.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
        path.chmod(int(file.mode, 8))
    assert verify(host_root, "rigspec-drift.service", "rigspec-drift.timer") == ""
    script = host_root / "usr/local/lib/rigspec/drift"
    checked = judge("shellcheck", "shellcheck", "--shell=sh", "--severity=info", script)
    assert checked.returncode == 0, checked.stdout
    assert judge("dash", "dash", "-n", script).returncode == 0


def test_systemd_would_complain_about_a_slip(host_root: Path) -> None:
    # the judge itself: a wrong key and a script that is not there are both said
    bad = host_root / "etc/systemd/system/bad.service"
    bad.parent.mkdir(parents=True)
    bad.write_text("[Unit]\nRequire=x.service\n[Service]\nExecStart=/usr/local/lib/rigspec/none\n")
    said = verify(host_root, "bad.service")
    assert "Require" in said
    assert "/usr/local/lib/rigspec/none" in said


@pytest.mark.parametrize("name", RIGS)
def test_server_units_start_after_everything_they_need(name: str) -> None:
    for service in plan_of(name).services:
        unit = (HERE / name / "etc/systemd/system" / service.unit).read_text()
        settings = [line.partition("=") for line in unit.splitlines() if "=" in line]
        after = " ".join(value for key, _, value in settings if key == "After").split()
        requires = " ".join(value for key, _, value in settings if key == "Requires").split()
        assert {"docker.service", "rigspec-ready.service"} <= set(after) & set(requires)
        # an engine whose worker died ends with status 0: `on-failure` would leave it dead
        assert ("Restart", "=", "always") in settings


@pytest.mark.parametrize("name", RIGS)
def test_grub_drop_ins_please_sh_and_grub(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    acs = tmp_path / "61-rigspec-acs.cfg"
    bridges = ("0000:40:01.0/00.0/00.0", "0000:40:01.0/00.0/01.0")
    acs.write_text(acs_grub_file(name, bridges).content)
    files = [*paths(name, "etc/default/grub.d"), acs]
    sourced = "".join(f". '{file}'; " for file in files)
    shown = 'printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"'
    text = f"set -eu; GRUB_CMDLINE_LINUX_DEFAULT=quiet; {sourced}{shown}"
    line = judge("dash", "dash", "-c", text).stdout
    assert line.startswith(f"quiet {' '.join(plan.kernel.arguments)} ")
    entry = tmp_path / "grub.cfg"
    entry.write_text(f"menuentry 'rig' {{\n\tlinux /vmlinuz ro {line}\n}}\n")
    assert judge("grub-script-check", "grub-common", entry).returncode == 0


def apt_options(apt: Path, state: Path) -> list[str | Path]:
    """Options that aim apt at one /etc/apt and away from this machine's own."""
    (state / "lists/partial").mkdir(parents=True)
    return [
        *("-o", "Dir::Etc::SourceList=/dev/null"),
        *("-o", f"Dir::Etc::SourceParts={apt}/sources.list.d"),
        *("-o", "Dir::Etc::Preferences=/dev/null"),
        *("-o", f"Dir::Etc::PreferencesParts={apt}/preferences.d"),
        *("-o", f"Dir::State={state}"),
        *("-o", "APT::Architecture=amd64"),
    ]


@pytest.mark.parametrize("name", RIGS)
def test_apt_reads_sources_and_preferences(name: str, tmp_path: Path) -> None:
    options = apt_options(HERE / name / "etc/apt", tmp_path)
    asked = judge("apt-get", "apt", "update", "--print-uris", *options)  # no network
    assert asked.returncode == 0, asked.stderr
    plan = plan_of(name)
    for repository in (plan.driver.repository, *plan.containers.repositories):
        assert repository is not None
        url = repository.key_url.partition("/x86_64/")[0].removesuffix("/gpgkey")
        assert f"'{url}/" in asked.stdout
        assert f"\nSigned-By: {repository.keyring}\n" in repository.sources.content
    policy = judge("apt-cache", "apt", "policy", *options)
    assert (policy.returncode, policy.stderr) == (0, "")


def test_apt_would_complain_about_a_slip(tmp_path: Path) -> None:
    for folder, name, text in (
        ("sources.list.d", "bad.sources", "Types: deb\nURIs: https://example.test/\n"),
        ("preferences.d", "bad", "Package: x\nPin: version 1.*\nPin-Priority: high\n"),
    ):
        file = tmp_path / "etc" / folder / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    options = apt_options(tmp_path / "etc", tmp_path / "state")
    assert judge("apt-get", "apt", "update", "--print-uris", *options).returncode != 0
    assert judge("apt-cache", "apt", "policy", *options).stderr != ""


@pytest.mark.parametrize("name", RIGS)
def test_modprobe_reads_the_options(name: str) -> None:
    folder = HERE / name / "etc/modprobe.d"
    shown = judge("modprobe", "kmod", "-C", folder, "--showconfig")
    assert shown.returncode == 0, shown.stderr
    for module, option, value in plan_of(name).kernel.module_options:
        line = next(x for x in shown.stdout.splitlines() if x.startswith(f"options {module} "))
        assert f"{option}={value}" in line.split()


@pytest.mark.parametrize("name", RIGS)
def test_environment_files_are_plain_names_and_values(name: str) -> None:
    # docker's --env-file: comment lines, else NAME=VALUE with nothing unquoted or expanded
    for file in paths(name, "etc/rigspec/services"):
        for line in file.read_text().splitlines():
            if not line.startswith("#"):
                variable, equals, value = line.partition("=")
                assert variable.isidentifier()
                assert equals
                assert value == value.strip()
                assert '"' not in value


@pytest.mark.parametrize("name", RIGS)
def test_json_in_arguments_is_json(name: str) -> None:
    for service in plan_of(name).services:
        for word in service.argv:
            if word.startswith("{"):
                assert isinstance(json.loads(word), dict)
