"""Forms that no capture of ours shows: other drivers, wide domains, MIG, lost GPUs, kernel logs.

Each text is written from the tool's documented form, each expectation from reading the text.
"""

from __future__ import annotations

import pytest

from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.discover.seen import read_seen
from rigspec.observed.kernel import find_refused_options
from rigspec.observed.kernel_log import Event, parse_kernel_log
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.nvidia_smi import GpuReading, parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_list, parse_smi_log, parse_smi_xml
from rigspec.observed.packages import parse_apt_policy
from rigspec.observed.record import Reading, Unknown
from rigspec.observed.storage import parse_blkid, parse_lsblk
from rigspec.observed.text import cpu_list, read_float, read_int
from rigspec.observed.units import parse_units


def gpus(reading: Reading[tuple[GpuReading, ...]]) -> tuple[GpuReading, ...]:
    assert not isinstance(reading, Unknown), reading
    return reading


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


@pytest.mark.parametrize("cell", ["350,00 W", "12abc", "3 5", "½"])
def test_what_only_begins_like_a_number_is_none(cell: str) -> None:
    assert isinstance(read_float(cell), Unknown)


@pytest.mark.parametrize("cell", ["1E8110DE", "9" * 400, "²"])
def test_odd_numbers_never_raise(cell: str) -> None:
    assert isinstance(read_int(cell), Unknown)
    assert isinstance(cpu_list(f"0-{cell}"), Unknown)


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
