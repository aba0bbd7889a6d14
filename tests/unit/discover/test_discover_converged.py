"""A host that was brought to a plan, seen from outside alone: its draft asks for the same boot."""

from __future__ import annotations

from pathlib import Path

from rigspec.discover.capture import capture_text
from rigspec.discover.draft import draft_spec
from rigspec.discover.seen import read_seen
from rigspec.observed.nvidia_smi import QUERY_FIELDS
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.spec.load import load_text

STARTER = Path(__file__).resolve().parents[3] / "rigs" / "starter.yaml"
OURS = "intel_iommu=on iommu=pt pcie_aspm.policy=performance"
CARD = {
    "name": "NVIDIA GeForce RTX 3090", "driver_version": "580.95.05", "memory.total": "24576",
    "power.limit": "290", "enforced.power.limit": "290", "power.default_limit": "350",
    "power.min_limit": "100", "power.max_limit": "350",
}  # fmt: skip


def card(n: int) -> str:
    own = {**CARD, "index": str(n), "uuid": f"GPU-{n}", "pci.bus_id": f"00000000:0{n + 1}:00.0"}
    return ", ".join(own.get(name, "[N/A]") for name in QUERY_FIELDS)


def slot(n: int) -> str:
    link = "max_link_speed=16.0 max_link_width=16 current_link_speed=16.0 current_link_width=8"
    root = f"/sys/devices/pci0000:00/0000:00:0{n}.0"
    return (
        f"0000:00:0{n}.0 path={root} vendor=0x8086 device=0x1901 class=0x060400 {link}\n"
        f"0000:0{n}:00.0 path={root}/0000:0{n}:00.0 vendor=0x10de device=0x2204 class=0x030000 "
        f"{link} bar1=0x600000000,0xdffffffff,0x14220c"
    )


def probe(words: str) -> str:
    sections = {
        "host": f'rig_uid=0\nrig_cmdline=root=UUID=1 ro quiet {words}\nID=debian\nVERSION_ID="13"',
        "cpu": "Architecture: x86_64\nCPU(s): 16\nOn-line CPU(s) list: 0-15\n"
        "Model name: Intel(R) Core(TM) i9-12900K\nThread(s) per core: 2\n"
        "Core(s) per socket: 8\nSocket(s): 1",
        "aspm": "default [performance] powersave powersupersave",
        "pci": f"{slot(1)}\n{slot(2)}",
        "smi": f"{card(0)}\n{card(1)}",
        "nvidia-proc": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
        "modules": "nvidia 1 0 -",
        "packages": "docker.io\tamd64\t26.1\tii ",
        "grub": '/etc/default/grub:GRUB_CMDLINE_LINUX_DEFAULT="quiet console=ttyS0,115200"\n'
        f'/etc/default/grub.d/60-rigspec.cfg:GRUB_CMDLINE_LINUX_DEFAULT="$X {OURS}"',
    }
    return "".join(f"##RIG {name}\n{text}\n##RIG-END\n" for name, text in sections.items())


def drafted(words: str) -> tuple[str, Plan]:
    text = draft_spec(read_seen(capture_text("rig", probe(words))), "starter")
    loaded = load_text("starter.yaml", text)
    assert loaded.findings == ()
    assert loaded.rig is not None
    return text, plan_rig(loaded.rig)


def test_draft_asks_for_the_same_boot_caps_driver_and_containers() -> None:
    rig = check_file(str(STARTER)).rig
    assert rig is not None
    wanted = plan_rig(rig)
    text, plan = drafted(f"console=ttyS0,115200 {OURS}")
    assert plan.kernel == wanted.kernel
    assert plan.pcie == wanted.pcie
    assert plan.containers == wanted.containers
    assert [watts for _, watts in plan.power.limits_w] == [290, 290]
    assert (plan.driver.branch, plan.driver.flavour) == (580, "open")
    assert "`console=ttyS0,115200` stands there without rigspec" in text


def test_word_that_the_acs_stage_writes_is_no_wish_of_the_owner() -> None:
    _, plan = drafted(f"{OURS} pci=disable_acs_redir=0000:00:01.0;0000:00:02.0")
    assert not any("disable_acs_redir" in word for word in plan.kernel.arguments)
