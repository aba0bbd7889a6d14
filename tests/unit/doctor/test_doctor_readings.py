"""Rows that only readings give away: PCI bits, links, watts, units; and healthy machines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rigspec.discover.capture import read_capture
from rigspec.doctor.diagnose import CHECKS, diagnose, is_cause
from rigspec.doctor.table import all_symptoms
from rigspec.observed.nvidia_smi import EXTRA_FIELDS, QUERY_FIELDS

CAPTURES = Path(__file__).parents[2] / "captures"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
LSPCI = (ASUS / "lspci-gpus-and-bridges.txt").read_text()


def rows_of(folder: Path) -> set[str]:
    return {found.symptom.row for found in diagnose(read_capture(folder))}


def changed_block(address: str, old: str, new: str) -> str:
    """The listing with a text replaced inside one function's block."""
    start = LSPCI.index(f"\n{address} ") + 1
    end = re.compile(r"^[0-9a-f]{2}:", re.M).search(LSPCI, start + 5)
    block = LSPCI[start : end.start() if end else None]
    assert re.search(old, block), f"{old} is not in the block of {address}"
    return LSPCI.replace(block, re.sub(old, new, block, count=1))


PCI = {
    "A3": changed_block("02:03.0", r"(ACSCtl:.*)ReqRedir-", r"\1ReqRedir+"),
    "A15": changed_block("01:00.0", r"LnkSta:\tSpeed 32GT/s", "LnkSta:\tSpeed 5GT/s"),
    "B3": changed_block("06:00.0", r"(LnkSta:.*)Width x16", r"\1Width x8"),
    "B14": changed_block("06:00.0", r"(LnkSta:.*)Width x16", r"\1Width x4"),
    "B12": changed_block("06:00.0", r"current size: \w+", "current size: 256MB"),
    "C7": changed_block(
        "06:00.0", r"Kernel driver in use: nvidia", "Kernel driver in use: nouveau"
    ),
    "A9": changed_block("02:03.0", r"Broadcom / LSI PEX890xx", "Intel 600 Series Chipset"),
}


@pytest.mark.parametrize("row", PCI)
def test_one_changed_bit_of_a_healthy_listing_names_its_row(row: str, tmp_path: Path) -> None:
    (tmp_path / "lspci.txt").write_text(LSPCI)
    assert row not in rows_of(tmp_path)
    (tmp_path / "lspci.txt").write_text(PCI[row])
    found = {d.symptom.row: d for d in diagnose(read_capture(tmp_path))}
    assert row in found
    assert found[row].evidence[0].file == "lspci.txt"


def test_harmless_rows_of_the_asus_explain_and_are_no_cause(tmp_path: Path) -> None:
    found = diagnose(read_capture(ASUS))
    assert {d.symptom.row for d in found if not is_cause(d)} == {"A4", "B1", "C6"}
    # its owners ran `iommu=off` on 256 threads and lost CPU 239: the only fault of that machine
    assert {d.symptom.row for d in found if is_cause(d)} == {"C10"}


@pytest.mark.parametrize(
    "name",
    [
        "stelline-asus-esc8000a-e12-4x-rtx6000ada",
        "nvidia-gpu-exporter-h200-590.48.01",
        "nvidia-gpu-exporter-geforce-rtx-2080-super-610.57.04",
        "local-inference-lab-8x-pro6000",
        "aikitoria-9x-blackwell-turin",
        "nccl-docs",
        "rtx6kpro-wiki",
    ],
)
def test_healthy_machine_has_no_cause(name: str) -> None:
    assert [d.symptom.id for d in diagnose(read_capture(CAPTURES / name)) if is_cause(d)] == []


HEALTHY = {
    "index": "0", "uuid": "GPU-5eed0000-0000-4000-8000-000000000000",
    "pci.bus_id": "00000000:01:00.0",
    "name": "NVIDIA GeForce RTX 3090", "power.draw": "300", "power.limit": "350",
    "enforced.power.limit": "350", "utilization.gpu": "98", "clocks.current.sm": "1700",
    "clocks.max.sm": "2100", "pcie.link.width.current": "16", "pcie.link.width.max": "16",
    "pcie.link.gen.current": "4", "pcie.link.gen.max": "4", "addressing_mode": "None",
    "clocks_event_reasons.active": "0x0000000000000000",
}  # fmt: skip


def cards_probe(*cards: dict[str, str], **sections: str) -> str:
    """A probe's text with these cards, all else healthy."""
    rows = []
    for number, change in enumerate(cards):
        own = {"index": str(number), "pci.bus_id": f"00000000:{number + 1:02x}:00.0"}
        own["uuid"] = HEALTHY["uuid"][:-1] + str(number)
        rows.append({**HEALTHY, **own, **change})
    parts = {
        "smi": [", ".join(row.get(key, "[N/A]") for key in QUERY_FIELDS) for row in rows],
        "smi-extra": [", ".join(row.get(key, "[N/A]") for key in EXTRA_FIELDS) for row in rows],
    } | {name.replace("_", "-"): [text] for name, text in sections.items()}
    return "".join(
        f"##RIG {name}\n" + "\n".join(lines) + "\n##RIG-END\n" for name, lines in parts.items()
    )


def unit(name: str, state: str = "active", entered: int = 1000) -> str:
    return (
        f"Id={name}\nLoadState=loaded\nActiveState={state}\nUnitFileState=enabled\n"
        f"ActiveEnterTimestampMonotonic={entered}\n"
    )


CONTAINER = "container /{} image={} state=running ipc=private shm=67108864"
SPINNING = {"utilization.gpu": "100", "power.draw": "100"}
PROBES = {
    "A1": cards_probe(SPINNING, SPINNING, smi_apps="GPU-5eed0000, 4711, 1 MiB"),
    "A2": cards_probe(SPINNING, SPINNING, smi_apps=""),
    "A5": cards_probe(
        {}, units=unit("rigspec-acs.service", entered=9000) + "\n" + unit("docker.service")
    ),
    "A19": cards_probe({}, container_list=CONTAINER.format("vllm", "vllm/vllm-openai")),
    "B2": cards_probe({"pcie.link.gen.current": "1"}),
    "B3": cards_probe({"pcie.link.width.current": "4"}),
    "B10": cards_probe(
        {},
        smi_memory="GPU 00000000:01:00.0\n    BAR1 Memory Usage\n"
        "        Total                             : 256 MiB",
    ),
    "C3": cards_probe(
        {},
        nvidia_proc="NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue\n",
        modules="nvidia 1 0 -",
        packages="libnvidia-compute-580\tamd64\t580.105.08-0ubuntu1\tii ",
    ),
    "C8": cards_probe(
        {"name": "NVIDIA GeForce RTX 5090"},
        nvidia_proc="NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue\n",
        modules="nvidia 1 0 -",
    ),
    "C9": cards_probe({"addressing_mode": "HMM"}, {"addressing_mode": "HMM"}),
    "D1": cards_probe({}, units=unit("rigspec-power.service", "failed")),
    "D4": cards_probe({"enforced.power.limit": "300"}),
    "D6": cards_probe({"clocks_event_reasons.active": "0x0000000000000040"}),
    "D7": cards_probe({}, {}, {"clocks.current.sm": "1300"}),
    "D8": cards_probe({"utilization.gpu": "0", "power.draw": "90", "clocks.current.sm": "2000"}),
    "D9": cards_probe({}, limit_writers="/etc/rc.local\n/etc/systemd/system/nvidia-pl.service"),
    "E3": cards_probe(
        {}, cdi="nvidia.com/gpu=0", cdi_files="/etc/cdi/nvidia.yaml\n/var/run/cdi/nvidia.yaml"
    ),
    "E9": cards_probe(
        {},
        units=unit("rigspec-glm.service")
        + "\n"
        + unit("nvidia-persistenced.service", entered=9000),
    ),
}


@pytest.mark.parametrize("row", PROBES)
def test_reading_of_the_probe_names_its_row(row: str, tmp_path: Path) -> None:
    (tmp_path / "probe.txt").write_text(PROBES[row])
    assert row in rows_of(tmp_path)


@pytest.mark.parametrize(("kind", "named"), [("DMA-FQ", True), ("identity", False)])
def test_translated_iommu_is_named_and_identity_is_not(
    kind: str, named: bool, tmp_path: Path
) -> None:
    gpu = "path=/sys/devices/pci0000:00/0000:00:01.1/{0} vendor=0x10de device=0x2204 class=0x030000"
    addresses = ("0000:01:00.0", "0000:41:00.0")
    pci = "\n".join(f"{address} {gpu.format(address)}" for address in addresses)
    iommu = "\n".join(f"group {n} {kind} {address}" for n, address in enumerate(addresses))
    (tmp_path / "probe.txt").write_text(cards_probe({}, {}, pci=pci, iommu=iommu))
    assert ("A1" in rows_of(tmp_path)) is named


@pytest.mark.parametrize(("word", "named"), [("Translated", True), ("Passthrough", False)])
def test_the_kernel_log_tells_whether_the_iommu_translates(
    word: str, named: bool, tmp_path: Path
) -> None:
    cards = ("01:00.0", "41:00.0")
    gpu = "{} VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204] (rev a1)\n"
    (tmp_path / "lspci").write_text("".join(map(gpu.format, cards)))
    groups = (f"[ 0.8] pci 0000:{card}: Adding to iommu group {n}" for n, card in enumerate(cards))
    log = ["[    0.000000] Linux version 6.12", f"[    0.7] iommu: Default domain type: {word}"]
    (tmp_path / "dmesg").write_text("\n".join([*log, *groups]))
    assert ("A1" in rows_of(tmp_path)) is named


def test_healthy_probe_names_nothing(tmp_path: Path) -> None:
    units = unit("rigspec-acs.service") + "\n" + unit("docker.service", entered=9000)
    said = {"limit_writers": "/etc/rc.local", "smi_apps": "GPU-1, 1, 2 MiB"}
    said["container_list"] = CONTAINER.format("grafana", "grafana/grafana:12")
    (tmp_path / "probe.txt").write_text(cards_probe({}, {}, units=units, **said))
    assert rows_of(tmp_path) == set()


def test_fewer_cards_in_the_driver_than_on_the_bus_is_named(tmp_path: Path) -> None:
    (tmp_path / "lspci.txt").write_text(LSPCI)
    listed = [f"GPU {n}: NVIDIA X (UUID: GPU-5eed0000-{n})" for n in range(7)]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    assert "B13" in rows_of(tmp_path)


def test_container_that_counts_otherwise_is_named(tmp_path: Path) -> None:
    for name, order in (("host.txt", (0, 1)), ("inside.txt", (1, 0))):
        lines = [f"GPU {n}: NVIDIA X (UUID: GPU-5eed0000-{m})" for n, m in enumerate(order)]
        (tmp_path / name).write_text("\n".join(lines))
    assert "E6" in rows_of(tmp_path)


def test_switch_pair_that_the_driver_calls_far_is_named(tmp_path: Path) -> None:
    (tmp_path / "lspci.txt").write_text(LSPCI)
    topo = (ASUS / "nvidia-smi-topo.txt").read_text()
    (tmp_path / "topo.txt").write_text(topo)
    assert "A8" not in rows_of(tmp_path)
    (tmp_path / "topo.txt").write_text(topo.replace("PIX", "PHB"))
    assert "A8" in rows_of(tmp_path)


def test_aspm_that_survives_its_switch_is_named(tmp_path: Path) -> None:
    lspci = changed_block("06:00.0", r"(LnkCtl:\s+)ASPM Disabled", r"\1ASPM L1 Enabled")
    (tmp_path / "lspci.txt").write_text(lspci)
    (tmp_path / "cmdline.txt").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda1 pcie_aspm=off\n")
    assert "B8" in rows_of(tmp_path)
    (tmp_path / "cmdline.txt").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda1\n")
    assert "B8" not in rows_of(tmp_path)


def test_frozen_slow_link_is_named(tmp_path: Path) -> None:
    frozen = changed_block("06:00.0", r"(LnkCtl2:.*)SpeedDis-", r"\1SpeedDis+")
    (tmp_path / "lspci.txt").write_text(frozen)
    assert "B9" in rows_of(tmp_path)


def test_collapsed_all_to_all_is_named(tmp_path: Path) -> None:
    rows = "134217728 33554432 float none -1 60000 2.24 1.96 0 60000 2.24 1.96 0"
    (tmp_path / "nccl.txt").write_text(f"# alltoall_perf\n{rows}\n# Out of bounds values : 0 OK\n")
    assert "A14" in rows_of(tmp_path)


def test_bios_setting_is_in_the_boards_own_words(tmp_path: Path) -> None:
    dmi = "##RIG dmi\nboard_name=ROMED8-2T\n##RIG-END\n"
    (tmp_path / "probe.txt").write_text(PROBES["B3"] + dmi)
    found = {d.symptom.row: d for d in diagnose(read_capture(tmp_path))}
    assert "x16; a slot left at x8/x8" in found["B3"].setting
    assert "ROMED8-2T" in found["B3"].setting


@pytest.mark.parametrize(
    ("dmi", "words"),
    [
        ("board_name=ProArt X870E-CREATOR WIFI", "PCI Subsystem Settings > Re-size BAR Support"),
        ("board_name=0ABCDE\nproduct_name=H12SSL-i", "it came Disabled (BIOS 3.3)"),
    ],
)
def test_bios_setting_of_a_home_board_by_board_or_product(
    dmi: str, words: str, tmp_path: Path
) -> None:
    probe = f"{PROBES['B10']}##RIG dmi\n{dmi}\n##RIG-END\n"
    (tmp_path / "probe.txt").write_text(probe)
    found = {d.symptom.row: d for d in diagnose(read_capture(tmp_path))}
    assert words in found["B10"].setting


def test_every_check_of_the_table_exists_and_every_check_is_used() -> None:
    assert {s.check for s in all_symptoms() if s.check} == set(CHECKS)


def test_table_covers_every_row_and_each_can_be_found() -> None:
    rows = [symptom.row for symptom in all_symptoms()]
    counts = {"A": 20, "B": 14, "C": 13, "D": 10, "E": 11, "F": 15}
    wanted = {f"{letter}{n}" for letter, most in counts.items() for n in range(1, most + 1)}
    wanted |= {f"Xid {n}" for n in (8, 13, 31, 43, 45, 48, 62, 74, 79, 154, 167)}
    assert set(rows) == wanted
    assert all(s.check or s.any_of or s.all_of or s.xids for s in all_symptoms())


def test_page_names_every_row_with_its_title_and_cure() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    for symptom in all_symptoms():
        row = f"| {symptom.row} | {symptom.likelihood} | {symptom.title} | {symptom.do} |"
        assert row in page, "docs/doctor.md lags behind rigspec/doctor/symptoms.yaml"
