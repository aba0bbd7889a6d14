"""nvidia-smi in all its outputs: one record, unknown cells explicit, failures in its own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rigspec.observed.nvidia_smi import (
    EXTRA_FIELDS,
    QUERY_FIELDS,
    GpuReading,
    parse_query_gpu,
    parse_smi_probe,
)
from rigspec.observed.nvidia_smi_log import (
    parse_smi_list,
    parse_smi_log,
    parse_smi_versions,
    parse_smi_xml,
)
from rigspec.observed.record import NOT_ASKED, Reading, Unknown
from rigspec.observed.topology import parse_topo_matrix, parse_topo_p2p

CAPTURES = Path(__file__).parents[2] / "captures"
H200 = CAPTURES / "nvidia-gpu-exporter-h200-590.48.01"
RTX = CAPTURES / "nvidia-gpu-exporter-geforce-rtx-2080-super-610.57.04"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"
FIELD = CAPTURES / "field"
STAS = CAPTURES / "stas00-ml-engineering"


def only(reading: Reading[tuple[GpuReading, ...]]) -> GpuReading:
    assert not isinstance(reading, Unknown)
    (gpu,) = reading
    return gpu


def test_csv_with_header_and_units_reads_every_field() -> None:
    gpu = only(parse_query_gpu((H200 / "nvidia-smi-load-query-gpu-csv.txt").read_text()))
    assert (gpu.index, gpu.bus_id, gpu.name) == (0, "0000:83:00.0", "NVIDIA H200")
    assert (gpu.memory_total_mib, gpu.power_draw_w, gpu.power_min_w) == (143771, 627.40, 200.0)
    assert (gpu.link_gen, gpu.link_width, gpu.compute_cap) == (5, 16, "9.0")
    assert (gpu.persistence, gpu.addressing_mode, gpu.recovery_action) == (True, "None", "None")
    assert gpu.link_gen_host_max == Unknown("n/a", "[N/A]")
    assert gpu.cells["clocks.applications.graphics"].startswith("[Requested functionality")


def test_idle_link_generation_is_read_as_printed() -> None:
    idle = only(parse_query_gpu((RTX / "nvidia-smi-idle-query-gpu-csv.txt").read_text()))
    load = only(parse_query_gpu((RTX / "nvidia-smi-load-query-gpu-csv.txt").read_text()))
    assert (idle.link_gen, load.link_gen, idle.link_gen_max) == (1, 3, 3)
    assert idle.driver_version == "610.57.04" and idle.addressing_mode == "HMM"


@pytest.mark.parametrize("folder", [H200, RTX])
def test_log_and_csv_of_one_moment_agree(folder: Path) -> None:
    csv = only(parse_query_gpu((folder / "nvidia-smi-idle-query-gpu-csv.txt").read_text()))
    log = only(parse_smi_log((folder / "nvidia-smi-idle-q.txt").read_text()))
    compared = 0
    for name, value in vars(log).items():
        measured = {"cells", "power_draw_w", "clock_sm_mhz", "bar1_total_mib"}
        if name in measured or isinstance(value, Unknown):
            continue
        assert getattr(csv, name) == value, name
        compared += 1
    assert compared >= 20
    assert log.bar1_total_mib in {262144, 256}


def test_log_of_two_gpus_and_of_power_alone() -> None:
    gpus = parse_smi_log((ASUS / "nvidia-smi-q-first-two.txt").read_text())
    assert not isinstance(gpus, Unknown)
    assert [gpu.bus_id for gpu in gpus] == ["0000:06:00.0", "0000:07:00.0"]
    assert gpus[0].bar1_total_mib == 131072 and gpus[0].power_min_w == 300.0
    power = only(parse_smi_log((FIELD / "ogkm-483_laptop-590_q-d-power.txt").read_text()))
    assert (power.power_limit_w, power.power_enforced_w, power.power_max_w) == (35.0, 35.0, 95.0)
    assert power.uuid is NOT_ASKED


def test_old_driver_log_reads_remapped_rows() -> None:
    gpu = only(parse_smi_log((STAS / "nvidia-smi-q-remapped-retired-a100.txt").read_text()))
    assert gpu.bus_id == "0000:10:1c.0" and gpu.driver_version == "510.73.08"
    assert (gpu.remap_pending, gpu.remap_failed) == (True, False)


ROW = "0, GPU-5eed0000-0001, 00000000:41:00.0, NVIDIA GeForce RTX 3090"


def test_bracketed_cells_are_unknown_and_the_gpu_stays() -> None:
    text = f"{ROW}, [N/A], [Unknown Error], [Not Supported], [GPU is lost]\r\n"
    fields = (*QUERY_FIELDS[:4], "power.limit", "power.draw", "memory.total", "temperature.gpu")
    gpu = only(parse_query_gpu(text, fields))
    assert gpu.bus_id == "0000:41:00.0"
    for value in (gpu.power_limit_w, gpu.power_draw_w, gpu.memory_total_mib, gpu.temperature_c):
        assert isinstance(value, Unknown)
    assert gpu.power_draw_w == Unknown("unknown error", "[Unknown Error]")


def test_cut_row_is_a_gpu_with_unknown_cells() -> None:
    gpu = only(parse_query_gpu("0, GPU-5eed0000-0001, 00000000:41:0", QUERY_FIELDS))
    assert (gpu.index, gpu.uuid) == (0, "GPU-5eed0000-0001")
    assert isinstance(gpu.bus_id, Unknown) and isinstance(gpu.power_limit_w, Unknown)
    assert gpu.power_limit_w is not NOT_ASKED


@pytest.mark.parametrize(
    "said",
    [
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure"
        " that the latest NVIDIA driver is installed and running.",
        "Failed to initialize NVML: Unknown Error",
        'Field "addressing_mode" is not a valid field to query.',
        "Unable to determine the device handle for GPU0: 0000:41:00.0: Unknown Error",
        "",
    ],
)
def test_failures_are_unknown_in_nvidia_smis_own_words(said: str) -> None:
    answer = parse_query_gpu(said, QUERY_FIELDS)
    assert isinstance(answer, Unknown)
    assert said.split("\n")[0] in answer.reason or not said
    listed = parse_smi_list(said)
    assert isinstance(listed, Unknown)


def test_library_version_is_kept_with_a_mismatch() -> None:
    answer = parse_query_gpu(
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124"
    )
    assert isinstance(answer, Unknown) and "570.124" in answer.reason


def test_no_devices_is_an_answer() -> None:
    assert parse_query_gpu("No devices were found\n", QUERY_FIELDS) == ()
    assert parse_smi_list("No devices were found\n") == ()


def test_probe_joins_base_and_extra_fields_by_uuid() -> None:
    base = ["1"] * len(QUERY_FIELDS)
    base[1], base[2] = "GPU-5eed0000-0001", "00000000:41:00.0"
    extra = ["GPU-5eed0000-0001", "None", "None", "0x0", "No", "No", "[N/A]", "4", "[N/A]"]
    assert len(extra) == len(EXTRA_FIELDS)
    sections = {"smi": [", ".join(base)], "smi-extra": [", ".join(extra)]}
    gpu = only(parse_smi_probe(sections))
    assert (gpu.bus_id, gpu.addressing_mode, gpu.link_gen_gpu_max) == ("0000:41:00.0", "None", 4)
    old = {**sections, "smi-extra": ['Field "addressing_mode" is not a valid field to query.', ""]}
    gpu = only(parse_smi_probe(old))
    assert gpu.bus_id == "0000:41:00.0"
    assert isinstance(gpu.addressing_mode, Unknown)
    assert "not a valid field" in gpu.addressing_mode.reason


def test_probe_tells_absent_from_hanging() -> None:
    absent = parse_smi_probe({"smi": ["##RIG-ABSENT nvidia-smi"]})
    hanging = parse_smi_probe({"smi": ["##RIG-EXIT 124 nvidia-smi"]})
    assert isinstance(absent, Unknown) and "absent" in absent.reason
    assert isinstance(hanging, Unknown) and "did not answer in time" in hanging.reason


XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log><driver_version>595.58.03</driver_version><attached_gpus>2</attached_gpus>
<gpu id="00000000:41:00.0"><product_name>NVIDIA H200</product_name><uuid>GPU-5eed0000-1</uuid>
<persistence_mode>Enabled</persistence_mode>
<pci><pci_gpu_link_info><link_widths><current_link_width>16x</current_link_width></link_widths>
</pci_gpu_link_info></pci>
<fb_memory_usage><total>143771 MiB</total></fb_memory_usage>
<gpu_power_readings><current_power_limit>500.00 W</current_power_limit>
<requested_power_limit>700.00 W</requested_power_limit></gpu_power_readings></gpu>
<gpu id="00000000:42:00.0"><product_name>NVIDIA H200</prod"""


def test_cut_xml_gives_the_whole_gpus() -> None:
    gpu = only(parse_smi_xml(XML))
    assert (gpu.bus_id, gpu.persistence, gpu.link_width) == ("0000:41:00.0", True, 16)
    assert (gpu.power_limit_w, gpu.power_enforced_w) == (700.0, 500.0)
    assert gpu.driver_version == "595.58.03" and gpu.memory_total_mib == 143771
    assert isinstance(parse_smi_xml("<nvidia_smi_log><gpu id="), Unknown)


def test_list_gives_mig_devices_to_their_gpu() -> None:
    listed = parse_smi_list(
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5eed0000-5d5e)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-5eed0000-84fd)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-5eed0000-84fe)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5eed0000-5d5f)\n"
    )
    assert not isinstance(listed, Unknown)
    assert [(gpu.index, len(gpu.mig_uuids)) for gpu in listed] == [(0, 2), (1, 0)]


def test_versions_of_old_and_new_banners() -> None:
    for folder, driver, cuda in ((H200, "590.48.01", "13.1"), (RTX, "610.57.04", "13.3")):
        for name in (
            "nvidia-smi-idle-table.txt",
            "nvidia-smi-version.txt",
            "nvidia-smi-idle-q.txt",
        ):
            versions = parse_smi_versions((folder / name).read_text())
            assert (versions.driver, versions.cuda) == (driver, cuda), name
    assert isinstance(parse_smi_versions("nonsense").driver, Unknown)


def test_topology_with_escapes_tabs_and_missing_numa() -> None:
    asus = parse_topo_matrix((ASUS / "nvidia-smi-topo.txt").read_text())
    assert not isinstance(asus, Unknown)
    assert len(asus.gpus) == 8 and asus.between(0, 1) == "PIX" and asus.between(0, 7) == "SYS"
    assert asus.rows[4].numa_node == 1
    cpus = asus.rows[4].cpus
    assert not isinstance(cpus, Unknown) and 239 not in cpus and len(cpus) == 64 + 47
    two = parse_topo_matrix((FIELD / "club-3090-178_2x-3090-two-sockets_topo-m.txt").read_text())
    assert not isinstance(two, Unknown)
    assert isinstance(two.rows[0].numa_node, Unknown) and two.rows[1].numa_node == 1


def test_topology_with_nics_nvlink_and_markdown() -> None:
    nics = parse_topo_matrix((STELLINE / "nvidia-smi-topo-m.txt").read_text())
    assert not isinstance(nics, Unknown)
    assert len(nics.gpus) == 4 and len(nics.columns) == 8 and nics.rows[3].numa_node == 1
    nvlink = parse_topo_matrix((STAS / "topo-m-8x-h100-nv18.txt").read_text())
    assert not isinstance(nvlink, Unknown) and nvlink.between(7, 0) == "NV18"
    table = parse_topo_matrix((FIELD / "nccl-814_6x-4090_topo-markdown.txt").read_text())
    assert not isinstance(table, Unknown) and table.between(3, 4) == "PHB"


def test_p2p_status_matrix() -> None:
    matrix = parse_topo_p2p((FIELD / "club-3090-922_2x-3090-patched_topo-p2p-rw.txt").read_text())
    assert not isinstance(matrix, Unknown) and matrix.between(0, 1) == "OK"
    refused = parse_topo_p2p("\tGPU0\tGPU1\nGPU0\tX\tGNS\nGPU1\tCNS\tX\n")
    assert not isinstance(refused, Unknown)
    assert (refused.between(0, 1), refused.between(1, 0)) == ("GNS", "CNS")
    cut = parse_topo_p2p("\tGPU0\tGPU1\nGPU0\tX")
    assert not isinstance(cut, Unknown) and isinstance(cut.between(0, 1), Unknown)


@pytest.mark.parametrize("folder", [H200, RTX, ASUS, STELLINE, FIELD, STAS])
def test_every_capture_and_every_cut_is_survived(folder: Path) -> None:
    parsers = (
        parse_query_gpu,
        parse_smi_log,
        parse_smi_xml,
        parse_smi_list,
        parse_topo_matrix,
        parse_topo_p2p,
    )
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text()[:20000]
        for end in range(0, len(text) + 1, max(1, len(text) // 7)):
            for parse in parsers:
                answer = parse(text[:end])
                plain = [
                    part.to_json() for part in (answer if isinstance(answer, tuple) else [answer])
                ]
                json.dumps(plain)
