"""A look at the rig of rigs/home.yaml with one narrow link and one unread value, for reports."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import Completion, HttpAnswer, ServedModel
from rigspec.observed.exposure import ContainerImage, Listener
from rigspec.observed.files import FileState
from rigspec.observed.kernel import Host, Iommu, IommuGroup, Modules, OsRelease, SecureBoot
from rigspec.observed.kernel_log import KernelLog
from rigspec.observed.last_boot import LastBoot
from rigspec.observed.nvidia_smi import QUERY_FIELDS, GpuReading, parse_query_gpu
from rigspec.observed.packages import Package, Packages
from rigspec.observed.pci import Acs, AcsBits, Bar, Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.observed.storage import BlockDevice, Mount, Space, Storage
from rigspec.observed.units import Unit
from rigspec.observed.upkeep import Firmware, InstalledKernel, Upkeep
from rigspec.plan.binding import BoundCard
from rigspec.plan.relied import planned_units
from rigspec.plan.rig import PLAN_FILE, all_files, plan_rig, to_json
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.verify.files import sha256
from rigspec.verify.observation import Answers, Observation

ROOT = Path(__file__).resolve().parents[3]
SPEC = ROOT / "rigs" / "home.yaml"
GIB = 1 << 30
SLOTS = tuple(f"0000:0{n}:00.0" for n in (3, 4, 5, 6))
UUIDS = tuple(f"GPU-{n}a0f1c52-7d3e-4b6a-9c81-0f2e4d6b8a9{n}" for n in range(4))
CELLS = (
    "{n}, {uuid}, 0000{slot}, NVIDIA RTX PRO 6000 Blackwell Workstation Edition, 0x2BB110DE, "
    "98.02.55.00.03, 595.71.05, 97887, 91234, 14.20, 350.00, 350.00, 600.00, 150.00, 600.00, "
    "Enabled, 1, 5, 16, 16, 34, 0, 12.0, [N/A], Disabled, [N/A], Disabled, 210, 3090"
)
"""A row of `--query-gpu` (fields of QUERY_FIELDS) as an idle card of this kind prints it."""


@cache
def the_plan() -> Plan:
    rig = check_file(str(SPEC)).rig
    assert rig is not None
    return plan_rig(rig)


def _port(address: str, kind: Kind, parent: str | None, link: Link) -> PciFunction:
    acs = Acs(AcsBits.from_word(0x1D), AcsBits.from_word(0x11))
    return PciFunction(
        address, class_code=0x0604, kind=kind, parent=parent, link_cap=Link(4, 16),
        link_status=link, acs=acs, aspm_enabled=(), numa_node=None, speed_disabled=False,
    )  # fmt: skip


def _card(n: int, link: Link) -> PciFunction:
    bars = (Bar(1, 1 << 40, 128 * GIB, prefetchable=True),)
    return PciFunction(
        SLOTS[n], 0x10DE, 0x2BB1, class_code=0x0300, kind=Kind.ENDPOINT, parent=f"0000:02:0{n}.0",
        link_cap=Link(5, 16), link_status=link, acs=None, aspm_enabled=(), bars=bars,
        speed_disabled=False,
        resizable_bars=Unknown("sysfs shows no capability", "<access denied>"),
    )  # fmt: skip


def the_tree() -> PciTree:
    """One switch, four idle cards; the third trained with 8 lanes."""
    idle = [Link(1, 16), Link(1, 16), Link(1, 8), Link(1, 16)]
    return PciTree((
        _port("0000:00:01.0", Kind.ROOT_PORT, None, Link(4, 16)),
        _port("0000:01:00.0", Kind.UPSTREAM, "0000:00:01.0", Link(4, 16)),
        *(_port(f"0000:02:0{n}.0", Kind.DOWNSTREAM, "0000:01:00.0", idle[n]) for n in range(4)),
        *(_card(n, idle[n]) for n in range(4)),
    ))  # fmt: skip


SERVERS = ("rigspec-glm.service", "rigspec-stt.service")
"""The first runs, the second is started in its place by hand."""


def _unit(name: str) -> Unit:
    properties = {"Id": name, "FragmentPath": f"/etc/systemd/system/{name}"}
    start, up = (12_000_000, 95_000_000) if name in SERVERS else (5_000_000, 9_000_000)
    return Unit(
        name, "loaded", "active", "running", "enabled", False, "success", 0, 0, 812, up, start, "",
        properties,
    )  # fmt: skip


def without_errors(cards: Reading[tuple[GpuReading, ...]]) -> tuple[GpuReading, ...]:
    """What newer drivers are asked for apart, on cards that are well."""
    return tuple(
        replace(
            card, remap_pending=False, remap_failed=False, retired_pending=False,
            recovery_action="None",
        )
        for card in known(cards) or ()
    )  # fmt: skip


def the_upkeep(plan: Plan) -> Upkeep:
    """Files as planned, and firmware of a board that exists."""
    written = {file.dest: (file.content, int(file.mode, 8)) for file in all_files(plan)}
    written[PLAN_FILE] = (to_json(plan), 0o644)
    files = {
        path: FileState(path, True, "regular file", mode, "root", "root", len(text), sha256(text))
        for path, (text, mode) in written.items()
    }
    firmware = Firmware("AMI", "P3.80", "05/23/2024", "ASRockRack ROMED8-2T", "0xa0011d5")
    kernels = (InstalledKernel("6.12.48+deb13-amd64", has_initrd=True),)
    return Upkeep(firmware, kernels, files, {}, (), ())


def the_look(**changes: Any) -> Observation:
    plan = the_plan()
    wanted = (*plan.driver.packages, *plan.containers.packages)
    versions = {p.name: (p.version or "1.0").replace("*", "71.05-1") for p in wanted}
    installed = {name: Package(name, "amd64", v, "ii") for name, v in versions.items()}
    groups = tuple(IommuGroup(n, "identity", (slot,)) for n, slot in enumerate(SLOTS))
    said = Completion("I am ready.", "", "stop", 9, 4, (), 4, complete=True)
    rows = "\n".join(CELLS.format(n=n, uuid=u, slot=SLOTS[n]) for n, u in enumerate(UUIDS))
    values: dict[str, Any] = {
        "host": Host(
            "6f1c0b5e-98f2-4f0e-a4e4-3d5ad0a3c0de", "6.12.48+deb13-amd64", "x86_64",
            ("ro", *plan.kernel.arguments), OsRelease("debian", "13", "trixie"), 32, 263_000_000,
            801.5, False, 0, "none",
        ),
        "cpu_vendor": "AuthenticAMD",
        "iommu": Iommu(("ivhd0",), ("IVRS",), groups),
        "modules": Modules(("nvidia",), {"nvidia_uvm.uvm_disable_hmm": "Y"}, "595.71.05", True, {}),
        "secure_boot": SecureBoot(False, True, Unknown("no lockdown file")),
        "key_enrolled": False,
        "refused": (),
        "tree": the_tree(),
        "cards": without_errors(parse_query_gpu(rows, QUERY_FIELDS)),
        "log": KernelLog((), (), from_boot=True),
        "last_boot": LastBoot(True, "reboot: Restarting system", (), ()),
        "next_boot": plan.kernel.arguments,
        "aer": (),
        "binding": tuple(BoundCard(f"main.{n}", UUIDS[n], SLOTS[n]) for n in range(4)),
        "packages": Packages(installed, tuple(plan.driver.hold), ()),
        "units": {name: _unit(name) for name in (*planned_units(plan), SERVERS[0])}
        | {SERVERS[1]: replace(_unit(SERVERS[1]), active_state="inactive", sub_state="dead")},
        "cdi": Cdi(tuple(f"nvidia.com/gpu={u}" for u in UUIDS), ("/var/run/cdi/nvidia.yaml",)),
        "storage": Storage(
            (Mount("/srv/models", "/dev/sdb1", "ext4", ("rw",), 4000 * GIB, 900 * GIB),),
            (BlockDevice("sdb1", "/dev/sdb1", "part", 1, "ext4", "weights", "u", "m", "/srv"),),
            (Space("/dev/sda1", "/", 100 * GIB, Unknown("not a number", "-")),),
        ),
        "models": {"glm": True, "transcribe": True},
        "answers": {
            "glm": Answers(
                (ServedModel("GLM-5.2", 460000),), HttpAnswer(401, 0.1, ("no",)), said, said, 1.2,
                UUIDS, replace(said, text="I"), image=ContainerImage("a" * 64, "a" * 64),
            )
        },
        "listeners": (Listener("127.0.0.1", 5000),),
        "upkeep": the_upkeep(plan),
    }  # fmt: skip
    return Observation(**(values | changes))
