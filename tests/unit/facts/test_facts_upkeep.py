"""The probes of what drifts, run by sh: files by digest, secrets searched without being shown."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.facts.upkeep import (
    CAP_WRITERS,
    FIRMWARE,
    KERNELS,
    edited_probe,
    secrets_probe,
    upkeep_probes,
)
from rigspec.observed.probes import script
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections
from rigspec.observed.upkeep import (
    SecretFile,
    parse_edited,
    parse_firmware,
    parse_kernels,
    parse_secrets,
    parse_upkeep,
)
from rigspec.plan.relied import secret_paths
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan, RenderedFile
from rigspec.rules.run import check_file

KEY = "sk-planted-4711-0815"


@pytest.fixture(scope="module")
def home() -> Plan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig)


def run(text: str) -> tuple[dict[str, list[str]], str]:
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=True)
    return split_sections(done.stdout), done.stdout + done.stderr


def test_only_files_of_other_content_come_back_with_their_text(tmp_path: Path) -> None:
    same, other, gone = (tmp_path / name for name in ("same", "other", "gone"))
    same.write_text("as planned\n")
    other.write_text("first\nRIG_API_KEY=sk-1\n\nlast")
    files = [RenderedFile(str(p), "as planned\n", "kernel") for p in (same, other, gone)]
    seen = parse_edited(run(script([edited_probe(files)]))[0])
    assert seen == {str(other): "first\nRIG_API_KEY=(hidden)\n\nlast\n"}


def with_secret(home: Plan, secret: Path, **files: str) -> Plan:
    service = replace(
        home.services[0],
        secret_path=str(secret),
        secret_line="VLLM_API_KEY={}",
        files=tuple(RenderedFile(path, "x\n", "services") for path in files.values()),
    )
    return replace(home, services=(service,))


def scan(plan: Plan) -> tuple[SecretFile, str]:
    found, said = run(script([secrets_probe(plan)]))
    (secret,) = parse_secrets(found, secret_paths(plan))  # type: ignore[misc]
    return secret, said


def test_a_planted_key_is_found_in_argv_and_in_files_and_never_printed(
    home: Plan, tmp_path: Path
) -> None:
    secret, unit = tmp_path / "glm.env", tmp_path / "unit"
    secret.write_text(f"VLLM_API_KEY={KEY}\n")
    secret.chmod(0o600)
    unit.write_text("Environment=NOTHING=1\n")
    plan = with_secret(home, secret, unit=str(unit))
    clean, said = scan(plan)
    assert (clean.mode, clean.searched, clean.places) == ("600", True, ())
    assert KEY not in said
    unit.write_text(f"Environment=VLLM_API_KEY={KEY}\n")
    planted = subprocess.Popen([sys.executable, "-c", "input()", KEY], stdin=subprocess.PIPE)
    try:
        dirty, said = scan(plan)
    finally:
        planted.communicate(b"\n")
    assert f"file {unit}" in dirty.places
    assert any(place.startswith(f"argv {planted.pid} ") for place in dirty.places)
    assert KEY not in said


def test_a_key_in_a_log_or_in_a_containers_arguments_is_found(home: Plan, tmp_path: Path) -> None:
    secret = tmp_path / "glm.env"
    secret.write_text(f"VLLM_API_KEY={KEY}\n")
    for tool in ("docker", "journalctl"):
        stub = tmp_path / tool
        stub.write_text(f"#!/bin/sh\nseq 9000\necho 'args: --api-key {KEY}'\n")
        stub.chmod(0o755)
    text = script([secrets_probe(with_secret(home, secret))])
    found, said = run(f"PATH={tmp_path}:$PATH\n{text}")
    (seen,) = parse_secrets(found, (str(secret),))  # type: ignore[misc]
    assert seen.places == ("container rigspec-glm", "log rigspec-glm.service")
    assert KEY not in said


def test_a_short_key_is_not_searched_for_and_an_absent_one_has_no_mode(
    home: Plan, tmp_path: Path
) -> None:
    secret = tmp_path / "glm.env"
    secret.write_text("VLLM_API_KEY=abc\n")
    assert not scan(with_secret(home, secret))[0].searched
    secret.unlink()
    assert scan(with_secret(home, secret))[0].mode is None


def test_this_machine_answers_every_probe(home: Plan) -> None:
    sections, _ = run(script(upkeep_probes(home)))
    seen = parse_upkeep(sections, [file.dest for file in home.power.files], ())
    assert not isinstance(seen.files, Unknown)
    assert not isinstance(seen.cap_writers, Unknown)
    assert seen.secrets == ()


@pytest.mark.parametrize("probe", [FIRMWARE, KERNELS, CAP_WRITERS], ids=lambda p: p.name)
def test_probes_end_well_where_nothing_is_there(probe: object) -> None:
    sections, said = run(script([probe]))  # type: ignore[list-item]
    assert "##RIG-EXIT" not in said
    assert sections


def test_only_the_running_daemon_that_may_set_caps_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as systemctl answers: one state per unit asked for, in that order
    states = "case $u in tuned.service) echo active;; nvidia-dcgm*) echo failed;; *) echo inactive"
    fake = tmp_path / "systemctl"
    fake.write_text(f'#!/bin/sh\nshift\nfor u in "$@"; do {states};; esac; done\nexit 3\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = run(script([CAP_WRITERS]))[0]["cap-writers"]
    assert [line for line in said if line.endswith(".service") and "/" not in line] == [
        "tuned.service"
    ]


def test_firmware_and_kernels_are_read_and_silence_is_unknown() -> None:
    text = [
        "bios_vendor=American Megatrends Inc.",
        "bios_version=P3.80",
        "bios_date=05/23/2024",
        "board_vendor=ASRockRack",
        "board_name=ROMED8-2T",
        "microcode\t: 0xa0011d5",
    ]
    found = parse_firmware({"firmware": text})
    assert not isinstance(found, Unknown)
    assert (found.version, found.board, found.microcode) == (
        "P3.80",
        "ASRockRack ROMED8-2T",
        "0xa0011d5",
    )
    bare = parse_firmware({"firmware": ["bios_vendor=", "bios_version="]})
    assert not isinstance(bare, Unknown)
    assert isinstance(bare.version, Unknown)
    assert isinstance(parse_firmware({}), Unknown)
    kernels = parse_kernels({"kernels": ["kernel 6.12.41 yes", "kernel 6.12.48 no"]})
    assert [(k.release, k.has_initrd) for k in kernels] == [  # type: ignore[union-attr]
        ("6.12.41", True),
        ("6.12.48", False),
    ]
    assert isinstance(parse_kernels({"kernels": []}), Unknown)


def test_a_scan_that_was_cut_off_clears_no_secret() -> None:
    assert isinstance(parse_secrets({"secrets": ["##RIG-CUT"]}, ("/etc/x",)), Unknown)
    assert isinstance(parse_secrets({}, ("/etc/x",)), Unknown)
