"""Drafts of real machines: they load, carry what was read, and say what is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.discover.capture import Kind, masked, read_capture, recognise
from rigspec.discover.draft import _redirect, draft_spec, spec_name
from rigspec.discover.probe import probe_script
from rigspec.discover.seen import read_seen
from rigspec.errors import RigspecError
from rigspec.observed.pci import PciTree
from rigspec.observed.record import plain
from rigspec.report.discover import as_text, owner_lines
from rigspec.rules.run import check
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig
from rigspec.spec.source import Source

CAPTURES = Path(__file__).parents[2] / "captures"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"


def drafted(folder: Path) -> tuple[str, Rig]:
    text = draft_spec(read_seen(read_capture(folder)), "rig")
    loaded = load_text("rig.yaml", text)
    assert loaded.findings == ()
    assert loaded.rig is not None
    return text, loaded.rig


@pytest.mark.parametrize(
    ("folder", "left"),
    [
        # placeholders of wall and supply are too small for 8 × 600 W and 4 × 300 W;
        # `iommu=off` above 254 threads and `mitigations=off` are what its owners really ran
        (ASUS, {"kernel.iommu-off-many-cpus", "power.psu-overloaded", "power.circuit-overloaded",
                "arguments.argument-dangerous"}),
        (STELLINE, {"power.psu-overloaded", "power.circuit-overloaded"}),
        (CAPTURES / "nvidia-gpu-exporter-h200-590.48.01", {"power.psu-overloaded"}),
        (CAPTURES / "nvidia-gpu-exporter-geforce-rtx-2080-super-610.57.04", None),
    ],
    ids=["asus-8x-pro6000", "stelline-4x-ada", "h200", "2080-super"],
)  # fmt: skip
def test_draft_loads_and_only_known_choices_are_left(folder: Path, left: set[str] | None) -> None:
    _, rig = drafted(folder)
    if left is not None:
        assert {finding.rule for finding in check(rig)} == left


def test_asus_draft_holds_the_machine() -> None:
    _, rig = drafted(ASUS)
    group = rig.gpus["main"]
    assert (group.sku, group.count) == ("rtx-pro-6000-blackwell-server-edition", 8)
    # four upstream ports in the listing: two virtual switches on each of two chips
    assert [switch.gpus for switch in rig.pcie.switches] == [
        ("main.0", "main.1"),
        ("main.2", "main.3"),
        ("main.4", "main.5"),
        ("main.6", "main.7"),
    ]
    assert {switch.model for switch in rig.pcie.switches} == {"broadcom-pex890xx"}
    assert [switch.numa_node for switch in rig.pcie.switches] == [0, 0, 1, 1]
    assert (rig.pcie.generation, rig.pcie.width) == (5, 16)
    assert (rig.kernel.iommu, rig.host.cpu, rig.host.logical_cpus) == ("off", "amd", 256)
    assert (rig.driver.branch, rig.driver.version) == (595, "595.58.03")


def test_stelline_draft_takes_missing_bridges_from_the_drawing() -> None:
    text, rig = drafted(STELLINE)
    assert [(slots.gpus, slots.numa_node) for slots in rig.pcie.direct] == [
        (("main.0", "main.1"), 0),
        (("main.2", "main.3"), 1),
    ]
    # the drawing shows no ACS: nothing may be claimed about redirect
    assert "redirect is off" not in text


def test_no_bridge_is_not_all_of_them() -> None:
    assert _redirect(PciTree(())) == (False, "redirect is off: no bridge lies between GPUs")


def test_every_value_says_where_it_was_read_or_is_the_owners() -> None:
    text, _ = drafted(ASUS)
    names = {entry.name for entry in ASUS.iterdir()}
    for line in text.splitlines():
        value = line.partition(": ")[2] if not line.lstrip().startswith("#") else ""
        if value and line != "rigspec: 1":
            comment = line.partition(" # ")[2]
            known = any(name in comment for name in names) or "redirect is off" in comment
            assert known or comment.startswith("owner:"), line


def test_folder_without_a_gpu_says_what_to_save(tmp_path: Path) -> None:
    (tmp_path / "cmdline.txt").write_text("root=/dev/sda1 quiet\n")
    with pytest.raises(RigspecError) as problem:
        draft_spec(read_seen(read_capture(tmp_path)), "x")
    assert "lspci -vvvnn" in problem.value.hint


def test_folklore_on_the_command_line_becomes_a_comment(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        (CAPTURES / "nvidia-gpu-exporter-h200-590.48.01/nvidia-smi-idle-q.txt").read_text()
    )
    (tmp_path / "b").write_text("root=/dev/sda1 pci=noacs iommu=pt\n")
    text, rig = drafted(tmp_path)
    assert rig.kernel.iommu == "pt"
    assert rig.kernel.arguments == ()
    assert "`pci=noacs` does nothing" in text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("##RIG host\nrig_uid=0\n##RIG-END\n", Kind.PROBE),
        ("\tGPU0\tGPU1\nGPU0\t X \tPHB\nGPU1\tPHB\t X \n", Kind.TOPO),
        ("\tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n", Kind.P2P),
        ("index, uuid, name\n0, GPU-1, x\n", Kind.SMI_CSV),
        ("NVRM version: NVIDIA UNIX Open Kernel Module\n", Kind.DRIVER),
        ("[    0.000000] Linux version 6.12\n", Kind.DMESG),
        ("-[0000:00]-+-00.0\n", Kind.LSPCI_TREE),
        ("ValueError: No available memory\n", Kind.LOG),
    ],
)
def test_text_is_recognised_by_what_it_says(text: str, kind: Kind) -> None:
    assert recognise(text) is kind


def test_recognising_a_long_table_head_takes_no_time() -> None:
    head = "timestamp" + ", field.name [MiB]" * 400 + ", !\n"
    assert recognise(head) is Kind.SMI_CSV


def test_secrets_are_covered_in_shown_lines() -> None:
    line = "docker run -e HF_TOKEN=hf_abcdefghijk --api-key s3cret https://me:pw1234@host/x"
    shown = masked(line)
    assert all(word not in shown for word in ("hf_abc", "s3cret", "pw1234"))


def test_rig_name_is_a_name_whatever_the_folder_is_called() -> None:
    assert spec_name("My Rig_2 (new)!") == "my-rig-2-new"
    assert spec_name("…") == "rig"


def test_probe_is_shell_and_asks_no_container_for_its_environment(tmp_path: Path) -> None:
    script = tmp_path / "probe.sh"
    script.write_text(probe_script())
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert ".Config.Env" not in probe_script()
    assert "container inspect" not in probe_script()


def test_command_line_prints_draft_and_choices() -> None:
    result = CliRunner().invoke(main, ["discover", "--from", str(ASUS), "--name", "asus"])
    assert result.exit_code == 0
    assert "name: asus" in result.stdout
    assert "kernel.iommu-off-many-cpus" in result.stderr
    for _, words in owner_lines(result.stdout):
        assert words in result.stderr


def test_nothing_left_for_the_owner_is_said() -> None:
    assert as_text("", (), Source("x.yaml", "")).splitlines()[0] == "left for the owner: nothing"


def test_command_line_ends_with_two_without_a_folder() -> None:
    assert CliRunner().invoke(main, ["discover"]).exit_code == 2
    assert CliRunner().invoke(main, ["discover", "--from", "/nowhere"]).exit_code == 2
    assert CliRunner().invoke(main, ["doctor", "--from", "/nowhere"]).exit_code == 2


def test_doctor_ends_with_one_for_a_cause_and_nought_for_none() -> None:
    sick = CliRunner().invoke(main, ["doctor", "--from", str(ASUS)])
    well = CliRunner().invoke(main, ["doctor", "--from", str(STELLINE)])
    assert (sick.exit_code, well.exit_code) == (1, 0)
    assert (
        "dmesg-selected.txt:37: [    2.198007] smpboot: CPU 239 has invalid APIC ID" in sick.stdout
    )
    assert "worked:" in sick.stdout


PROBE = """##RIG host
rig_uid=0
rig_cmdline=root=/dev/sda1 quiet iommu=pt console=ttyS0,115200
ID=debian
VERSION_ID="13"
##RIG-END
##RIG dmi
board_name=ROMED8-2T
##RIG-END
##RIG pci
0000:40:01.1 path=/sys/devices/pci0000:40/0000:40:01.1 vendor=0x1022 device=0x1483 class=0x060400 \
max_link_speed=16.0 max_link_width=16 current_link_speed=16.0 current_link_width=16
0000:41:00.0 path=/sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0 vendor=0x10de device=0x2204 \
class=0x030000 max_link_speed=16.0 max_link_width=16 current_link_speed=2.5 current_link_width=16
##RIG-END
##RIG findmnt
TARGET="/" SOURCE="/dev/sda1" FSTYPE="ext4" OPTIONS="rw" SIZE="1" AVAIL="1"
TARGET="/srv/mo\\x20del: # s" SOURCE="/dev/sdb1" FSTYPE="xfs" OPTIONS="rw" SIZE="1" AVAIL="1"
TARGET="/srv/models" SOURCE="/dev/sdc1" FSTYPE="ext4" OPTIONS="rw" SIZE="1" AVAIL="1"
##RIG-END
##RIG lsblk
NAME="sdc1" PATH="/dev/sdc1" TYPE="part" SIZE="1" FSTYPE="ext4" LABEL="" UUID="5eed-01"
##RIG-END
##RIG container-list
container /vllm image=vllm/vllm-openai:v0.30.0 state=running ipc=private shm=1
##RIG-END
""".replace("\\\n", "")


def test_probe_alone_gives_a_draft_with_board_storage_and_containers(tmp_path: Path) -> None:
    (tmp_path / "probe.txt").write_text(PROBE.replace("/srv/mo\\x20del: # s", "/srv/more"))
    text, rig = drafted(tmp_path)
    assert rig.board is not None
    assert rig.board.model == "romed8-2t"
    assert rig.host.os == "debian-13"
    assert rig.gpus["main"].sku == "rtx-3090"
    assert rig.pcie.direct[0].gpus == ("main.0",)
    assert rig.pcie.generation == 4
    assert rig.kernel.iommu == "pt"
    assert {name: s.path for name, s in rig.storage.items()} == {
        "srv-more": "/srv/more",
        "srv-models": "/srv/models",
    }
    assert rig.storage["srv-models"].device == "UUID=5eed-01"
    assert "runs now: container /vllm image=vllm/vllm-openai:v0.30.0" in text


def test_workstation_is_found_by_its_product_where_the_board_is_a_part_number(
    tmp_path: Path,
) -> None:
    dmi = "board_name=0ABCDE\nproduct_name=Precision Tower 7910"
    probe = PROBE.replace("board_name=ROMED8-2T", dmi).replace("/srv/mo\\x20del: # s", "/srv/more")
    (tmp_path / "probe.txt").write_text(probe)
    text = draft_spec(read_seen(read_capture(tmp_path)), "rig")
    assert "model: precision-7910" in text
    assert "DMI: 0ABCDE, Precision Tower 7910" in text


def test_odd_path_is_quoted_and_refused_by_name_not_by_syntax(tmp_path: Path) -> None:
    (tmp_path / "probe.txt").write_text(PROBE)
    loaded = load_text("rig.yaml", draft_spec(read_seen(read_capture(tmp_path)), "rig"))
    assert loaded.rig is None
    assert [finding.path[-1] for finding in loaded.findings] == ["path"]


ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"
STELLINE = CAPTURES / "stelline-asus-esc8000a-e12-4x-rtx6000ada"


@pytest.mark.parametrize("folder", [ASUS, STELLINE], ids=["asus", "stelline"])
def test_commands_pasted_into_one_file_say_what_their_files_say(
    folder: Path, tmp_path: Path
) -> None:
    texts = [file for file in sorted(folder.glob("*.txt")) if file.stem != "proc-cmdline"]
    (tmp_path / "all.txt").write_text(
        "".join(f"$ some command\n{file.read_text()}\n" for file in texts)
    )
    apart, together = read_seen(read_capture(folder)), read_seen(read_capture(tmp_path))
    for name in ("tree", "cards", "cpu", "topo", "p2p", "driver", "attached", "log"):
        assert plain(getattr(together, name)) == plain(getattr(apart, name)), name
