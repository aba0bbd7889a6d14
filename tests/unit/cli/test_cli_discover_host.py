"""`discover HOST` and `doctor HOST`: the way to a host, one probe, and what may be in the way."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from click.testing import CliRunner
from loopback_ssh import Server, ssh_server

from rigspec.cli import main
from rigspec.discover.capture import capture_text
from rigspec.discover.draft import draft_spec
from rigspec.discover.probe import probes
from rigspec.discover.seen import read_seen
from rigspec.errors import HostError, RigspecError
from rigspec.observed.record import Unknown
from rigspec.plan.rig import digest, plan_rig, to_json
from rigspec.reach import Login, command, login_of, parse_login, read_host, way_of
from rigspec.rules.run import check_file
from rigspec.spec.host import Host
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "login"),
    [
        ("rig", Login("rig")),
        ("root@192.0.2.11:2222", Login("192.0.2.11", "root", 2222)),
        ("me@[2001:db8::1]:2222", Login("2001:db8::1", "me", 2222)),
        ("2001:db8::1", Login("2001:db8::1")),
    ],
)
def test_host_is_read_as_ssh_would(text: str, login: Login) -> None:
    assert parse_login(text) == login


def test_options_win_over_the_text() -> None:
    login = parse_login("root@rig:22", user="me", port=2222, key="k", sudo=True)
    assert login == Login("rig", "me", 2222, "k", sudo=True)
    assert way_of(login) == {
        "address": "rig", "port": 2222, "user": "me", "ssh_key": "k", "sudo": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=x", "a b", "rig:0", "rig:99999", "a,b", "@local"]
)
def test_what_is_no_host_is_refused_before_anything_runs(text: str) -> None:
    with pytest.raises(RigspecError) as problem:
        parse_login(text)
    assert "USER@" in problem.value.hint
    assert CliRunner().invoke(main, ["discover", "--", text]).exit_code == 2


def test_host_keys_are_always_checked_and_nothing_secret_is_on_the_line() -> None:
    words = command(Login("rig", "me", 2222, "~/k", "~/known", sudo=True))
    assert "ssh_strict_host_key_checking=yes" in words
    assert words[words.index("--key") + 1] == str(Path("~/k").expanduser())
    assert f"ssh_known_hosts_file={Path('~/known').expanduser()}" in words
    assert "_sudo=true" in words


def test_spec_without_an_address_and_no_spec_at_all_end_with_two(tmp_path: Path) -> None:
    with pytest.raises(RigspecError, match="no address"):
        login_of(Host(os="debian-13", cpu="amd"), "rigs/x.yaml")
    (tmp_path / "bad.yaml").write_text("rigspec: [")
    for file in (tmp_path / "bad.yaml", tmp_path / "gone.yaml", ROOT / "rigs" / "starter.yaml"):
        result = CliRunner().invoke(main, ["doctor", str(file)])
        assert result.exit_code == 2, result.output
        assert "hint: " in result.stderr


@pytest.mark.parametrize(
    "argv",
    [[], ["rig", "--from", "x"], ["--from", ".", "--port", "22"], ["--from", ".", "--save", "x"]],
    ids=["neither", "both", "port without host", "save without host"],
)
def test_usage_that_makes_no_sense_is_said(argv: list[str]) -> None:
    result = CliRunner().invoke(main, ["doctor", *argv])
    assert result.exit_code == 2
    assert "HOST" in result.stderr


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_host_without_ssh_ends_with_three_and_one_sentence() -> None:
    argv = ["doctor", f"root@127.0.0.1:{closed_port()}"]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 3
    error = next(line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "is sshd running there?" in error
    assert "host.address" not in result.stderr  # there is no spec to look into
    assert "Traceback" not in result.stderr


SAID: dict[str, tuple[str, str]] = {
    "unknown key": (
        "--> Connecting to hosts...\n    No host key for rig found in known_hosts\n"
        "    [rig] the SSH host key of rig is not known on this machine\n"
        "    log in once with `ssh root@rig`, compare\n\n--> pyinfra error: No hosts remaining!",
        "the SSH host key of rig is not known on this machine",
    ),
    "no sudo": (
        "    [rig] `me` may not run commands as root without a password (sudo says: x)\n"
        "    on the host, as root: echo\n",
        "`me` may not run commands as root without a password (sudo says: x)",
    ),
    "something else": ("--> Loading\nValueError: odd\n", "rig could not be read: ValueError: odd"),
    "after a good start": (
        "    [rig] Connected\n    [rig] Error: executed 0 commands\n    look\n",
        "Error: executed 0 commands",
    ),
    "nothing": ("", "rig could not be read: pyinfra said nothing"),
}


@pytest.mark.parametrize("case", SAID)
def test_each_way_not_to_read_a_host_is_one_sentence(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, sentence = SAID[case]

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, said, "")

    monkeypatch.setattr("rigspec.reach.subprocess.run", run)
    with pytest.raises(HostError) as problem:
        read_host(Login("rig"))
    assert problem.value.message == sentence
    assert problem.value.hint


def test_text_is_kept_for_its_owner_only_and_a_folder_that_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "##RIG host\nrig_uid=1000\n##RIG-END\n"
    monkeypatch.setattr("rigspec.reach.read_host", lambda _: said)
    kept = CliRunner().invoke(main, ["doctor", "rig", "--save", str(tmp_path / "capture")])
    assert kept.exit_code == 3, kept.output  # not one GPU is in it
    assert "not read as root" in kept.stderr
    file = tmp_path / "capture" / "probe.txt"
    assert (file.read_text(), file.stat().st_mode & 0o077) == (said, 0)
    (tmp_path / "file").write_text("x")
    refused = CliRunner().invoke(main, ["doctor", "rig", "--save", str(tmp_path / "file")])
    assert refused.exit_code == 2
    assert "cannot be kept" in refused.stderr


def left_by_rigspec(rig: Rig, **sections: str) -> str:
    """A probe of a host that carries the plan of this rig."""
    lines = [x for x in to_json(plan_rig(rig)).splitlines() if x[:8] in {'  "rig":', '  "spec"'}]
    parts = {"planned": "\n".join(lines)} | sections
    return "".join(f"##RIG {name}\n{text}\n##RIG-END\n" for name, text in parts.items())


@pytest.mark.parametrize("name", ["home", "starter"])
def test_draft_of_a_host_with_our_plan_is_planned_alike(name: str) -> None:
    rig = check_file(str(ROOT / "rigs" / f"{name}.yaml")).rig
    assert rig is not None
    seen = read_seen(capture_text("rig", left_by_rigspec(rig)))
    way: dict[str, str | int | bool] = {"address": "192.0.2.11", "user": "root", "port": 2222}
    text = draft_spec(seen, seen.planned_name, way)
    loaded = load_text("draft.yaml", text)
    assert loaded.findings == ()
    assert loaded.rig is not None
    assert digest(plan_rig(loaded.rig)) == digest(plan_rig(rig))
    assert (loaded.rig.host.address, loaded.rig.host.port) == ("192.0.2.11", 2222)


def test_draft_says_what_is_otherwise_than_planned() -> None:
    rig = check_file(str(ROOT / "rigs" / "starter.yaml")).rig
    assert rig is not None
    gpu = "vendor=0x10de device=0x2204 class=0x030000"
    cards = "\n".join(
        f"{n}, GPU-{n}, 00000000:0{n}:00.0, NVIDIA GeForce RTX 3090, [N/A], [N/A], 595.71.05, "
        "24576, 1, 20, 350, 350, 350, 100, 350" + ", [N/A]" * 13
        for n in (1, 2)
    )
    text = left_by_rigspec(
        rig,
        host="rig_cmdline=root=/dev/sda1 quiet console=ttyS0 iommu=pt",
        pci="\n".join(f"0000:0{n}:00.0 path=/sys/devices/x {gpu}" for n in (1, 2)),
        smi=cards,
    )
    draft = draft_spec(read_seen(capture_text("rig", text)), "starter")
    loaded = load_text("draft.yaml", draft)
    assert loaded.rig is not None
    assert loaded.rig.gpus["pair"].power_limit_w == 350
    assert loaded.rig.driver.branch == 595
    assert "says `290`" in draft
    assert "`intel_iommu=on` is planned, but not on the command line" in draft
    assert "`console=ttyS0` is on the command line without rigspec" in draft


def test_value_that_is_the_default_is_planned_though_the_plan_leaves_it_out() -> None:
    rig = check_file(str(ROOT / "rigs" / "home.yaml")).rig
    assert rig is not None
    text = left_by_rigspec(rig, host="rig_cmdline=root=/dev/sda1 iommu=pt")
    draft = draft_spec(read_seen(capture_text("rig", text)), "home")
    (line,) = (line for line in draft.splitlines() if line.startswith("  iommu: pt"))
    assert "owner:" not in line
    off = text.replace("iommu=pt", "iommu=off amd_iommu=off")
    draft = draft_spec(read_seen(capture_text("rig", off)), "home")
    (line,) = (line for line in draft.splitlines() if line.startswith('  iommu: "off"'))
    assert "owner:" in line
    assert "says `pt`" in line


def test_plan_that_is_broken_or_foreign_is_no_reason_to_stop() -> None:
    for spec in ('"spec": "{"', '"spec": "[1]"', '"spec": "{\\"rigspec\\": \\"9\\"}"', "junk"):
        seen = read_seen(capture_text("rig", f"##RIG planned\n  {spec},\n##RIG-END\n"))
        assert seen.planned_name == ""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


def test_host_is_read_over_real_ssh_in_one_run(server: Server, tmp_path: Path) -> None:
    how = ["--key", str(server.key), "--known-hosts", str(server.known_hosts)]
    host = f"root@127.0.0.1:{server.port}"
    result = CliRunner().invoke(main, ["doctor", host, *how, "--save", str(tmp_path)])
    assert result.exit_code in {0, 1, 3}, result.stderr  # 3: this machine has no NVIDIA GPU
    said = (tmp_path / "probe.txt").read_text()
    assert said.count("##RIG-END") == len(list(probes()))
    seen = read_seen(capture_text("here", said))
    assert not isinstance(seen.host, Unknown)
    assert {"pci", "kernel-log", "last-boot", "planned"} <= set(seen.sections)


def test_unknown_host_key_and_wrong_key_are_told_apart(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "other"))
    host = f"root@127.0.0.1:{server.port}"
    stranger = ["--key", str(server.key), "--known-hosts", str(tmp_path / "empty")]
    refused = ["--key", str(tmp_path / "other"), "--known-hosts", str(server.known_hosts)]
    for how, sentence in ((stranger, "host key"), (refused, "refuses the login of `root`")):
        result = CliRunner().invoke(main, ["discover", host, *how])
        error = next(line for line in result.stderr.splitlines() if line.startswith("error: "))
        assert (result.exit_code, sentence in error) == (3, True), result.stderr
        assert "Traceback" not in result.stderr
