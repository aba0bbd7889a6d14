"""Forms that no capture of ours shows: other drivers, wide domains, MIG, NICs, lost GPUs.

Each text is written from the tool's documented form, each expectation from reading the text.
"""

from __future__ import annotations

import pytest

from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.discover.seen import read_seen
from rigspec.observed.endpoint import parse_metrics
from rigspec.observed.engine_log import EngineLog, parse_engine_log
from rigspec.observed.kernel import find_refused_options
from rigspec.observed.kernel_log import Event, parse_kernel_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.nccl_log import parse_nccl_log
from rigspec.observed.nccl_tests import parse_nccl_tests
from rigspec.observed.nvidia_smi import GpuReading, parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_list, parse_smi_log, parse_smi_xml
from rigspec.observed.packages import parse_apt_policy
from rigspec.observed.record import Reading, Unknown
from rigspec.observed.storage import parse_blkid, parse_lsblk
from rigspec.observed.text import cpu_list, read_float, read_int
from rigspec.observed.topology import TopologyMatrix, parse_topo_matrix, parse_topo_p2p
from rigspec.observed.units import parse_units


def gpus(reading: Reading[tuple[GpuReading, ...]]) -> tuple[GpuReading, ...]:
    assert not isinstance(reading, Unknown), reading
    return reading


def matrix(text: str) -> TopologyMatrix:
    found = parse_topo_matrix(text)
    assert not isinstance(found, Unknown), found
    return found


def test_csv_columns_come_in_any_order_and_words_for_nothing_are_unknown() -> None:
    one, two = gpus(
        parse_query_gpu(
            "power.limit [W], uuid, pci.bus_id, memory.total [MiB], mig.mode.current\r\n"
            "300.00 W, GPU-1, 10000:01:00.0, [Unknown Error], Enabled\r\n"
            "[Not Supported], GPU-2, 01:00.0, ERR!, [N/A]\r\n"
        )
    )
    assert (one.power_limit_w, one.bus_id, one.mig_enabled) == (300.0, "10000:01:00.0", True)
    assert one.memory_total_mib == Unknown("unknown error", "[Unknown Error]")
    assert two.bus_id == "0000:01:00.0"
    assert two.power_limit_w == Unknown("not supported", "[Not Supported]")
    assert two.memory_total_mib == Unknown("err!", "ERR!")


def test_csv_without_name_or_uuid_still_has_a_header() -> None:
    (gpu,) = gpus(parse_query_gpu("temperature.gpu, power.draw [W]\n38, 12.50 W\n"))
    assert (gpu.temperature_c, gpu.power_draw_w) == (38, 12.5)


def test_gpu_that_cannot_be_reached_is_a_gpu_of_which_nothing_is_known() -> None:
    said = "Unable to determine the device handle for GPU1: 0000:81:00.0: Unknown Error"
    one, lost = gpus(parse_query_gpu(f"index, name, power.draw\n0, NVIDIA L4, 30\n{said}\n"))
    assert one.power_draw_w == 30.0
    assert lost.bus_id == "0000:81:00.0"
    assert lost.power_draw_w == Unknown("the GPU is lost", said)


XML = """\
<nvidia_smi_log><driver_version>{driver}</driver_version><attached_gpus>2</attached_gpus>
<gpu id="00000000:01:00.0"><product_name>NVIDIA GeForce RTX 2080 SUPER</product_name>
<pci><pci_device_id>1E8110DE</pci_device_id><pci_gpu_link_info><link_widths>
<max_link_width>16x</max_link_width><current_link_width>8x</current_link_width></link_widths>
</pci_gpu_link_info></pci>
<clocks_{kind}_reasons><clocks_{kind}_reason_gpu_idle>Active</clocks_{kind}_reason_gpu_idle>
<clocks_{kind}_reason_hw_thermal_slowdown>Active</clocks_{kind}_reason_hw_thermal_slowdown>
<clocks_{kind}_reason_sw_thermal_slowdown>Not Active</clocks_{kind}_reason_sw_thermal_slowdown>
</clocks_{kind}_reasons>
<ecc_errors><volatile><sram_correctable>9</sram_correctable>
<sram_uncorrectable>2</sram_uncorrectable><dram_uncorrectable>1</dram_uncorrectable></volatile>
<aggregate><dram_uncorrectable>7</dram_uncorrectable></aggregate></ecc_errors>
{power}
</gpu><gpu id="00000000:02:00.0"><product_name>NVIDIA Gef"""
OLD_POWER = """<power_readings><power_draw>30.10 W</power_draw><power_limit>250.00 W</power_limit>
<enforced_power_limit>200.00 W</enforced_power_limit></power_readings>"""
NEW_POWER = """<gpu_power_readings><power_draw>N/A</power_draw>
<instant_power_draw>30.10 W</instant_power_draw>
<current_power_limit>200.00 W</current_power_limit>
<requested_power_limit>250.00 W</requested_power_limit></gpu_power_readings>
<module_power_readings><current_power_limit>999.00 W</current_power_limit></module_power_readings>
"""


@pytest.mark.parametrize(
    ("kind", "power", "driver"),
    [("throttle", OLD_POWER, "470.82.01"), ("event", NEW_POWER, "570.133.20")],
    ids=["470", "570"],
)
def test_xml_of_both_generations_reads_alike_and_its_cut_gpu_is_left_out(
    kind: str, power: str, driver: str
) -> None:
    (gpu,) = gpus(parse_smi_xml(XML.format(kind=kind, power=power, driver=driver)))
    assert gpu.pci_device_id == 0x1E8110DE  # as a decimal float it would be infinite
    assert (gpu.link_width, gpu.link_width_max) == (8, 16)
    assert (gpu.power_draw_w, gpu.power_limit_w, gpu.power_enforced_w) == (30.1, 250.0, 200.0)
    assert gpu.event_reasons == 0x41
    assert gpu.ecc_uncorrected == 3
    assert gpu.driver_version == driver


LOG = """\
==============NVSMI LOG==============

Driver Version                            : 535.183.01

GPU 00000000:10:1C.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    Clocks Throttle Reasons
        Idle                              : Not Active
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Not Active
            HW Power Brake Slowdown       : Active
        SW Thermal Slowdown               : Active
    ECC Errors
        Volatile
            SRAM Correctable              : 5
            SRAM Uncorrectable Parity     : 1
            SRAM Uncorrectable SEC-DED    : 2
            DRAM Uncorrectable            : 4
        Aggregate
            DRAM Uncorrectable            : 100
    FB Memory Usage
        Total                             : 81920 MiB
"""


def test_log_puts_reasons_and_errors_of_many_lines_together() -> None:
    (gpu,) = gpus(parse_smi_log(LOG))
    assert gpu.event_reasons == 0x8 | 0x80 | 0x20
    assert gpu.ecc_uncorrected == 7
    assert (gpu.bus_id, gpu.memory_total_mib) == ("0000:10:1c.0", 81920)


def test_reasons_of_a_block_that_was_cut_stay_unknown() -> None:
    (gpu,) = gpus(parse_smi_log(LOG.partition("        SW Thermal")[0]))
    assert isinstance(gpu.event_reasons, Unknown)


def test_mig_and_vgpu_lines_belong_to_their_gpu() -> None:
    listed = parse_smi_list(
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5eed0000-1)\n"
        "  MIG 1g.5gb      Device  0: (UUID: MIG-5eed0000-1)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-5eed0000-2)\n"
        "GPU 1: GRID A100D-80C (UUID: GPU-5eed0000-2)\r\n"
    )
    assert not isinstance(listed, Unknown)
    assert [(gpu.index, len(gpu.mig_uuids)) for gpu in listed] == [(0, 2), (1, 0)]
    assert listed[1].name == "GRID A100D-80C"


NICS = """\
\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV4\tPIX\t0-31,64-95\t0\t\tN/A
GPU1\tNV4\t X \tSYS\t32-63\t1\t\tN/A
NIC0\tPIX\tSYS\t X

NIC Legend:

  NIC0: mlx5_0
"""


def test_topology_with_nics_and_gpu_numa_ids() -> None:
    found = matrix(NICS)
    assert (found.gpus, found.columns) == (("GPU0", "GPU1"), ("GPU0", "GPU1", "NIC0"))
    assert [row.numa_node for row in found.rows[:2]] == [0, 1]
    assert found.between(0, 1) == "NV4"
    assert found.rows[0].words[2] == "PIX"
    cpus = found.rows[0].cpus
    assert not isinstance(cpus, Unknown)
    assert len(cpus) == 64


def test_topology_of_sixteen_gpus() -> None:
    head = "".join(f"\tGPU{n}" for n in range(16)) + "\tCPU Affinity\tNUMA Affinity\n"
    rows = ""
    for a in range(16):
        words = ("X" if a == b else "PIX" if a // 8 == b // 8 else "SYS" for b in range(16))
        rows += f"GPU{a}\t" + "\t".join(words) + "\t0-63\t0\n"
    found = matrix(head + rows)
    assert (found.between(0, 15), found.between(8, 15)) == ("SYS", "PIX")


@pytest.mark.parametrize("head", [
    "[12345.678901] ",
    "[Tue Nov 25 10:00:00 2026] ",
    "Nov 25 10:00:00 rig kernel: ",
    "2026-11-25T10:00:00+0000 rig kernel: ",
    "<4>[   12.345678] ",
    "[   12.345678] rig kernel: ",
    "",
])  # fmt: skip
@pytest.mark.parametrize("place", ["PCI:0000:c1:00", "0000:c1:00", "PCI:0000:c1:00.0"])
def test_xid_is_read_whatever_stands_before_it(head: str, place: str) -> None:
    log = parse_kernel_log(
        f"{head}NVRM: Xid ({place}): 79, pid='<unknown>', GPU has fallen off\r\n"
    )
    (event,) = log.of(Event.XID)
    assert (event.xid, event.address) == (79, "0000:c1:00.0")


def test_kernel_words_of_other_releases() -> None:
    log = parse_kernel_log(
        "pci 0000:01:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]\n"
        "BERT: [Hardware Error]: Skipped 1 error records\n"
        "nvidia 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer\n"
        "nvidia 0000:01:00.0:    [ 0] RxErr                  (First)\n"
    )
    assert [event.event for event in log.events] == [
        Event.NO_BAR, Event.HARDWARE_RECORD, Event.AER,
    ]  # fmt: skip
    assert log.events[2].names == ("RxErr",)
    refused = find_refused_options("PCI: Unknown option `noacs'\nAMD-Vi: Unknown option - 'on'\n")
    assert [option.option for option in refused] == ["noacs", "on"]


LSPCI = """\
10000:e1:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:2330] (rev a1)
\tRegion 0: [virtual] Memory at d0000000 (32-bit, non-prefetchable) [size=16M]
\tRegion 2: Memory at <unassigned> (64-bit, prefetchable)
\tCapabilities: [60] Express (v2) Endpoint, MSI 00
\t\tLnkCap:\tPort #0, Speed 32GT/s, Width x16, ASPM not supported
\t\tLnkCtl:\tASPM Disabled; RCB 64 bytes, Disabled- CommClk+
\t\tLnkSta:\tSpeed 32GT/s (ok), Width x8 (downgraded)
\t\tLnkCtl2: Target Link Speed: 32GT/s, EnterCompliance- SpeedDis+
"""


def test_lspci_with_a_wide_domain_and_marks_of_older_pciutils() -> None:
    (gpu,) = parse_lspci(LSPCI).functions
    assert (gpu.address, gpu.is_gpu) == ("10000:e1:00.0", True)
    assert not isinstance(gpu.bars, Unknown)
    assert gpu.bars[0].size_bytes == 16 << 20
    assert isinstance(gpu.bars[1].address, Unknown)
    assert gpu.link_status is not None and not isinstance(gpu.link_status, Unknown)
    assert (gpu.link_status.gen, gpu.link_status.width) == (5, 8)
    assert (gpu.aspm_supported, gpu.aspm_enabled, gpu.speed_disabled) == ((), (), True)


def test_table_of_another_tool_is_no_result_of_nccl_tests() -> None:
    table = (
        "   D\\D     0      1      2\n     0 1581.48 274.55 275.92\n     1 274.55 1581.48 275.35\n"
    )
    assert isinstance(parse_nccl_tests(table), Unknown)


@pytest.mark.parametrize("cell", ["350,00 W", "12abc", "3 5", "½"])
def test_what_only_begins_like_a_number_is_none(cell: str) -> None:
    assert isinstance(read_float(cell), Unknown)


@pytest.mark.parametrize("cell", ["1E8110DE", "9" * 400, "²"])
def test_odd_numbers_never_raise(cell: str) -> None:
    assert isinstance(read_int(cell), Unknown)
    assert isinstance(cpu_list(f"0-{cell}"), Unknown)


def test_nic_heads_without_a_blank_between_them_are_heads() -> None:
    # vllm-project/vllm 31594 and 20862: eight columns are too few for `NIC11`
    glued = matrix(
        "        GPU0    GPU1    NIC9    NIC10   NIC11NIC12    CPU Affinity    NUMA Affinity\n"
        "GPU0     X      NV18    NODE    NODE    PIX  NODE     0-15    0\n"
        "GPU1    NV18     X      NODE    PIX     NODE NODE     16-31   1\n"
    )
    assert glued.columns == ("GPU0", "GPU1", "NIC9", "NIC10", "NIC11", "NIC12")
    assert (glued.rows[1].numa_node, glued.rows[1].cpus) == (1, tuple(range(16, 32)))
    behind = matrix(
        "        GPU0    NIC10   NIC11CPU Affinity     NUMA Affinity   GPU NUMA ID\n"
        "GPU0     X      SYS     SYS  28-55,140-167    1               N/A\n"
    )
    assert (behind.columns, behind.rows[0].numa_node) == (("GPU0", "NIC10", "NIC11"), 1)


def test_nics_of_any_name_are_columns_and_an_empty_affinity_is_no_cpu() -> None:
    found = matrix(
        "\tGPU0\tmlx5_bond_0\tbnxt_re0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
        "GPU0\t X \tPIX\tSYS\t\t0\t\tN/A\n"
        "mlx5_bond_0\tPIX\t X \tSYS\t\t\t\t\n"
    )
    assert found.columns == ("GPU0", "mlx5_bond_0", "bnxt_re0")
    assert isinstance(found.rows[0].cpus, Unknown)
    assert found.rows[0].numa_node == 0


def test_rows_without_their_heads_are_no_matrix_and_a_second_matrix_is_another_question() -> None:
    rows = " GPU0\tX\tOK\n GPU1\tOK\tX\n"
    assert isinstance(parse_topo_p2p(rows), Unknown)
    heads = " \tGPU0\tGPU1\n"
    both = parse_topo_p2p(heads + rows + heads + rows.replace("OK", "NS"))
    assert not isinstance(both, Unknown)
    assert (len(both.rows), both.between(0, 1)) == (2, "OK")


def test_half_a_list_of_cpus_at_the_end_of_an_old_matrix_is_unknown() -> None:
    cut = matrix("\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tPIX\t0-11,24-35\nGPU1\tPIX\t X \t0-1")
    assert cut.rows[0].cpus == (*range(12), *range(24, 36))
    assert isinstance(cut.rows[1].cpus, Unknown)


def test_pipeline_ranks_of_one_tensor_rank_are_not_added_up() -> None:
    log = parse_engine_log(
        "[2026-01-15 13:56:49 PP0 TP0] Load weight end. avail mem=29.92 GB, mem usage=30.67 GB.\n"
        "[2026-01-15 13:56:50 PP1 TP0] Load weight end. avail mem=29.92 GB, mem usage=20.50 GB.\n"
        "[2026-01-15 13:56:51 PP1 TP0] Load weight end. avail mem=28.92 GB, mem usage=1.00 GB.\n"
    )
    assert isinstance(log, EngineLog)
    assert log.weights_gib == 30.67


def test_engine_is_the_one_that_speaks_not_one_that_is_named() -> None:
    log = parse_engine_log(
        "/usr/lib/python3/dist-packages/vllm/connections.py:8: RuntimeWarning: no version\n"
        "[2025-01-20 10:00:09 TP0] Load weight begin. avail mem=23.30 GB\n"
    )
    assert isinstance(log, EngineLog)
    assert log.engine == "sglang"
    named = parse_engine_log("ValueError in vllm/config.py: no such model\n")
    assert isinstance(named, EngineLog)
    assert named.engine == "vllm"


def test_kv_memory_that_was_asked_for_is_the_one_available() -> None:
    # SergiioB/intel-arc-pro-b70-inference-cookbook 4, vLLM with --kv-cache-memory-bytes
    log = parse_engine_log(
        "(EngineCore pid=316) INFO 08-21 18:37:44 [gpu_worker.py:492] Initial free memory 31.16 "
        "GiB, reserved 4.25 GiB memory for KV Cache as specified by kv_cache_memory_bytes config\n"
    )
    assert isinstance(log, EngineLog)
    assert log.available_kv_gib == 4.25


def test_half_a_number_at_the_end_of_a_log_is_none() -> None:
    log = parse_engine_log("llama_context: n_seq_max     = 1\nllama_context: n_ctx         = 81")
    assert isinstance(log, EngineLog)
    assert isinstance(log.kv_tokens, Unknown)


def test_exemplar_behind_a_sample_is_not_its_value() -> None:
    found = parse_metrics(
        '# TYPE vllm:ttft_seconds histogram\nvllm:ttft_seconds_bucket{le="1",m="{a}"} 5 '
        '# {id="7f"} 0.54 1752834088.5\nvllm:num_requests_running 2.0\nvllm:prompt_tokens_total 1.0'
    )
    assert not isinstance(found, Unknown)
    assert found.total("vllm:ttft_seconds_bucket") == 5
    assert found.samples[0].labels == {"le": "1", "m": "{a}"}
    assert isinstance(found.total("vllm:prompt_tokens_total"), Unknown)  # 1.0 of 1.0e+09


def test_half_a_pair_and_half_a_unit_are_left_out() -> None:
    whole = 'NAME="sda" TYPE="disk" SIZE="512"\n'
    assert [device.name for device in parse_lsblk(whole + 'NAME="sdb" TY')] == ["sda"]
    assert parse_lsblk('NAME="sda" TY') == ()
    assert parse_blkid('/dev/sda2: UUID="0115" TYPE=') == {"/dev/sda2": {"UUID": "0115"}}
    units = parse_units("Id=a.service\nActiveState=active\nSubSt")
    assert units["a.service"].active_state == "active"
    assert isinstance(
        parse_units("Id=a.service\nUnitFileState=e")["a.service"].unit_file_state, Unknown
    )


def test_policy_line_that_ends_in_a_colon_raises_nothing() -> None:
    assert parse_apt_policy("nvidia-open:\n  Installed: \n  Candidate: 590.1\n")["nvidia-open"]


def test_shared_memory_by_the_name_it_had_before_nccl_2_12() -> None:
    log = parse_nccl_log(
        "rig:1:2 [0] NCCL INFO Ring 00 : 0[0] -> 1[1] via direct shared memory\n"
        "rig:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] [send] via NET/IB/0(1)/GDRDMA\n"
        "NCCL version : 2.27.3\n"
    )
    assert [channel.transport for channel in log.channels] == ["SHM", "NET/IB/0(1)/GDRDMA"]
    assert log.version == "2.27.3"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.DMESG, "[   36.602729][  T291] pcieport 0000:00:00.0: enabled\n"),
        (Kind.DMESG, "6,3964,206764307,-;nvidia: module license taints kernel\n"),
        (Kind.DMESG, "<6>[  201.650687] sysrq: Trigger a crash\n"),
        (Kind.CMDLINE, "\n$ cat /proc/cmdline\nBOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet\n"),
        (Kind.CMDLINE, "ro root=UUID=5eed0000 console=tty0 pci=noats\n"),
        (Kind.LOG, "error: root=/dev/sda1 cannot be mounted\n"),
        (Kind.LSPCI, "10000:e1:00.0 Non-Volatile memory controller: Intel\n"),
    ],
)
def test_kernel_texts_are_recognised_in_every_form(kind: Kind, text: str) -> None:
    assert recognise(text) is kind


def test_command_line_is_read_below_the_prompt_and_blank_lines() -> None:
    seen = read_seen(capture_text("c", "\n# cat /proc/cmdline\nroot=/dev/sda1 iommu=pt\n"))
    assert seen.cmdline == ("root=/dev/sda1", "iommu=pt")


def test_time_of_kmsg_is_in_microseconds() -> None:
    log = parse_kernel_log("6,3964,206764307,-;NVRM: Xid (PCI:0000:01:00): 79, pid=1, gone\n")
    assert (log.events[0].time_s, log.events[0].xid) == (206.764307, 79)


def test_matrix_of_another_kind_above_is_passed_over() -> None:
    both = (
        "\tGPU0\tGPU1\nGPU0\t X \tPHB\nGPU1\tPHB\t X \n \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n"
    )
    copies = parse_topo_p2p(both)
    assert not isinstance(copies, Unknown)
    assert copies.between(0, 1) == "OK"
    assert matrix(both).between(0, 1) == "PHB"


def test_drawing_ends_where_another_listing_begins() -> None:
    text = "-[0000:00]-+-00.0\n           \\-01.1-[01]----00.0\n41:00.0 VGA compatible controller\n"
    assert len(parse_lspci_tree(text).functions) == 3


BOOT = """\
[    0.000000] Linux version 6.12.48+deb13-amd64 (debian-kernel@lists.debian.org)
[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=/dev/sda1 iommu=pt
[    0.068211] Kernel command line: BOOT_IMAGE=/vmlinuz root=/dev/sda1 iommu=pt added=1
[    9.100000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build
"""


def test_kernel_log_says_its_command_line_and_the_driver_it_loaded() -> None:
    seen = read_seen(capture_text("dmesg", BOOT))
    assert seen.cmdline == ("BOOT_IMAGE=/vmlinuz", "root=/dev/sda1", "iommu=pt")
    assert (seen.driver, seen.is_open) == ("580.95.05", True)
    closed = BOOT.replace("Open Kernel Module for x86_64", "x86_64 Kernel Module")
    assert read_seen(capture_text("dmesg", closed)).is_open is False
    later = read_seen(capture_text("dmesg", BOOT[BOOT.index("[    9.1") :]))
    assert isinstance(later.cmdline, Unknown)
