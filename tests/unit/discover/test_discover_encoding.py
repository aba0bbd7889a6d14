"""Texts as people save them: PowerShell's UTF-16, compressed logs, two hosts in one folder."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.discover.capture import read_capture
from rigspec.discover.seen import read_seen
from rigspec.errors import RigspecError

LISTED = "GPU 0: NVIDIA X (UUID: GPU-0)\r\nGPU 1: NVIDIA X (UUID: GPU-1)\r\n"


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF16_LE + LISTED.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LISTED.encode("utf-16-be"),
        LISTED.encode("utf-16-le"),
        LISTED.encode("utf-16-be"),
        LISTED.encode("utf-8-sig"),
    ],
    ids=["LE with mark", "BE with mark", "LE", "BE", "UTF-8 with mark"],
)
def test_no_card_is_lost_whatever_shell_has_written_the_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    ((_, cards),) = read_seen(read_capture(tmp_path)).listed
    assert [card.uuid for card in cards] == ["GPU-0", "GPU-1"]


def test_packed_file_is_to_be_unpacked_first(tmp_path: Path) -> None:
    packed = tmp_path / "dmesg.gz"
    packed.write_bytes(gzip.compress(b"NVRM: Xid (PCI:0000:01:00): 79, pid=1\n"))
    for given in (packed, tmp_path):
        with pytest.raises(RigspecError) as problem:
            read_capture(given)
        assert problem.value.hint.startswith("unpack ")
    (tmp_path / "list.txt").write_text(LISTED)
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert "note: dmesg.gz is packed and was not read: unpack it first" in result.stderr


def log(host: str) -> str:
    return f"Nov  2 10:00:01 {host} kernel: Linux version 6.12\n"


def probe(boot: str) -> str:
    return f"##RIG host\nrig_boot_id={boot}\n##RIG-END\n"


@pytest.mark.parametrize(
    ("texts", "note"),
    [
        ((log("one"), log("two")), "these texts are of 2 hosts (one in 0.txt, two in 1.txt)"),
        ((probe("1aaaaaaa-1"), probe("2bbbbbbb-2")), "these texts are of 2 boots (1aaaaaaa in"),
        ((probe("1aaaaaaa-1"), probe("1aaaaaaa-1")), "there are 2 probes (0.txt, 1.txt)"),
        ((log("one"), log("one.example.org")), ""),
        ((log("one"), probe("1aaaaaaa-1")), ""),
    ],
    ids=["two hosts", "two boots", "two probes", "one host", "log and probe"],
)
def test_texts_of_two_hosts_are_said_to_be_so(
    texts: tuple[str, ...], note: str, tmp_path: Path
) -> None:
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    stderr = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)]).stderr
    assert f"note: {note}" in stderr if note else "note: " not in stderr


@pytest.mark.parametrize(
    "line",
    [
        "Device: 0, NVIDIA GeForce RTX 3090, pciBusID: 1, pciDeviceID: 0, pciDomainID:0",
        "Device 0: NVIDIA RTX PRO 6000 Blackwell Workstation Edition (00000000:41:00)",
        "  Device 0: NVIDIA H200, compute capability 9.0, VMM: yes",
        "#  Rank  0 Group  0 Pid   4711 on        rig device  0 [0000:41:00] NVIDIA A100-SXM4-80GB",
    ],
    ids=["p2pBandwidthLatencyTest", "nvbandwidth", "llama.cpp", "nccl-tests"],
)
def test_card_that_a_log_names_is_a_gpu_in_these_texts(line: str, tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text(f"{line}\n")
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert "no NVIDIA GPU" not in result.output
    assert result.exit_code == 0


@pytest.mark.parametrize("line", ["NVIDIA Corporation", "| NVIDIA-SMI 580 |", "nvidia/model-A3B"])
def test_the_makers_name_alone_is_no_gpu(line: str, tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text(f"{line}\n")
    result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
    assert "which NVIDIA GPUs the host has is not in these texts" in result.output
    assert result.exit_code == 3
