"""Matrices of `nvidia-smi topo` as no capture of ours shows them: NICs, many GPUs, cut rows."""

from __future__ import annotations

from rigspec.observed.record import Unknown
from rigspec.observed.topology import TopologyMatrix, parse_topo_matrix, parse_topo_p2p


def matrix(text: str) -> TopologyMatrix:
    found = parse_topo_matrix(text)
    assert not isinstance(found, Unknown), found
    return found


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


def test_matrix_of_another_kind_above_is_passed_over() -> None:
    both = (
        "\tGPU0\tGPU1\nGPU0\t X \tPHB\nGPU1\tPHB\t X \n \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n"
    )
    copies = parse_topo_p2p(both)
    assert not isinstance(copies, Unknown)
    assert copies.between(0, 1) == "OK"
    assert matrix(both).between(0, 1) == "PHB"
