"""Every check is seen passing, failing, and unable to tell; a rig in order has no other rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import Completion, HttpAnswer, ServedModel
from rigspec.observed.exposure import ContainerImage, Listener
from rigspec.observed.files import FileState
from rigspec.observed.kernel import (
    Host,
    Iommu,
    IommuGroup,
    Modules,
    OsRelease,
    RefusedOption,
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
from rigspec.plan.rig import PLAN_FILE, all_files, plan_rig, to_json
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file
from rigspec.verify.files import sha256
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.units import planned_units
from rigspec.verify.verdict import Outcome, Verdict, exit_code

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
    return replace(Packages(found, tuple(PLAN.driver.hold), ()), **changes)


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


def rows(seen: Observation, plan: Plan = PLAN) -> dict[str, Verdict]:
    found = verify_rig(plan, seen)
    assert len({v.id for v in found}) == len(found)
    return {verdict.id: verdict for verdict in found}


def test_a_rig_in_order_passes_or_says_why_a_row_does_not_apply() -> None:
    for verdict in rows(GOOD).values():
        assert verdict.outcome in {Outcome.PASS, Outcome.NOT_APPLICABLE}, verdict
        if verdict.outcome is Outcome.NOT_APPLICABLE:
            assert verdict.reason
    assert exit_code(rows(GOOD).values()) == 0


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
FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "another os": ("host.os", {"host": host(os=OsRelease("ubuntu", "24.04", "noble"))}),
    "another machine": ("host.arch", {"host": host(machine="aarch64")}),
    "another cpu": ("host.cpu", {"cpu_vendor": "GenuineIntel"}),
    "no root": ("host.root", {"host": host(uid=1000)}),
    "full disk": (
        "host.space",
        {"storage": replace(STORAGE, space=(Space("/dev/sda1", "/", GIB, GIB // 2),))},
    ),
    "secure boot": ("host.secure-boot", {"secure_boot": SecureBoot(True, True, "integrity")}),
    "card missing": (
        f"gpus.present.{PLAN.preflight.gpus[0].sku}",
        {"tree": tree(**{SLOTS[3]: None})},  # type: ignore[arg-type]
    ),
    "card silent": ("gpus.answers.main.3", {"cards": tuple(gpu(n) for n in range(3))}),
    "card moved": ("gpus.answers.main.0", cards(bus_id="0000:09:00.0")),
    "argument missing": ("kernel.arguments", {"host": host(cmdline=LINE[:-1])}),
    "next boot": ("kernel.next-boot", {"next_boot": ("ro", "quiet")}),
    "contradiction of the next boot": (
        "kernel.next-boot",
        {"next_boot": (*LINE, "iommu=off")},
    ),
    "contradiction": ("kernel.contradictions", {"host": host(cmdline=(*LINE, "iommu=off"))}),
    "unknown option": (
        "kernel.understood",
        {"refused": (RefusedOption(PLAN.kernel.arguments[0], "PCI: Unknown option", True),)},
    ),
    "iommu off in the bios": ("kernel.iommu", {"iommu": Iommu((), (), ())}),
    "translated domains": (
        "kernel.iommu",
        {"iommu": Iommu(("ivhd0",), ("IVRS",), tuple(replace(g, type="DMA-FQ") for g in GROUPS))},
    ),
    "nouveau": ("kernel.nouveau", modules(loaded=("nouveau",))),
    "module option": (
        "kernel.module.nvidia_uvm.uvm_disable_hmm",
        modules(parameters={"nvidia_uvm.uvm_disable_hmm": "N"}),
    ),
    "half upgraded driver": ("driver.version", modules(nvidia_version="595.84")),
    "another driver": (
        "driver.version",
        modules(nvidia_version="580.1")
        | {"cards": tuple(gpu(n, driver_version="580.1") for n in range(4))},
    ),
    "package gone": ("driver.packages", {"packages": packages(packages={})}),
    "dpkg interrupted": ("driver.packages", {"packages": packages(audit=("nvidia-open",))}),
    "proprietary module": ("driver.flavour", modules(nvidia_is_open=False)),
    "not held": ("driver.hold", {"packages": packages(held=())}),
    "persistence off": ("driver.persistence", cards(persistence=False)),
    "redirect on one bridge": (
        "pcie.acs",
        {"tree": tree(**{"0000:02:02.0": {"acs": Acs(REDIRECT, REDIRECT)}})},
    ),
    "aspm at one end": ("pcie.aspm", {"tree": tree(**{"0000:02:01.0": {"aspm_enabled": ("L1",)}})}),
    "link at x8": (
        "pcie.width.main.1",
        {
            "tree": tree(
                **{
                    SLOTS[1]: {"link_status": Link(1, 8)},
                    "0000:02:01.0": {"link_status": Link(1, 8)},
                }
            )
        },
    ),
    "slot is gen 3": (
        "pcie.generation.main.0",
        {"tree": tree(**{"0000:02:00.0": {"link_cap": Link(3, 16), "link_status": Link(1, 16)}})},
    ),
    "small bar": (
        "pcie.bar.main.2",
        {"tree": tree(**{SLOTS[2]: {"bars": (Bar(1, 1 << 32, GIB // 4, prefetchable=True),)}})},
    ),
    "cap lost": ("power.limit.main.0", cards(power_enforced_w=600.0, power_limit_w=600.0)),
    "hot card": ("gpus.temperature", cards(temperature_c=95)),
    "hand-made cdi file": (
        "containers.cdi-files",
        {"cdi": replace(GOOD.cdi, spec_files=("/etc/cdi/nvidia.yaml",))},
    ),
    "half an uplink": (
        "pcie.uplink.payne",
        {
            "tree": tree(
                **{
                    "0000:01:00.0": {"link_status": Link(4, 8)},
                    "0000:00:01.0": {"link_status": Link(4, 8)},
                }
            )
        },
    ),
    "another limiter": ("power.limit.main.0", cards(power_enforced_w=270.0)),
    "toolkit gone": ("containers.packages", {"packages": packages(packages={})}),
    "cdi misses a card": ("containers.cdi", {"cdi": Cdi(("nvidia.com/gpu=all",), ())}),
    "disk not mounted": (
        "storage.mount.weights",
        {"storage": replace(STORAGE, mounts=STORAGE.mounts[:1])},  # type: ignore[index]
    ),
    "weights damaged": ("model.weights.glm", {"models": {"glm": False, "transcribe": True}}),
    "unit failed": (
        "units.rigspec-power.service",
        units("rigspec-power.service", active_state="failed", result="exit-code"),
    ),
    "unit disabled": (
        "units.rigspec-glm.service",
        units("rigspec-glm.service", unit_file_state="disabled"),
    ),
    "unit missing": (
        "units.rigspec-acs.service",
        units("rigspec-acs.service", load_state="not-found"),
    ),
    "no listener": ("service.models.glm", glm(models=Unknown("connection refused"))),
    "another name": ("service.models.glm", glm(models=(ServedModel("other", 1),))),
    "frozen engine": ("service.completion.glm", glm(completion=Unknown("no answer in time"))),
    "empty answer": ("service.completion.glm", glm(completion=replace(STREAM, text=""))),
    "noise": ("service.completion.glm", glm(completion=replace(STREAM, text="!" * 40))),
    "cut stream": ("service.stream.glm", glm(stream=replace(STREAM, complete=False))),
    "container lost a card": ("service.cards.glm", glm(cards=UUIDS[:3])),
    "stop ignored": ("service.stop.glm", glm(stopped=replace(STREAM, text="I am"))),
    "token limit ignored": (
        "service.stop.glm",
        glm(stopped=replace(STREAM, text="I", completion_tokens=64)),
    ),
    "short context": ("service.context.glm", glm(models=(ServedModel("GLM-5.2", 32768),))),
    "on every interface": ("service.bind.glm", {"listeners": (Listener("::", 5000),)}),
    "on a second address": (
        "service.bind.glm",
        {"listeners": (Listener("127.0.0.1", 5000), Listener("192.0.2.7", 5000))},
    ),
    "port closed": ("service.bind.glm", {"listeners": (Listener("127.0.0.1", 22),)}),
    "another image": ("service.image.glm", glm(image=ContainerImage("b" * 64, "a" * 64))),
    "script edited": (f"files.managed.{POWER}", edited(POWER, sha256="0" * 64)),
    "script not executable": (f"files.managed.{POWER}", edited(POWER, mode=0o644)),
    "script of another owner": (f"files.managed.{POWER}", edited(POWER, owner="rig")),
    "script gone": (
        f"files.managed.{POWER}",
        {"upkeep": replace(UPKEEP, files={**FILES, POWER: FileState(POWER, exists=False)})},
    ),
    "older plan": ("files.plan", edited(PLAN_FILE, sha256="0" * 64)),
    "key readable": ("secrets.mode.glm.env", secret(mode="644")),
    "key in argv": ("secrets.leaked.glm.env", secret(places=("argv 812 vllm",))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_turns_its_own_row_red(fault: str) -> None:
    row, changes = FAULTS[fault]
    verdict = rows(replace(GOOD, **changes))[row]
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason
    assert verdict.next_action
    assert exit_code([verdict]) == 1


UNREAD: dict[str, tuple[str, dict[str, Any]]] = {
    "host": ("host.os", {"host": LOST}),
    "cpu": ("host.cpu", {"cpu_vendor": LOST}),
    "space": ("host.space", {"storage": replace(STORAGE, space=LOST)}),
    "secure boot": ("host.secure-boot", {"secure_boot": LOST}),
    "cmdline": ("kernel.arguments", {"host": host(cmdline=LOST)}),
    "no grub": ("kernel.next-boot", {"next_boot": LOST}),
    "log": ("kernel.understood", {"refused": LOST}),
    "iommu": ("kernel.iommu", {"iommu": LOST}),
    "modules": ("kernel.nouveau", {"modules": LOST}),
    "module option": (
        "kernel.module.nvidia_uvm.uvm_disable_hmm",
        modules(parameters={}),
    ),
    "tree": ("pcie.acs", {"tree": LOST}),
    "no gpu at all": ("pcie.acs", {"tree": PciTree(())}),
    "acs without root": ("pcie.acs", {"tree": tree(**{"0000:02:02.0": {"acs": LOST}})}),
    "aspm without root": ("pcie.aspm", {"tree": tree(**{SLOTS[0]: {"aspm_enabled": LOST}})}),
    "width": ("pcie.width.main.0", {"tree": tree(**{SLOTS[0]: {"link_status": LOST}})}),
    "bars": ("pcie.bar.main.0", {"tree": tree(**{SLOTS[0]: {"bars": LOST}})}),
    "nvidia-smi": ("driver.version", {"cards": LOST}),
    "limit": ("power.limit.main.0", cards(power_enforced_w=LOST)),
    "packages": ("driver.packages", {"packages": LOST}),
    "holds": ("driver.hold", {"packages": packages(held=LOST)}),
    "units": ("units.rigspec-acs.service", {"units": LOST}),
    "cdi": ("containers.cdi", {"cdi": Cdi(LOST, ())}),
    "mounts": ("storage.mount.weights", {"storage": replace(STORAGE, mounts=LOST)}),
    "models": ("model.weights.glm", {"models": LOST}),
    "container": ("service.cards.glm", glm(cards=LOST)),
    "not asked": ("service.answers.glm", {"answers": {}}),
    "temperature": ("gpus.temperature", cards(temperature_c=LOST)),
    "kernel log": ("gpus.xid", {"log": LOST}),
    "kernel log cut": ("gpus.xid", {"log": replace(log(), from_boot=False)}),
    "kernel log cut, flaps": ("pcie.flaps", {"log": replace(log(), from_boot=False)}),
    "last boot": ("host.last-boot", {"last_boot": LOST}),
    "journal": ("host.last-boot", {"last_boot": LastBoot(LOST, "", (), ())}),
    "aer": ("pcie.errors", {"aer": LOST}),
    "speed disable": ("pcie.frozen", {"tree": tree(**{SLOTS[0]: {"speed_disabled": LOST}})}),
    "groups": ("pcie.groups", {"iommu": LOST}),
    "uplink": ("pcie.uplink.payne", {"tree": tree(**{"0000:01:00.0": {"link_status": LOST}})}),
    "uplink of no card": ("pcie.uplink.payne", {"binding": ()}),
    "ecc": ("gpus.errors.main.0", cards(ecc_uncorrected=LOST)),
    "budget": ("power.supply.twin", cards(power_enforced_w=LOST)),
    "circuit": ("power.circuit", {"cards": LOST}),
    "order": ("boot.order.glm", {"units": LOST}),
    "order of a unit": ("boot.order.glm", units("rigspec-ready.service", active_enter_us=LOST)),
    "persistence": ("driver.persistence", cards(persistence=LOST)),
    "listeners": ("service.bind.glm", {"listeners": LOST}),
    "image": ("service.image.glm", glm(image=ContainerImage("a" * 64, LOST))),
    "context": ("service.context.glm", glm(models=(ServedModel("GLM-5.2", LOST),))),
    "files": ("files.plan", {"upkeep": replace(UPKEEP, files=LOST)}),
    "one file": (f"files.managed.{POWER}", edited(POWER, sha256=LOST)),
}


@pytest.mark.parametrize("what", UNREAD)
def test_what_could_not_be_read_is_unknown_and_never_green(what: str) -> None:
    row, changes = UNREAD[what]
    verdict = rows(replace(GOOD, **changes))[row]
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason
    assert exit_code([verdict]) == 3


WARNINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "guessable key": ("secrets.leaked.glm.env", secret(searched=False)),
    "restarted": ("units.rigspec-glm.service", units("rigspec-glm.service", n_restarts=3)),
    "power was lost": (
        "host.last-boot",
        {"last_boot": LastBoot(False, "serving tokens", (), ())},
    ),
    "acs cleared after groups were made": (
        "pcie.groups",
        {"iommu": Iommu(("ivhd0",), ("IVRS",), ALONE)},
    ),
    "a program's own fault": (
        "gpus.xid",
        {"log": log("NVRM: Xid (PCI:0000:03:00): 31, pid=1, MMU Fault")},
    ),
}


@pytest.mark.parametrize("what", WARNINGS)
def test_what_an_owner_should_know_is_a_warning_and_fails_nothing(what: str) -> None:
    row, changes = WARNINGS[what]
    verdict = rows(replace(GOOD, **changes))[row]
    assert verdict.outcome is Outcome.WARN
    assert exit_code([verdict]) == 0


def test_inside_a_guest_the_fabric_is_unknown() -> None:
    seen = rows(replace(GOOD, host=host(virtualization="kvm")))
    for row in ("pcie.acs", "pcie.aspm", "pcie.width.main.0", "pcie.bar.main.0"):
        assert seen[row].outcome is Outcome.UNKNOWN


def test_on_the_virtual_rig_rows_on_stand_ins_say_simulated() -> None:
    seen = rows(replace(GOOD, host=host(virtualization="qemu"), simulated=True))
    stand_ins = ("gpus", "driver", "power", "containers", "service", "pcie.width", "pcie.bar")
    for name, verdict in seen.items():
        if name.startswith(stand_ins):
            assert verdict.simulated, name
        elif name.startswith(("host", "kernel", "storage", "pcie.acs", "pcie.aspm")):
            assert not verdict.simulated, name  # a real kernel's own doing
    assert seen["pcie.acs"].outcome is Outcome.PASS
    assert not any(verdict.simulated for verdict in rows(GOOD).values())


def test_source_validation_alone_is_no_redirect() -> None:
    assert rows(GOOD)["pcie.acs"].outcome is Outcome.PASS
    assert CLEAR.src_valid


def test_a_slow_idle_link_is_not_judged() -> None:
    verdict = rows(GOOD)["pcie.generation.main.0"]
    assert verdict.outcome is Outcome.NOT_APPLICABLE
    assert "idle" in verdict.reason


def test_a_narrow_slot_and_a_lost_lane_have_different_causes() -> None:
    lost = replace(GOOD, **FAULTS["link at x8"][1])
    narrow = tree(**{"0000:02:01.0": {"link_cap": Link(4, 8), "link_status": Link(1, 8)}})
    assert "bad contact" in rows(lost)["pcie.width.main.1"].reason
    assert "narrower" in rows(replace(GOOD, tree=narrow))["pcie.width.main.1"].reason


def test_a_service_swapped_in_by_hand_takes_the_others_place() -> None:
    changed = units("rigspec-stt.service")["units"]
    changed["rigspec-glm.service"] = unit("rigspec-glm.service", active_state="inactive")
    seen = rows(replace(GOOD, units=changed, answers={}))
    assert seen["units.rigspec-glm.service"].outcome is Outcome.NOT_APPLICABLE
    assert seen["service.answers.glm"].outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("status", "outcome"), [(401, Outcome.PASS), (200, Outcome.FAIL)])
def test_a_service_with_a_key_refuses_whoever_has_none(status: int, outcome: Outcome) -> None:
    services = (replace(PLAN.services[0], secret_path="/etc/rigspec/secrets/glm.env"),)
    said = glm(without_key=HttpAnswer(status, 0.1, ()))
    seen = rows(replace(GOOD, **said), replace(PLAN, services=services))
    assert seen["service.key.glm"].outcome is outcome


@pytest.mark.parametrize("secrets", [LOST, ()], ids=["cut off", "not asked"])
def test_a_planned_key_that_was_not_looked_at_is_unknown(secrets: Any) -> None:
    services = (replace(PLAN.services[0], secret_path="/etc/rigspec/secrets/glm.env"),)
    seen = replace(GOOD, upkeep=replace(UPKEEP, secrets=secrets))
    found = rows(seen, replace(PLAN, services=services))
    for name in ("secrets.mode.glm.env", "secrets.leaked.glm.env"):
        assert found[name].outcome is Outcome.UNKNOWN


def test_a_model_that_does_not_chat_is_not_judged_by_chat() -> None:
    said = glm(completion=Unknown("The model does not support Chat Completions API"))
    assert rows(replace(GOOD, **said))["service.completion.glm"].outcome is Outcome.NOT_APPLICABLE


def test_every_row_names_the_line_of_the_spec_that_asked_for_it() -> None:
    named = {row: verdict.spec_field for row, verdict in rows(GOOD).items()}
    assert named["power.limit.main.2"] == "gpus.main.power_limit_w"
    assert named["kernel.module.nvidia_uvm.uvm_disable_hmm"] == (
        "kernel.module_options.nvidia_uvm.uvm_disable_hmm"
    )
    assert named["service.completion.glm"] == "services.glm"
    assert named["pcie.uplink.payne"] == "pcie.switches[0].upstream_width"
    assert named["power.supply.twin"] == "power.psus[0]"


def test_a_working_card_on_a_slow_link_fails_and_an_idle_one_is_not() -> None:
    busy = rows(replace(GOOD, **cards(utilization_percent=97, link_gen=1)))
    assert busy["pcie.generation.main.0"].outcome is Outcome.FAIL
    assert "under load" in busy["pcie.generation.main.0"].found
    fast = rows(replace(GOOD, **cards(utilization_percent=97, link_gen=4)))
    assert fast["pcie.generation.main.0"].outcome is Outcome.NOT_APPLICABLE


def test_cards_declared_behind_a_switch_that_sit_on_the_cpu_fail_its_uplink() -> None:
    direct = tree(**{"0000:01:00.0": {"kind": Kind.PCI_BRIDGE}})
    verdict = rows(replace(GOOD, tree=direct))["pcie.uplink.payne"]
    assert verdict.outcome is Outcome.FAIL
    assert "no switch" in verdict.found


def test_a_redirect_set_after_boot_disagrees_with_the_groups() -> None:
    ports = {f"0000:02:0{n}.0": {"acs": Acs(REDIRECT, REDIRECT)} for n in range(4)}
    root = {"0000:00:01.0": {"acs": Acs(REDIRECT, REDIRECT)}}
    verdict = rows(replace(GOOD, tree=tree(**ports, **root)))["pcie.groups"]
    assert verdict.outcome is Outcome.FAIL
    isolated = replace(GOOD, tree=tree(**ports, **root), iommu=Iommu(("i",), ("IVRS",), ALONE))
    assert rows(isolated)["pcie.groups"].outcome is Outcome.PASS


def test_ports_that_cannot_isolate_leave_the_groups_unjudged() -> None:
    bare = tree(**{f"0000:02:0{n}.0": {"acs": None} for n in range(4)})
    assert rows(replace(GOOD, tree=bare))["pcie.groups"].outcome is Outcome.NOT_APPLICABLE


def test_zero_errors_prove_nothing_where_the_firmware_keeps_aer() -> None:
    kept = log("acpi PNP0A08:00: _OSC: platform does not support [SHPCHotplug AER LTR]")
    verdict = rows(replace(GOOD, log=kept))["pcie.errors"]
    assert verdict.outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("count", "outcome"), [(3, Outcome.PASS), (60, Outcome.PASS), (61, Outcome.FAIL)]
)
def test_a_few_corrected_errors_are_no_storm(count: int, outcome: Outcome) -> None:
    aer = (AerCounter(SLOTS[1], "correctable", "BadTLP", count),)
    verdict = rows(replace(GOOD, aer=aer, host=host(uptime_s=3600.0)))["pcie.errors"]
    assert verdict.outcome is outcome


def test_errors_of_devices_on_no_gpu_path_are_not_ours() -> None:
    aer = (*GOOD.aer, AerCounter("0000:c1:00.0", "fatal", "DLP", 9))  # type: ignore[misc]
    assert rows(replace(GOOD, aer=aer))["pcie.errors"].outcome is Outcome.PASS


def test_a_card_without_error_counters_is_not_judged_by_them() -> None:
    none = Unknown("n/a", "[N/A]")
    old = Unknown('Field "gpu_recovery_action" is not a valid field to query.')
    absent = dict.fromkeys(("ecc_uncorrected", "remap_pending", "remap_failed"), none)
    geforce = cards(**absent, recovery_action=old)
    assert rows(replace(GOOD, **geforce))["gpus.errors.main.0"].outcome is Outcome.NOT_APPLICABLE


def test_a_server_that_does_not_run_has_no_order() -> None:
    seen = rows(replace(GOOD, **units("rigspec-glm.service", active_state="inactive")))
    assert seen["boot.order.glm"].outcome is Outcome.NOT_APPLICABLE


def test_a_first_boot_has_none_before_it() -> None:
    seen = rows(replace(GOOD, last_boot=LastBoot(None, "", (), ())))
    assert seen["host.last-boot"].outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("named", [{"uuid": "GPU-other"}, {"slot": "0000:99:00.0"}])
def test_a_binding_to_another_card_than_the_spec_names_fails(named: dict[str, str]) -> None:
    first, *rest = PLAN.preflight.gpus
    members = (replace(first, **named), *rest)  # type: ignore[arg-type]
    plan = replace(PLAN, preflight=replace(PLAN.preflight, gpus=members))
    verdict = rows(GOOD, plan)["gpus.answers.main.0"]
    assert verdict.outcome is Outcome.FAIL
    assert "the spec names" in verdict.reason
