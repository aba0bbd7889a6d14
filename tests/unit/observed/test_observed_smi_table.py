"""The table of plain `nvidia-smi`, over its generations."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.discover.seen import read_seen
from rigspec.doctor.diagnose import diagnose
from rigspec.observed.nvidia_smi import GpuReading, parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_log
from rigspec.observed.nvidia_smi_table import parse_smi_table
from rigspec.observed.record import Reading, Unknown

CAPTURES = Path(__file__).parents[2] / "captures"
H200 = (CAPTURES / "nvidia-gpu-exporter-h200-590.48.01/nvidia-smi-idle-table.txt").read_text()
ADA = (CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada/nvidia-smi.txt").read_text()
OLD = """\
| NVIDIA-SMI 352.79     Driver Version: 352.79         |
|   0  GRID K520           Off  | 0000:00:03.0     Off |                  N/A |
| N/A   44C    P0    42W / 125W |    531MiB /  4095MiB |      0%      Default |
"""  # NVIDIA/DIGITS 679
MIG = """\
|   0  NVIDIA A100-SXM...  On   | 00000000:36:00.0 Off |                    2 |
| N/A   29C    P0    62W / 400W |     45MiB / 40536MiB |     N/A      Default |
|                               |                      |             Enabled* |
|  0    1   0   0  |     11MiB / 20096MiB | 42      0 |  3   0    2    0    0 |
"""
SHARED = """\
|   0  NVIDIA GB10                    On  |   0000000F:01:00.0 Off |                  N/A |
| N/A   39C    P8              4W /  N/A  | Not Supported          |      0%      Default |
|   1  Orin (nvgpu)                  N/A  | N/A              N/A |                  N/A |
| N/A   N/A  N/A               N/A /  N/A | Not Supported        |     N/A          N/A |
"""
LOST = """\
|   0  NVIDIA L40S              On   | 00000000:C1:00.0 Off |                    0 |
| 30%   40C    P8    20W / 350W |      1MiB / 46068MiB |      0%      Default |
|   1  ERR!                ERR! | 00000000:E1:00.0 ERR!|                 ERR! |
|ERR!  ERR!  ERR!    ERR! / ERR! |    ERR!              |     ERR!        ERR! |
"""
BUSY = """\
|   0  NVIDIA RTX A6000               On  |   00000000:C1:00.0 Off |                  Off |
| 30%   45C    P2             80W /  300W |   44321MiB /  49140MiB |    100%      Default |
|   1  NVIDIA RTX A6000               On  |   00000000:E1:00.0 Off |                  Off |
| 30%   45C    P2             82W /  300W |   44321MiB /  49140MiB |    100%      Default |
"""


def gpus(reading: Reading[tuple[GpuReading, ...]]) -> tuple[GpuReading, ...]:
    assert not isinstance(reading, Unknown), reading
    return reading


def test_table_shows_what_csv_shows_of_the_same_minute() -> None:
    (gpu,) = gpus(parse_smi_table(H200))
    assert (gpu.index, gpu.bus_id, gpu.name) == (0, "0000:83:00.0", "NVIDIA H200")
    assert (gpu.power_draw_w, gpu.power_limit_w, gpu.temperature_c) == (77, 700, 28)
    assert (gpu.memory_used_mib, gpu.memory_total_mib) == (0, 143771)
    assert (gpu.ecc_enabled, gpu.ecc_uncorrected, gpu.mig_enabled) == (True, 0, False)
    assert (gpu.persistence, gpu.display_active, gpu.driver_version) == (True, False, "590.48.01")
    assert isinstance(gpu.uuid, Unknown)


def test_name_that_the_table_cuts_is_no_name() -> None:
    found = gpus(parse_smi_table(ADA))
    assert len(found) == 4
    assert found[3].name == Unknown("the table cuts names", "NVIDIA RTX 6000 Ada Gene...")
    assert (found[3].bus_id, found[3].ecc_enabled) == ("0000:e1:00.0", False)
    seen = read_seen(capture_text("smi.txt", ADA))
    assert (seen.attached, seen.driver) == (4, "575.51.03")


def test_old_driver_and_mig_and_shared_memory() -> None:
    (old,) = gpus(parse_smi_table(OLD))
    assert (old.name, old.driver_version, old.power_limit_w) == ("GRID K520", "352.79", 125)
    (mig,) = gpus(parse_smi_table(MIG))
    assert (mig.mig_enabled, mig.ecc_uncorrected, mig.memory_total_mib) == (True, 2, 40536)
    spark, orin = gpus(parse_smi_table(SHARED))
    assert (spark.bus_id, spark.power_draw_w) == ("000f:01:00.0", 4)
    unread = (spark.memory_total_mib, spark.power_limit_w, orin.bus_id, orin.power_draw_w)
    assert all(isinstance(value, Unknown) for value in unread)


def test_table_without_its_head_is_recognised_and_half_a_line_is_none() -> None:
    assert recognise(BUSY) is Kind.SMI_BANNER
    cut = gpus(parse_smi_table(BUSY[: BUSY.rindex("49140MiB")]))
    assert (cut[1].bus_id, cut[0].memory_total_mib) == ("0000:e1:00.0", 49140)
    assert isinstance(cut[1].memory_total_mib, Unknown)
    assert parse_smi_table("no table") == Unknown("no GPU in the table")


@pytest.mark.parametrize(
    ("text", "cause"), [(LOST, "lost-card"), (BUSY, "first-allreduce-hangs"), (MIG, "xid-ecc")]
)
def test_table_alone_names_the_cause(text: str, cause: str) -> None:
    assert diagnose(capture_text("smi.txt", text))[0].symptom.id == cause


def test_outputs_that_were_printed_again_show_each_gpu_once_as_it_was_last() -> None:
    csv = "index, name, power.draw [W]\n0, A, 10.00 W\n1, A, 11.00 W\n"
    rows = gpus(parse_query_gpu(csv + "0, A, 300.00 W\n1, A, 301.00 W\n"))
    assert [row.power_draw_w for row in rows] == [300, 301]
    assert len(gpus(parse_smi_table(H200 + H200.replace("28C", "60C")))) == 1
    log = (CAPTURES / "nvidia-gpu-exporter-h200-590.48.01/nvidia-smi-idle-q.txt").read_text()
    assert len(gpus(parse_smi_log(log * 2))) == len(gpus(parse_smi_log(log)))


def test_programs_on_a_gpu_are_no_gpus() -> None:
    apps = "pid, name, used_gpu_memory [MiB]\n4711, /usr/bin/python3, 20480 MiB\n"
    assert isinstance(parse_query_gpu(apps), Unknown)
    long = "timestamp, gpu_name, gpu_uuid, pid, process_name\n2026, NVIDIA L4, 1, 2, 3\n"
    assert isinstance(parse_query_gpu(long), Unknown)
