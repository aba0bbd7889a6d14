"""One set of causes, whatever the texts are: a folder, one file, a host's probe, a saved look."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.doctor.diagnose import diagnose
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.pci import Acs, AcsBits, Link, PciFunction, PciTree
from rigspec.observed.pci import Kind as Port
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import SavedObservation, observation_to_json

CLEAR = AcsBits.from_word(0)
REDIRECT = AcsBits.from_word(0b0001100)
SUPPORTS = AcsBits.from_word(0b1011111)


def gpu(address: str, parent: str, width: int = 16) -> PciFunction:
    return PciFunction(
        address,
        vendor_id=0x10DE,
        device_id=0x2204,
        class_code=0x0300,
        kind=Port.ENDPOINT,
        parent=parent,
        link_cap=Link(4, 16),
        link_status=Link(4, width),
    )


def port(address: str, ctl: AcsBits) -> PciFunction:
    return PciFunction(
        address,
        vendor_id=0x1022,
        class_code=0x0604,
        kind=Port.ROOT_PORT,
        parent=None,
        acs=Acs(SUPPORTS, ctl),
        link_cap=Link(4, 16),
        link_status=Link(4, 16),
    )


def saved(*functions: PciFunction, cards: tuple[GpuReading, ...] = ()) -> str:
    seen = Observation(tree=PciTree(functions), cards=cards)
    return observation_to_json(SavedObservation("home", "0" * 64, "2026-11-01T00:00:00", seen))


TREE = (
    port("0000:00:01.0", CLEAR),
    port("0000:00:02.0", REDIRECT),
    gpu("0000:01:00.0", "0000:00:01.0", width=4),
    gpu("0000:02:00.0", "0000:00:02.0"),
)


def doctor(path: Path) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(main, ["doctor", "--from", str(path), "--json"])
    assert result.exit_code in {0, 1}, result.output
    return result.exit_code, json.loads(result.stdout)


def test_saved_look_of_verify_is_diagnosed_with_what_was_decoded(tmp_path: Path) -> None:
    file = tmp_path / "look.json"
    file.write_text(saved(*TREE))
    assert recognise(file.read_text()) is Kind.SAVED_LOOK
    code, found = doctor(file)
    assert code == 1
    by_row = {str(cause["row"]): cause for cause in found}
    assert {"A3", "B3"} <= set(by_row)
    (proof,) = by_row["A3"]["evidence"]
    assert (proof["file"], proof["line"] > 1) == ("look.json", True)
    assert "0000:00:02.0: ACSCtl ReqRedir+ CmpltRedir+" in proof["text"]
    (proof,) = by_row["B3"]["evidence"]
    assert proof["text"] == "0000:01:00.0: LnkSta Gen4 x4, LnkCap Gen4 x16"


def test_healthy_saved_look_has_no_cause(tmp_path: Path) -> None:
    healthy = [replace(f, link_status=f.link_cap, acs=Acs(SUPPORTS, CLEAR)) for f in TREE]
    cards = tuple(GpuReading(bus_id=f"0000:0{n}:00.0") for n in (1, 2))
    (tmp_path / "look.json").write_text(saved(*healthy, cards=cards))
    assert doctor(tmp_path / "look.json") == (0, [])


def test_saved_look_that_is_broken_ends_with_two_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "look.json"
    file.write_text(saved(*TREE).replace('"functions"', '"funktions"'))
    result = CliRunner().invoke(main, ["doctor", "--from", str(file)])
    assert result.exit_code == 2
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_one_file_is_a_capture_and_a_missing_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "dmesg").write_text("NVRM: Xid (PCI:0000:01:00): 62, pid=1\n")
    assert doctor(tmp_path / "dmesg")[0] == 1
    missing = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path / "none")])
    assert (missing.exit_code, "does not exist" in missing.stderr) == (2, True)


@pytest.mark.parametrize(
    ("online", "cores", "said"),
    [("0-254", 64, ["certain"]), ("0-255", 64, ["possible"]), ("0-7", 2, [])],
    ids=["one is missing", "all are there", "too few to be lost"],
)
def test_lost_cpu_is_said_once_and_certain_only_where_it_is_missing(
    online: str, cores: int, said: list[str]
) -> None:
    lscpu = f"Architecture: x86_64\nOn-line CPU(s) list: {online}\nThread(s) per core: 2\n"
    lscpu += f"Core(s) per socket: {cores}\nSocket(s): 2\n"
    log = "[    1.982750] x2apic disabled\n[    0.000000] Linux version 6.12\n"
    text = f"##RIG cpu\n{lscpu}##RIG-END\n##RIG kernel-log\n{log}##RIG-END\n"
    found = [d.symptom for d in diagnose(capture_text("rig", text)) if d.symptom.row == "C10"]
    assert [symptom.likelihood for symptom in found] == said


def test_words_of_the_last_boot_are_evidence() -> None:
    text = "##RIG last-boot\n[9.1] nvidia 0000:01:00.0: aer_uncor_status: 0x00000020\n##RIG-END\n"
    found = diagnose(capture_text("rig", text))
    assert [d.symptom.row for d in found] == ["B6"]
    assert found[0].evidence[0].line == 2


NO_CARD = """00:00.0 Host bridge [0600]: Intel Corporation Device [8086:a700]
\tKernel driver in use: none
00:02.0 VGA compatible controller [0300]: Intel Corporation Device [8086:a780]
\tKernel driver in use: i915
"""


def test_texts_without_an_nvidia_gpu_are_no_clean_bill(tmp_path: Path) -> None:
    (tmp_path / "lspci.txt").write_text(NO_CARD)
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert result.exit_code == 3
    assert result.stdout.startswith("no NVIDIA GPU is in these texts")
    as_data = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path), "--json"])
    assert (as_data.exit_code, json.loads(as_data.stdout)) == (3, [])
    assert "no NVIDIA GPU" in as_data.stderr


def test_a_log_that_proves_a_cause_needs_no_card_beside_it(tmp_path: Path) -> None:
    (tmp_path / "dmesg.txt").write_text(
        "[  100.000000] NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.\n"
    )
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert result.exit_code == 1
    assert "no NVIDIA GPU" not in result.output


@pytest.mark.parametrize(
    "text",
    [
        "    ECC Errors\n        Volatile\n            SRAM Uncorrectable            : 0\n",
        "Unable to change the power management limit for GPU 00000000:01:00.0: Insufficient "
        "Permissions\n",
        "| PCIe                      | Pass - All             |\n",
    ],
    ids=["a part of nvidia-smi -q", "nvidia-smi -pl by a user", "dcgmi diag"],
)
def test_texts_that_list_no_devices_do_not_say_that_a_card_is_missing(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "said.txt").write_text(text)
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert result.exit_code == 3
    assert result.stdout.startswith("which NVIDIA GPUs the host has is not in these texts")
    assert "in its slot" not in result.stdout


def test_peers_of_a_matrix_are_gpus_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "p2p.txt").write_text(" \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n")
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert (result.exit_code, result.stdout[:8]) == (0, "no known")
