"""IOMMU groups as people paste them: loops over sysfs, `find`, the kernel log."""

from __future__ import annotations

import pytest

from rigspec.observed.iommu_groups import devices_listed, parse_iommu_groups
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.record import Unknown, known

BEHIND = """\
IOMMU Group 0 00:01.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Device [1022:1482]
IOMMU Group 13 0b:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204]
IOMMU Group 13 0b:00.1 Audio device [0403]: NVIDIA Corporation GA102 [10de:1aef] (rev a1)
"""
BELOW = """\
IOMMU Group 0:
\t00:01.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Device [1022:1482]

IOMMU Group 13:
\t0b:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204] (rev a1)
\t0b:00.1 Audio device [0403]: NVIDIA Corporation GA102 [10de:1aef] (rev a1)
"""
MARKED = """\
IOMMU group 0
[1022:1482]     00:01.0  Host bridge
IOMMU group 13
[10de:2204] [R] 0b:00.0  VGA compatible controller
[10de:1aef] 0b:00.1  Audio device
"""
FOUND = """\
/sys/kernel/iommu_groups/0/devices/0000:00:01.0
/sys/kernel/iommu_groups/13/devices/0000:0b:00.0
/sys/kernel/iommu_groups/13/devices/0000:0b:00.1
"""
LOGGED = """\
[    0.712345] iommu: Default domain type: Translated
[    0.712346] iommu: DMA domain TLB invalidation policy: lazy mode
[    0.801000] pci 0000:00:01.0: Adding to iommu group 0
[    0.801100] pci 0000:0b:00.0: Adding to iommu group 13
[    0.801200] pci 0000:0b:00.1: Adding to iommu group 13
[    0.801300] pci 0000:0b:00.1: D0 power state depends on 0000:0b:00.0
"""


@pytest.mark.parametrize(
    "text",
    [BEHIND, BELOW, MARKED, FOUND, LOGGED, "> " + BELOW.replace("\n", "\n> ")],
    ids=["behind", "below", "marked", "find", "log", "quoted"],
)
def test_groups_are_the_same_in_every_form(text: str) -> None:
    iommu = parse_iommu_groups(text)
    assert not isinstance(iommu, Unknown)
    groups = {group.number: group.devices for group in known(iommu.groups) or ()}
    assert groups == {0: ("0000:00:01.0",), 13: ("0000:0b:00.0", "0000:0b:00.1")}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (LOGGED, "DMA"),
        (LOGGED.replace("Translated", "Passthrough (set via kernel command line)"), "identity"),
        (LOGGED.replace("Translated", "Odd"), None),
        (BEHIND, None),
    ],
)
def test_the_kind_of_domain_is_known_from_the_kernels_own_word_alone(
    text: str, kind: str | None
) -> None:
    iommu = parse_iommu_groups(text)
    assert not isinstance(iommu, Unknown)
    group = iommu.group_of("0000:0b:00.0")
    assert group is not None
    assert known(group.type) == kind


@pytest.mark.parametrize("text", [BEHIND, BELOW], ids=["behind", "below"])
def test_the_devices_of_a_listing_are_an_lspci_of_their_own(text: str) -> None:
    (gpu,) = parse_lspci(devices_listed(text)).gpus
    assert (gpu.address, gpu.device_id) == ("0000:0b:00.0", 0x2204)


def test_a_device_below_another_text_belongs_to_no_group() -> None:
    text = BELOW + "root@rig:~# lspci\n0c:00.0 Ethernet controller: Intel Corporation I210\n"
    iommu = parse_iommu_groups(text)
    assert not isinstance(iommu, Unknown)
    assert iommu.group_of("0000:0c:00.0") is None


@pytest.mark.parametrize(
    "text", ["", "IOMMU Group\n", "no IOMMU here\n", "IOMMU Group x 0b:00.0 V\n"]
)
def test_a_text_without_groups_is_unknown(text: str) -> None:
    assert isinstance(parse_iommu_groups(text), Unknown)
