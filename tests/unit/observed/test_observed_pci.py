"""The PCI tree: lspci text, raw configuration space and our sysfs probe tell the same story."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from rigspec.observed import probes
from rigspec.observed.configspace import decode_config
from rigspec.observed.lspci import parse_acs_bits, parse_lspci
from rigspec.observed.lspci_tree import parse_lspci_tree
from rigspec.observed.pci import AcsBits, Kind, Link, PciFunction
from rigspec.observed.pci_probe import config_bytes, parse_aer_probe, parse_pci_probe
from rigspec.observed.record import Unknown
from rigspec.observed.sections import split_sections

CAPTURES = Path(__file__).parents[2] / "captures"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"
PCIUTILS = CAPTURES / "pciutils"
GPU_HEADER = bytes.fromhex("de108426 00001000 a1000003" + "00" * 40 + "60000000" + "00" * 8)
"""What a reader without root sees of a 4090: 64 bytes, capabilities begin at 0x60."""


def without_hex(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not _is_hex_row(line))


def only_hex(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if _is_hex_row(line) or line[5:6] == ".")


def _is_hex_row(line: str) -> bool:
    offset, _, row = line.partition(": ")
    return len(row.split()) == 16 and all(len(word) == 2 for word in row.split()) and bool(offset)


def functions_of(path: Path) -> dict[str, PciFunction]:
    return parse_lspci(path.read_text()).by_address


def test_asus_tree_gives_the_matrix_nvidia_smi_printed() -> None:
    tree = parse_lspci((ASUS / "lspci-gpus-and-bridges.txt").read_text())
    printed = [
        line.split()[1:9]
        for line in (ASUS / "nvidia-smi-topo.txt").read_text().splitlines()
        if line.startswith("GPU")
    ]
    gpus = tree.gpus
    ours = [[str(tree.connection(a.address, b.address)) for b in gpus] for a in gpus]
    assert ours == printed


def test_bridges_between_asus_gpus_are_ports_and_redirect_nothing() -> None:
    tree = parse_lspci((ASUS / "lspci-gpus-and-bridges.txt").read_text())
    same_switch = tree.bridges_between("0000:06:00.0", "0000:07:00.0")
    assert not isinstance(same_switch, Unknown)
    assert [b.kind for b in same_switch] == [Kind.DOWNSTREAM, Kind.DOWNSTREAM]
    everything = tree.bridges_between_gpus()
    assert not isinstance(everything, Unknown)
    assert len(everything) == 16  # 4 root ports, 4 upstream, 8 downstream ports
    for bridge in everything:
        if bridge.kind is Kind.UPSTREAM:
            assert bridge.acs is None
        else:
            assert bridge.acs is not None and not isinstance(bridge.acs, Unknown)
            assert bridge.acs.ctl.src_valid and not bridge.acs.ctl.redirects


def test_asus_gpu_reads_idle_link_aspm_bar_and_vfs() -> None:
    gpu = functions_of(ASUS / "lspci-gpus-and-bridges.txt")["0000:06:00.0"]
    assert (gpu.link_cap, gpu.link_status) == (Link(5, 16), Link(1, 16))
    assert gpu.aspm_supported == ("L1",) and gpu.aspm_enabled == ()
    assert gpu.largest_bar_bytes == 128 << 30  # region 2; the VF regions are not its own
    assert gpu.resizable_bars is not None and not isinstance(gpu.resizable_bars, Unknown)
    assert [bar.current_bytes for bar in gpu.resizable_bars] == [128 << 30]
    assert max(gpu.resizable_bars[0].supported_bytes) == 128 << 30  # not the virtual one's 8 EB
    assert (gpu.sriov_total_vfs, gpu.numa_node, gpu.driver) == (48, 0, "nvidia")


def test_listing_of_gpus_alone_does_not_invent_a_tree() -> None:
    tree = parse_lspci((STELLINE / "lspci-vvv-4-gpus.txt").read_text())
    gpus = tree.gpus
    assert [gpu.address[5:7] for gpu in gpus] == ["01", "41", "c1", "e1"]
    assert isinstance(gpus[0].parent, Unknown)
    assert isinstance(tree.connection(gpus[0].address, gpus[1].address), Unknown)
    assert gpus[0].largest_bar_bytes == 64 << 30


def test_tree_drawing_gives_parents() -> None:
    tree = parse_lspci_tree((STELLINE / "lspci-tv.txt").read_text())
    parents = {f.address: f.parent for f in tree.functions if "RTX 6000 Ada" in f.description}
    assert parents == {
        "0000:01:00.0": "0000:00:01.1",
        "0000:41:00.0": "0000:40:01.1",
        "0000:c1:00.0": "0000:c0:01.1",
        "0000:e1:00.0": "0000:e0:01.1",
    }
    assert tree.by_address["0000:65:00.0"].parent == "0000:64:10.0"
    path = tree.path("0000:65:00.0")
    assert not isinstance(path, Unknown)
    assert [step.bus[5:] for step in path] == ["60", "61", "62", "63", "64", "65"]


@pytest.mark.parametrize("name", ["cap-aer-root", "cap-exp-lnkcap2", "cap-l1-pm"])
def test_raw_bytes_say_what_lspci_printed(name: str) -> None:
    text = (PCIUTILS / f"{name}.txt").read_text()
    printed = parse_lspci(without_hex(text))
    decoded = parse_lspci(only_hex(text))
    dumps = {f.address: f for f in decoded.functions}
    compared = 0
    for function in printed.functions:
        raw = dumps[function.address]
        for field in (
            "kind",
            "link_cap",
            "link_status",
            "link_target_gen",
            "speed_disabled",
            "aspm_supported",
            "aspm_enabled",
            "acs",
            "secondary_bus",
        ):
            assert getattr(raw, field) == getattr(function, field), (function.address, field)
            compared += 1
    assert compared >= 9


def test_resizable_bar_bytes_say_what_lspci_prints() -> None:
    (raw,) = parse_lspci((PCIUTILS / "cap-rebar.txt").read_text()).functions
    (printed,) = parse_lspci(
        (PCIUTILS / "cap-rebar-as-lspci-3.9.0-prints-it.txt").read_text()
    ).functions
    assert raw.resizable_bars == printed.resizable_bars
    assert raw.resizable_bars and raw.vendor_id == printed.vendor_id == 0x1002


def test_config_space_without_root_is_unknown_not_absent() -> None:
    rows = (PCIUTILS / "cap-rebar.txt").read_text().splitlines()
    data = b"".join(bytes.fromhex(r.partition(": ")[2]) for r in rows if _is_hex_row(r))
    assert len(data) == 4096
    for cut in (64, 256):
        config = decode_config(data[:cut])
        assert not isinstance(config, Unknown)
        assert isinstance(config.acs, Unknown)
    assert isinstance(decode_config(b"\xff" * 256), Unknown)
    assert isinstance(decode_config(b"\x00" * 63), Unknown)


def test_config_space_of_any_bytes_never_raises() -> None:
    rows = (PCIUTILS / "cap-rebar.txt").read_text().splitlines()
    data = b"".join(bytes.fromhex(r.partition(": ")[2]) for r in rows if _is_hex_row(r))
    for place in range(0x34, 0x400):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        decode_config(bytes(broken))
        decode_config(data[:place])


def test_access_denied_is_unknown() -> None:
    tree = parse_lspci(
        "01:00.0 VGA compatible controller: NVIDIA Corporation Device 2684 (rev a1)\r\n"
        "\tSubsystem: NVIDIA Corporation Device 16f3\r\n"
        "\tRegion 1: Memory at 6000000000 (64-bit, prefetchable) [size=256M]\r\n"
        "\tCapabilities: <access denied>\r\n"
    )
    (gpu,) = tree.functions
    assert isinstance(gpu.acs, Unknown) and "root" in gpu.acs.reason
    assert isinstance(gpu.aspm_enabled, Unknown)
    assert gpu.largest_bar_bytes == 256 << 20


def test_numeric_listing_gives_ids_and_group() -> None:
    (gpu,) = parse_lspci(
        "0000:41:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H200] [10de:2335] (rev a1)\n"
        "\tSubsystem: NVIDIA Corporation Device [10de:18be]\n"
        "\tIOMMU group: 63\n"
        "\tRegion 2: Memory at <unassigned> (64-bit, prefetchable)\n"
        "\tCapabilities: [60] Express (v2) Endpoint, MSI 00\n"
        "\t\tLnkCap:\tPort #0, Speed 32GT/s, Wid"
    ).functions
    assert (gpu.vendor_id, gpu.device_id, gpu.class_code) == (0x10DE, 0x2335, 0x0302)
    assert gpu.is_gpu and gpu.iommu_group == 63 and gpu.subsystem_device_id == 0x18BE
    assert isinstance(gpu.largest_bar_bytes, Unknown)
    assert isinstance(gpu.link_cap, Link) and isinstance(gpu.link_cap.width, Unknown)
    assert isinstance(gpu.link_status, Unknown)


def test_acs_lines_from_the_field() -> None:
    bits = parse_acs_bits(
        "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-"
    )
    assert bits == AcsBits.from_word(0x1D)  # 0x001d, NVIDIA/nccl#2079
    assert bits.word == 0x1D and bits.redirects
    assert not AcsBits.from_word(0x11).redirects  # SrcValid + UpstreamFwd: healthy
    assert isinstance(parse_acs_bits("ACSCtl: SrcValid+ Trans"), Unknown)


def test_every_cut_of_a_listing_is_survived() -> None:
    text = (PCIUTILS / "cap-aer-root.txt").read_text()
    for end in range(0, len(text), 97):
        json.dumps(parse_lspci(text[:end]).to_json())


def fake_sysfs(root: Path) -> None:
    """A root port (bytes of pciutils' Haswell-E capture) with one NVIDIA function behind it."""
    rows = (PCIUTILS / "cap-aer-root.txt").read_text().splitlines()
    first = rows[: next(n for n, r in enumerate(rows) if n > 5 and r.startswith("00:") and n > 300)]
    data = b"".join(bytes.fromhex(r.partition(": ")[2]) for r in first if _is_hex_row(r))[:4096]
    port, gpu = "0000:00:02.0", "0000:03:00.0"
    devices = {port: root / "devices/pci0000:00" / port}
    devices[gpu] = devices[port] / gpu
    (root / "bus/pci/devices").mkdir(parents=True)
    (root / "drivers/nvidia").mkdir(parents=True)
    (root / "groups/7").mkdir(parents=True)
    for address, path in devices.items():
        path.mkdir(parents=True)
        (root / "bus/pci/devices" / address).symlink_to(path)
    values = {
        port: {"vendor": "0x8086", "device": "0x2f04", "class": "0x060400"},
        gpu: {"vendor": "0x10de", "device": "0x2684", "class": "0x030000", "numa_node": "1"},
    }
    values[gpu] |= {"current_link_speed": "2.5 GT/s PCIe", "current_link_width": "8"}
    values[gpu] |= {"max_link_speed": "16.0 GT/s PCIe", "max_link_width": "16"}
    for address, attributes in values.items():
        for name, value in attributes.items():
            (devices[address] / name).write_text(value + "\n")
    (devices[gpu] / "driver").symlink_to(root / "drivers/nvidia")
    (devices[gpu] / "iommu_group").symlink_to(root / "groups/7")
    (devices[gpu] / "resource").write_text(
        "0x00000000fb000000 0x00000000fbffffff 0x0000000000040200\n"
        "0x0000006000000000 0x00000067ffffffff 0x000000000014220c\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
    )
    (devices[port] / "config").write_bytes(data)
    (devices[gpu] / "config").write_bytes(GPU_HEADER)
    (devices[port] / "aer_dev_correctable").write_text("RxErr 3\nBadTLP 0\nTOTAL_ERR_COR 3\n")


def run_probe(root: Path, *asked: probes.Probe) -> dict[str, list[str]]:
    text = probes.script(asked).replace("/sys/", f"{root}/")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return split_sections(done.stdout)


def test_probe_of_sysfs_reads_tree_and_bytes(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    tree = parse_pci_probe(run_probe(tmp_path, *probes.PCI_PROBES))
    assert not isinstance(tree, Unknown) and tree.complete
    port, gpu = tree.functions
    printed = functions_of(PCIUTILS / "cap-aer-root.txt")["0000:00:02.0"]
    assert (port.kind, port.acs, port.link_cap) == (Kind.ROOT_PORT, printed.acs, Link(3, 8))
    assert port.parent is None and port.secondary_bus == 3 and port.aspm_enabled == ()
    assert gpu.is_gpu and gpu.parent == port.address
    assert (gpu.driver, gpu.iommu_group, gpu.numa_node) == ("nvidia", 7, 1)
    assert (gpu.link_status, gpu.link_cap) == (Link(1, 8), Link(4, 16))
    assert gpu.largest_bar_bytes == 32 << 30


def test_probe_counts_aer_errors(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    sections = run_probe(tmp_path, probes.PCI_AER)
    marked = [line.replace(str(tmp_path), "/sys") for line in sections["pci-aer"]]
    counters = parse_aer_probe({"pci-aer": marked})
    assert not isinstance(counters, Unknown)
    assert {(c.name, c.count) for c in counters} == {("RxErr", 3), ("TOTAL_ERR_COR", 3)}


def test_probe_without_pci_or_aer_says_absent(tmp_path: Path) -> None:
    sections = run_probe(tmp_path, *probes.PCI_PROBES, probes.PCI_AER)
    tree, counters = parse_pci_probe(sections), parse_aer_probe(sections)
    assert isinstance(tree, Unknown) and "absent" in tree.reason
    assert isinstance(counters, Unknown) and "absent" in counters.reason


def test_cut_dump_loses_only_what_follows(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    lines = run_probe(tmp_path, *probes.PCI_PROBES)["pci-config"]
    whole = config_bytes(lines)
    assert len(whole["0000:00:02.0"]) == 4096
    for end in range(8, len(lines)):
        cut = config_bytes(lines[:end])
        assert whole["0000:00:02.0"].startswith(cut["0000:00:02.0"])


def test_unfinished_probe_is_not_complete(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    text = probes.script(probes.PCI_PROBES).replace("/sys/", f"{tmp_path}/")
    out = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True).stdout
    tree = parse_pci_probe(split_sections(out[: out.index("##RIG-END")]))
    assert not isinstance(tree, Unknown) and not tree.complete
