"""What can be wrong with the rig in order: the row it turns red, the reading that shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from home_in_order import (
    FILES,
    GIB,
    GOOD,
    GROUPS,
    LINE,
    PLAN,
    POWER,
    REDIRECT,
    SLOTS,
    STORAGE,
    STREAM,
    UPKEEP,
    UUIDS,
    cards,
    edited,
    glm,
    gpu,
    host,
    modules,
    packages,
    secret,
    tree,
    units,
)

from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import ServedModel
from rigspec.observed.exposure import ContainerImage, Listener
from rigspec.observed.files import FileState
from rigspec.observed.kernel import (
    Iommu,
    OsRelease,
    RefusedOption,
    SecureBoot,
)
from rigspec.observed.pci import Acs, Bar, Link
from rigspec.observed.record import Unknown
from rigspec.observed.storage import Space
from rigspec.plan.rig import PLAN_FILE

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
    "toolkit not held": ("containers.hold", {"packages": packages(held=PLAN.driver.hold)}),
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
