"""Every capture through every parser, as printed and damaged: no exception, only JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rigspec.observed import (
    containers,
    endpoint,
    engine_log,
    files,
    kernel,
    kernel_log,
    lspci,
    lspci_tree,
    nccl_log,
    nccl_tests,
    numa,
    nvidia_smi,
    nvidia_smi_log,
    p2p,
    packages,
    pci_probe,
    storage,
    topology,
    units,
)
from rigspec.observed.record import plain
from rigspec.observed.sections import split_sections

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*/*.txt"))
PARSERS: tuple[Callable[[Any], Any], ...] = (
    containers.parse_containers,
    containers.parse_engine,
    containers.parse_images,
    endpoint.parse_completion,
    endpoint.parse_http,
    endpoint.parse_metrics,
    endpoint.parse_models,
    endpoint.parse_stream,
    engine_log.parse_engine_log,
    kernel.find_refused_options,
    kernel.parse_aspm_policy,
    kernel.parse_driver_version,
    kernel.parse_os_release,
    kernel_log.parse_kernel_log,
    lspci.parse_lspci,
    lspci_tree.parse_lspci_tree,
    nccl_log.parse_nccl_log,
    nccl_tests.parse_nccl_tests,
    numa.parse_lscpu,
    numa.parse_numactl,
    nvidia_smi.parse_query_gpu,
    nvidia_smi_log.parse_smi_list,
    nvidia_smi_log.parse_smi_log,
    nvidia_smi_log.parse_smi_versions,
    nvidia_smi_log.parse_smi_xml,
    p2p.parse_matrices,
    p2p.parse_nvbandwidth,
    p2p.parse_peer_access,
    p2p.parse_simple_p2p,
    packages.parse_apt_policy,
    packages.parse_dpkg,
    storage.parse_blkid,
    storage.parse_df,
    storage.parse_findmnt,
    storage.parse_lsblk,
    topology.parse_topo_matrix,
    topology.parse_topo_p2p,
    units.parse_units,
)
PROBE_PARSERS: dict[str, Callable[[dict[str, list[str]]], Any]] = {
    "cdi": containers.parse_cdi_probe,
    "files": lambda sections: files.parse_files_probe(sections, ["/etc/a"]),
    "host": kernel.parse_host_probe,
    "iommu": kernel.parse_iommu_probe,
    "kernel-log": kernel_log.parse_kernel_log_probe,
    "modules": kernel.parse_modules_probe,
    "numa": numa.parse_numa_probe,
    "packages": packages.parse_packages_probe,
    "pci": pci_probe.parse_pci_probe,
    "pci-aer": pci_probe.parse_aer_probe,
    "pci-config": pci_probe.parse_pci_probe,
    "secure-boot": kernel.parse_secure_boot_probe,
    "smi": nvidia_smi.parse_smi_probe,
    "units": units.parse_units_probe,
}


def damaged(text: str) -> tuple[str, ...]:
    """As printed, with DOS line ends and escapes, cut in a line, upside down, columns lost."""
    lines = text.split("\n")
    return (
        text,
        "\x1b[4m" + text.replace("\n", "\x1b[0m\r\n"),
        text[len(text) // 3 : 2 * len(text) // 3],
        "\n".join(reversed(lines)),
        "\n".join(line[7 : len(line) // 2] for line in lines),
        text.replace("0", "[Unknown Error]").replace("1", "N/A"),
    )


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: f"{p.parent.name[:12]}-{p.stem}")
def test_every_parser_survives_every_capture(path: Path) -> None:
    for text in damaged(path.read_text()[:12000]):
        for parse in PARSERS:
            json.dumps(plain(parse(text)))


@pytest.mark.parametrize("name", sorted(PROBE_PARSERS))
def test_every_probe_parser_survives_foreign_sections(name: str) -> None:
    parse = PROBE_PARSERS[name]
    for path in CAPTURES[:: max(1, len(CAPTURES) // 12)]:
        for text in damaged(path.read_text()[:4000]):
            printed = "".join(f"##RIG {n}\n{text}\n" for n in (name, "pci", "smi-extra"))
            json.dumps(plain(parse(split_sections(printed))))


def test_captures_keep_the_masking() -> None:
    assert len(CAPTURES) > 80
    for path in CAPTURES:
        text = path.read_text()
        for word in text.replace("(", " ").replace(")", " ").split():
            if word.startswith(("GPU-", "MIG-")) and word[4:5].isalnum() and "-" in word[5:]:
                assert word.startswith(("GPU-5eed0000-", "MIG-5eed0000-")), (path, word)
