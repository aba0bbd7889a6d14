"""Captures cut anywhere: nothing raises, and no number that was read is another one than before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rigspec.discover.capture import Kind, recognise
from rigspec.observed import (
    kernel_log,
    lspci,
    lspci_tree,
    nccl_log,
    nccl_tests,
    numa,
    nvidia_smi,
    nvidia_smi_log,
    nvidia_smi_table,
    p2p,
    topology,
)
from rigspec.observed.nvidia_smi import QUERY_FIELDS, parse_smi_probe
from rigspec.observed.pci import Link
from rigspec.observed.pci_probe import parse_pci_probe
from rigspec.observed.record import Unknown, plain
from rigspec.observed.sections import split_sections

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*/*.txt"))
Parse = Callable[[str], Any]
BY_KIND: dict[Kind, tuple[Parse, ...]] = {
    Kind.LSPCI: (lspci.parse_lspci,),
    Kind.LSPCI_TREE: (lspci_tree.parse_lspci_tree,),
    Kind.SMI_LOG: (nvidia_smi_log.parse_smi_log,),
    Kind.SMI_CSV: (nvidia_smi.parse_query_gpu,),
    Kind.SMI_BANNER: (nvidia_smi_log.parse_smi_versions, nvidia_smi_table.parse_smi_table),
    Kind.TOPO: (topology.parse_topo_matrix,),
    Kind.P2P: (topology.parse_topo_p2p,),
    Kind.LSCPU: (numa.parse_lscpu,),
    Kind.DMESG: (kernel_log.parse_kernel_log,),
    Kind.LOG: (
        p2p.parse_matrices,
        p2p.parse_nvbandwidth,
        nccl_tests.parse_nccl_tests,
        nccl_log.parse_nccl_log,
        numa.parse_numactl,
    ),
}
ENDLESS = {"cells", "line", "description", "transport", "status", "name", "uuid", "driver", "kind"}
"""Words whose end nothing marks (`NVIDIA GeForce R`), and raw text."""
LENGTH, CUTS = 4000, 60


def numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every number and word of a record with its place; unknown ones and yes/no left out."""
    if isinstance(value, dict):
        if set(value) == {"unknown", "line"}:
            return
        for key, item in value.items():
            if key not in ENDLESS:
                yield from numbers(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from numbers(item, (*path, place))
    elif value is not None and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("path", CAPTURES, ids=lambda p: f"{p.parent.name[:12]}-{p.stem}")
def test_no_cut_gives_another_number(path: Path) -> None:
    text = path.read_text()
    parsers = BY_KIND.get(recognise(text), ())
    text = text[:LENGTH]
    step = max(1, len(text) // CUTS)
    for parse in parsers:
        whole = dict(numbers(plain(parse(text + "\n"))))
        for end in range(1, len(text), step):
            for place, value in numbers(plain(parse(text[:end]))):
                # words on the way of a tree may be missing; what is there must be the same
                assert whole.get(place, value) == value, (place, text[:end][-80:])


@pytest.mark.parametrize("path", CAPTURES[::4], ids=lambda p: f"{p.parent.name[:12]}-{p.stem}")
def test_no_lost_line_raises(path: Path) -> None:
    lines = path.read_text()[:LENGTH].splitlines(keepends=True)
    parsers = [parse for group in BY_KIND.values() for parse in group]
    for lost in range(0, len(lines), max(1, len(lines) // 12)):
        text = "".join(lines[:lost] + lines[lost + 1 :])
        for parse in parsers:
            json.dumps(plain(parse(text)))


def test_probe_that_was_cut_in_a_row_keeps_the_gpu_and_not_its_last_cell() -> None:
    cells = ["[N/A]"] * len(QUERY_FIELDS)
    cells[0], cells[-1] = "0", "2100"
    row = ", ".join(cells)
    whole = parse_smi_probe(split_sections(f"##RIG smi\n{row}\n##RIG-END\n"))
    cut = parse_smi_probe(split_sections(f"##RIG smi\n{row[:-2]}"))
    assert not isinstance(whole, Unknown)
    assert not isinstance(cut, Unknown)
    assert whole[0].clock_sm_max_mhz == 2100
    assert (len(cut), cut[0].index) == (1, 0)
    assert isinstance(cut[0].clock_sm_max_mhz, Unknown)


def test_probe_that_was_cut_in_a_device_leaves_that_device_out() -> None:
    device = "path=/sys/devices/pci0000:00 class=0x030000 max_link_width=16 current_link_width=16"
    text = f"##RIG pci\n0000:01:00.0 {device}\n0000:02:00.0 {device}"[:-1]
    tree = parse_pci_probe(split_sections(text))
    assert not isinstance(tree, Unknown)
    assert [function.address for function in tree.functions] == ["0000:01:00.0"]
    assert isinstance(tree.functions[0].link_status, Link)
    assert not tree.complete
