"""Forms in which people paste outputs: columns that grew together, frames, tags, other tables."""

from __future__ import annotations

from rigspec.discover.capture import Kind, capture_text, recognise
from rigspec.discover.seen import read_seen
from rigspec.observed.dressing import bare_lines
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.nccl_tests import NcclTest, parse_nccl_tests
from rigspec.observed.numa import parse_lscpu
from rigspec.observed.nvidia_smi import parse_query_gpu
from rigspec.observed.nvidia_smi_log import parse_smi_log
from rigspec.observed.nvidia_smi_table import parse_smi_table
from rigspec.observed.pci import Connection
from rigspec.observed.pci import Kind as Port
from rigspec.observed.record import Unknown, known
from rigspec.observed.text import cpu_list
from rigspec.observed.topology import TopologyRow, parse_topo_matrix


def topo_rows(text: str) -> tuple[TopologyRow, ...]:
    matrix = parse_topo_matrix(text)
    assert not isinstance(matrix, Unknown), matrix
    return matrix.rows


def test_affinities_that_grew_together_are_no_cpus() -> None:
    # vllm-project/vllm 17516
    one, two = topo_rows(
        "GPU0    GPU1    CPU Affinity    NUMA Affinity     GPU NUMA ID\n"
        "GPU0     X      NV18    0-55,112-167 0N/A\n"
        "GPU1    NV18     X      56-111,168-2231               N/A\n"
    )
    assert (len(known(one.cpus) or ()), one.numa_node) == (112, 0)
    assert two.cpus == Unknown("the row was cut or joined", "56-111,168-2231")
    assert isinstance(two.numa_node, Unknown)


def test_empty_affinity_between_tabs_is_none() -> None:
    (row,) = topo_rows(
        "\tGPU0\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \tPIX\t0-13\t\tN/A\n"
    )
    assert known(row.cpus) == tuple(range(14))
    assert isinstance(row.numa_node, Unknown)


def test_range_that_runs_backwards_is_no_list_of_cpus() -> None:
    assert cpu_list("80-75,208-223") == Unknown("not a list of CPUs", "80-75,208-223")


ROWS = """\
#       size         count      type   redop    root     time   algbw   busbw {column}
           8             2     float     sum      -1    15.88    0.00    0.00      {small}
   134217728      33554432     float     sum      -1    44121    3.04    3.04  {large}
# Out of bounds values : {bounds}
# Avg bus bandwidth    : 0.81
#
"""


def nccl_run(text: str) -> NcclTest:
    run = parse_nccl_tests(text)
    assert not isinstance(run, Unknown), run
    return run


def test_large_counts_of_wrong_values_are_counts() -> None:
    # NVIDIA/nccl-tests 131; `%g`
    run = nccl_run(ROWS.format(column="#wrong", small=2, large="6.71089e+07", bounds="50 FAILED"))
    assert [row.wrong for row in run.rows] == [2, 67108900]
    assert run.values_right is False


def test_size_of_an_error_without_its_head_was_checked() -> None:
    # NVIDIA/nccl-tests 44: a tail without the names of the columns
    run = nccl_run(
        "    33554432       8388608   float    817.8   20.51   20.51  0e+00"
        "    785.1   21.37   21.37  0e+00\n"
        "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 6.6\n"
    )
    assert run.out_of_bounds == 0
    assert run.values_right is True
    assert isinstance(run.rows[0].wrong, Unknown)


def test_tags_of_mpirun_and_frames_of_a_terminal_are_taken_off() -> None:
    # aws/aws-k8s-tester 503
    plain = ROWS.format(column="#wrong", small=0, large=0, bounds="0 OK")
    tagged = "".join(f"[1,0]<stdout>:{line}\n" for line in plain.splitlines())
    assert parse_nccl_tests(tagged) == parse_nccl_tests(plain)
    for month in ("Nov", "dec", "févr.", "11月"):  # NVIDIA/gpu-operator 610
        assert bare_lines(f"{month} 15 14:15:47 rig docker[41]: GPU 0") == ["GPU 0"]
    framed = bare_lines("│ GPU KV cache size: 27 tokens   │\n│ ready  │")
    assert framed[0].startswith("GPU KV cache size: 27 tokens")


def test_query_is_known_by_any_field_at_its_head() -> None:
    # XuehaiPan/nvitop 208: a GB10, whose memory is the host's
    text = (
        "$ nvidia-smi --query-gpu=memory.total,utilization.gpu,power.draw --format=csv\n"
        "memory.total [MiB], utilization.gpu [%], power.draw [W]\n[N/A], 0 %, 11.17 W\n"
    )
    assert recognise(text) is Kind.SMI_CSV
    gpus = parse_query_gpu(text)
    assert not isinstance(gpus, Unknown)
    assert (gpus[0].power_draw_w, gpus[0].memory_total_mib) == (11.17, Unknown("n/a", "[N/A]"))


def test_machines_that_share_a_card_are_no_cards() -> None:
    # NVIDIA/gpu-operator 267: `nvidia-smi vgpu`
    text = (
        "| NVIDIA-SMI 470.63                 Driver Version: 470.63                    |\n"
        "|   0  Tesla T4                   | 00000000:85:00.0             |   0%       |\n"
        "|      3251649543  GRID T4-4C     | 0607...  instance-00000273   |      0%    |\n"
    )
    assert isinstance(parse_smi_table(text), Unknown)


def test_lspci_that_names_its_group_is_a_listing() -> None:
    # NVIDIA/open-gpu-kernel-modules 935
    text = "02:00.0 VGA compatible controller: NVIDIA Corporation Device 2c18\n\tIOMMU group: 14\n"
    assert recognise(text) is Kind.LSPCI
    assert recognise("IOMMU Group 14:\n\t02:00.0 Host bridge [0600]: A [1022:1632]\n") is (
        Kind.IOMMU_GROUPS
    )


def test_region_without_a_place_has_no_size() -> None:
    # HeyMeco/Rockchip-pcie-devices 2
    (gpu,) = parse_lspci(
        "01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)\n"
        "\tRegion 0: Memory at f0000000 (32-bit, non-prefetchable) [size=16M]\n"
        "\tRegion 1: Memory at <unassigned> (64-bit, prefetchable) [disabled]\n"
        "\tRegion 5: I/O ports at <unassigned> [disabled]\n"
    ).gpus
    assert gpu.largest_bar_bytes == Unknown("not assigned", "<unassigned>")


def test_drawing_with_names_shows_gpus() -> None:
    # pop-os/pop 751: the thread made one blank of two
    tree = parse_lspci_tree(
        "-[0000:00]-+-00.0 Intel Corporation Host Bridge\n"
        "           +-01.0-[01]--+-00.0 NVIDIA Corporation GP106M [GeForce GTX 1060 Mobile]\n"
        "           |            \\-00.1 NVIDIA Corporation GP106 High Definition Audio\n"
        "           \\-1d.0-[03]----00.0  NVIDIA Corporation GA100 [A100 NVSwitch]\n"
    )
    assert [(gpu.address, gpu.parent) for gpu in tree.gpus] == [("0000:01:00.0", "0000:00:01.0")]


def test_drawn_switch_is_known_by_its_place() -> None:
    tree = parse_lspci_tree(
        "-[0000:00]-+-01.1-[01-05]----00.0-[02-05]--+-00.0-[03]----00.0  NVIDIA Corporation A\n"
        "           |                               \\-01.0-[04]----00.0  NVIDIA Corporation A\n"
        "           \\-1c.0-[06-07]----00.0-[07]----00.0  ASPEED Technology, Inc. Graphics Family\n"
    )
    kinds = {
        function.address[5:]: function.kind for function in tree.functions if function.is_bridge
    }
    assert kinds == {
        "00:01.1": Port.ROOT_PORT, "01:00.0": Port.UPSTREAM,
        "02:00.0": Port.DOWNSTREAM, "02:01.0": Port.DOWNSTREAM,
        "00:1c.0": Port.ROOT_PORT, "06:00.0": Port.UNKNOWN,
    }  # fmt: skip
    assert tree.connection("0000:03:00.0", "0000:04:00.0") is Connection.PIX


def test_end_of_a_card_whose_head_was_cut_off_is_not_the_next_ones() -> None:
    # NVIDIA/nvidia-docker 1648
    gpus = parse_smi_log(
        "Driver Version                        : 515.43.04\n"
        "    Clocks\n        SM                                : 1080 MHz\n"
        "GPU 00000000:46:00.0\n    Product Name                          : NVIDIA A100-SXM4-80GB\n"
    )
    assert not isinstance(gpus, Unknown)
    assert (gpus[0].bus_id, gpus[0].driver_version) == ("0000:46:00.0", "515.43.04")
    assert isinstance(gpus[0].clock_sm_mhz, Unknown)


def test_cores_of_two_kinds_are_counted_by_the_kernel_alone() -> None:
    head = "Architecture:  aarch64\nCPU(s):  20\n  On-line CPU(s) list:  0-18\n"
    off = "  Off-line CPU(s) list:  19\n"
    kinds = "".join(
        f"  Model name:  {name}\n    Thread(s) per core:  1\n    Core(s) per socket:  10\n"
        "    Socket(s):  1\n"
        for name in ("Cortex-X925", "Cortex-A725")
    )
    cpu = parse_lscpu(head + off + kinds)
    assert (cpu.model, cpu.online, cpu.present) == ("Cortex-X925 + Cortex-A725", 19, 20)
    assert cpu.expected == Unknown("counted for each kind of core", "Cortex-X925 + Cortex-A725")


def test_times_that_count_from_the_line_before_are_a_kernel_log() -> None:
    # NVIDIA/open-gpu-kernel-modules 935: dmesg -H
    text = "[  +0.012062] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.82.09  x\n"
    seen = read_seen(capture_text("pasted.txt", text))
    assert (seen.driver, seen.is_open) == ("580.82.09", True)


def test_days_of_a_kernel_log_in_another_language_are_days() -> None:
    # kvcache-ai/ktransformers 637
    assert recognise("[四 3月 20 21:01:25 2025] oom-kill:constraint=NONE\n") is Kind.DMESG
    assert recognise("[Do Nov 12 21:01:25 2025] oom-kill:constraint=NONE\n") is Kind.DMESG


def test_listing_of_gpus_is_read_below_other_words() -> None:
    # NVIDIA/gpu-operator 442
    seen = read_seen(
        capture_text(
            "pasted.txt",
            'Defaulted container "nvidia-driver-ctr" out of: nvidia-driver-ctr\n'
            "GPU 0: NVIDIA A30 (UUID: GPU-5eed0000-0000-0000-0000-000000000030)\n"
            "\nwngpu-1 kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  515.65.01  Wed\n",
        )
    )
    assert (seen.attached, seen.driver) == (1, "515.65.01")
    # Azure/azhpc-diagnostics 73: `nvlink -s` from its fourth card on
    cut = "GPU 3: Tesla V100-SXM2-32GB (UUID: GPU-5eed0000-0000-0000-0000-000000000003)\n"
    assert read_seen(capture_text("pasted.txt", cut)).attached == 4


def test_command_line_is_read_below_the_prompt_that_asked() -> None:
    # QubesOS/qubes-issues 10036
    text = (
        "rig:~$ cat /proc/cmdline\nplaceholder root=/dev/mapper/root ro iommu=pt\n\n"
        "rig:~$ lspci -nn\n01:00.0 VGA compatible controller [0300]: NVIDIA [10de:2f04]\n"
    )
    words = read_seen(capture_text("pasted.txt", text)).cmdline
    assert words == ("placeholder", "root=/dev/mapper/root", "ro", "iommu=pt")
