"""The rig of `rigs/home.yaml` as it is read when all is in order; how a part of it is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import Completion, ServedModel
from rigspec.observed.exposure import ContainerImage, Listener
from rigspec.observed.files import FileState
from rigspec.observed.kernel import (
    Host,
    Iommu,
    IommuGroup,
    Modules,
    OsRelease,
    SecureBoot,
)
from rigspec.observed.kernel_log import KernelLog, parse_kernel_log
from rigspec.observed.last_boot import LastBoot
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.packages import Package, Packages
from rigspec.observed.pci import Acs, AcsBits, Bar, Kind, Link, PciFunction, PciTree
from rigspec.observed.pci_probe import AerCounter
from rigspec.observed.record import Unknown
from rigspec.observed.storage import Mount, Space, Storage
from rigspec.observed.units import Unit
from rigspec.observed.upkeep import SecretFile, Upkeep
from rigspec.plan.binding import BoundCard
from rigspec.plan.relied import planned_units
from rigspec.plan.rig import PLAN_FILE, all_files, plan_rig, to_json
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.verify.files import sha256
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Verdict

GIB = 1 << 30
LOST = Unknown("output was cut off")


def the_plan() -> Plan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig)


PLAN = the_plan()
SLOTS = tuple(f"0000:0{n}:00.0" for n in (3, 4, 5, 6))
UUIDS = tuple(f"GPU-{n}" for n in range(4))
CLEAR = AcsBits.from_word(0x11)  # SrcValid and UpstreamFwd stay on in healthy switches
REDIRECT = AcsBits.from_word(0x1D)


def port(address: str, kind: Kind, parent: str | None, **changes: Any) -> PciFunction:
    values: dict[str, Any] = {
        "class_code": 0x0604,
        "kind": kind,
        "parent": parent,
        "link_cap": Link(4, 16),
        "link_status": Link(4, 16),
        "aspm_enabled": (),
        "acs": None if kind is Kind.UPSTREAM else Acs(REDIRECT, CLEAR),
        "link_target_gen": 4,
        "speed_disabled": False,
    }
    return PciFunction(address, **(values | changes))


def card(address: str, parent: str, **changes: Any) -> PciFunction:
    values: dict[str, Any] = {
        "vendor_id": 0x10DE,
        "device_id": int(PLAN.preflight.gpus[0].pci_ids[0], 16),
        "class_code": 0x0300,
        "kind": Kind.ENDPOINT,
        "parent": parent,
        "link_cap": Link(5, 16),
        "link_status": Link(1, 16),  # idle
        "link_target_gen": 5,
        "speed_disabled": False,
        "aspm_enabled": (),
        "acs": None,
        "bars": (Bar(1, 1 << 40, 128 * GIB, prefetchable=True),),
    }
    return PciFunction(address, **(values | changes))


def tree(**changes: dict[str, Any]) -> PciTree:
    """One switch with four cards below; `changes` by address."""
    functions = [
        port("0000:00:01.0", Kind.ROOT_PORT, None),
        port("0000:01:00.0", Kind.UPSTREAM, "0000:00:01.0"),
        *(port(f"0000:02:0{n}.0", Kind.DOWNSTREAM, "0000:01:00.0") for n in range(4)),
        *(card(slot, f"0000:02:0{n}.0") for n, slot in enumerate(SLOTS)),
    ]
    gone = [address for address, change in changes.items() if change is None]
    return PciTree(
        tuple(replace(f, **changes.get(f.address, {})) for f in functions if f.address not in gone)
    )


def unit(name: str, **changes: Any) -> Unit:
    values: dict[str, Any] = {
        "id": name,
        "load_state": "loaded",
        "active_state": "active",
        "sub_state": "running",
        "unit_file_state": "enabled",
        "need_daemon_reload": False,
        "result": "success",
        "exec_main_status": 0,
        "n_restarts": 0,
        "main_pid": 1,
        "active_enter_us": 1,
        "start_us": 1,
        "status_text": "",
        "properties": {},
    }
    return Unit(**(values | changes))


def gpu(n: int, **changes: Any) -> GpuReading:
    values: dict[str, Any] = {
        "uuid": UUIDS[n],
        "bus_id": SLOTS[n],
        "driver_version": "595.71.05",
        "power_limit_w": 350.0,
        "power_enforced_w": 350.0,
        "power_default_w": 600.0,
        "persistence": True,
        "temperature_c": 40,
        "clock_sm_mhz": 210,
        "utilization_percent": 0,
        "link_gen": 1,
        "ecc_uncorrected": 0,
        "remap_pending": False,
        "remap_failed": False,
        "retired_pending": Unknown("n/a", "[N/A]"),
        "recovery_action": "None",
    }
    return GpuReading(**(values | changes))


def packages(**changes: Any) -> Packages:
    versions = {p.name: p.version for p in (*PLAN.driver.packages, *PLAN.containers.packages)}
    found = {
        name: Package(name, "amd64", (pattern or "1.0").replace("*", "71.05-1"), "ii")
        for name, pattern in versions.items()
    }
    return replace(Packages(found, (*PLAN.driver.hold, *PLAN.containers.hold), ()), **changes)


def host(**changes: Any) -> Host:
    values: dict[str, Any] = {
        "boot_id": "a",
        "release": "6.12",
        "machine": "x86_64",
        "cmdline": ("ro", *PLAN.kernel.arguments),
        "os": OsRelease("debian", "13", "trixie"),
        "cpus_online": 32,
        "memory_total_kib": 1,
        "uptime_s": 100.0,
        "reboot_required": False,
        "uid": 0,
        "virtualization": "none",
    }
    return Host(**(values | changes))


GROUPS = tuple(IommuGroup(n, "identity", (f"0000:02:0{n}.0", slot)) for n, slot in enumerate(SLOTS))
ALONE = tuple(IommuGroup(n, "identity", (slot,)) for n, slot in enumerate(SLOTS))


def log(*lines: str) -> KernelLog:
    """A log from the first line of the boot on."""
    return parse_kernel_log(["[    0.000000] Linux version 6.12", *lines])


STREAM = Completion("I am ready.", "", "stop", 9, 4, (), 4, complete=True)
GLM = Answers(
    models=(ServedModel("GLM-5.2", 460000),),
    completion=replace(STREAM, pieces=1),
    stream=STREAM,
    seconds=1.2,
    cards=UUIDS,
    stopped=replace(STREAM, text="I", pieces=1),
    image=ContainerImage("a" * 64, "a" * 64),
)
STORAGE = Storage(
    mounts=(
        Mount("/", "/dev/sda1", "ext4", (), 100 * GIB, 50 * GIB),
        Mount("/srv/models", "/dev/sdb1", "ext4", (), 4000 * GIB, 900 * GIB),
    ),
    devices=(),
    space=(Space("/dev/sda1", "/", 100 * GIB, 50 * GIB),),
)
WRITTEN = {
    **{file.dest: (file.content, int(file.mode, 8)) for file in all_files(PLAN)},
    PLAN_FILE: (to_json(PLAN), 0o644),
}
FILES = {
    path: FileState(path, True, "regular file", mode, "root", "root", len(text), sha256(text))
    for path, (text, mode) in WRITTEN.items()
}
KEY_FILE = SecretFile("/etc/rigspec/secrets/glm.env", "600", "root:root", searched=True)
UPKEEP = Upkeep(files=FILES, secrets=(KEY_FILE,))
GOOD = Observation(
    host=host(),
    cpu_vendor="AuthenticAMD",
    iommu=Iommu(("ivhd0",), ("IVRS",), GROUPS),
    modules=Modules(
        ("nvidia", "nvidia_uvm"), {"nvidia_uvm.uvm_disable_hmm": "Y"}, "595.71.05", True, {}
    ),
    secure_boot=SecureBoot(False, True, "none"),
    key_enrolled=False,
    next_boot=("root=UUID=1", "ro", *PLAN.kernel.arguments),
    refused=(),
    log=KernelLog((), (), from_boot=True),
    last_boot=LastBoot(True, "Journal stopped", (), ()),
    tree=tree(),
    aer=(AerCounter(SLOTS[0], "correctable", "TOTAL_ERR_COR", 0),),
    cards=tuple(gpu(n) for n in range(4)),
    binding=tuple(BoundCard(f"main.{n}", UUIDS[n], SLOTS[n]) for n in range(4)),
    packages=packages(),
    units={
        **{name: unit(name) for name in planned_units(PLAN)},
        "rigspec-glm.service": unit("rigspec-glm.service"),
        "rigspec-stt.service": unit("rigspec-stt.service", active_state="inactive"),
    },
    cdi=Cdi(tuple(f"nvidia.com/gpu={uuid}" for uuid in UUIDS), ("/var/run/cdi/nvidia.yaml",)),
    storage=STORAGE,
    models={model.name: True for model in PLAN.models},
    answers={"glm": GLM},
    listeners=(Listener("127.0.0.1", 5000),),
    upkeep=UPKEEP,
)


def glm(**changes: Any) -> dict[str, Any]:
    return {"answers": {"glm": replace(GLM, **changes)}}


def units(name: str, **changes: Any) -> dict[str, Any]:
    assert isinstance(GOOD.units, dict)
    return {"units": {**GOOD.units, name: unit(name, **changes)}}


def modules(**changes: Any) -> dict[str, Any]:
    assert isinstance(GOOD.modules, Modules)
    return {"modules": replace(GOOD.modules, **changes)}


def cards(**changes: Any) -> dict[str, Any]:
    return {"cards": (gpu(0, **changes), *(gpu(n) for n in range(1, 4)))}


def edited(path: str, **changes: Any) -> dict[str, Any]:
    return {"upkeep": replace(UPKEEP, files={**FILES, path: replace(FILES[path], **changes)})}


def secret(**changes: Any) -> dict[str, Any]:
    return {"upkeep": replace(UPKEEP, secrets=(replace(KEY_FILE, **changes),))}


POWER = "/usr/local/lib/rigspec/power"
LINE = ("ro", *PLAN.kernel.arguments)


def rows(seen: Observation, plan: Plan = PLAN) -> dict[str, Verdict]:
    """Every verdict by its id; no id is there twice."""
    found = verify_rig(plan, seen)
    assert len({v.id for v in found}) == len(found)
    return {verdict.id: verdict for verdict in found}
