"""Every check is seen passing, failing, and unable to tell; a rig in order has no other rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from home_faults import FAULTS
from home_in_order import (
    ALONE,
    GOOD,
    LOST,
    PLAN,
    POWER,
    SLOTS,
    STORAGE,
    UPKEEP,
    cards,
    edited,
    glm,
    host,
    log,
    modules,
    packages,
    rows,
    secret,
    tree,
    units,
)

from rigspec.observed.containers import Cdi
from rigspec.observed.endpoint import ServedModel
from rigspec.observed.exposure import ContainerImage
from rigspec.observed.kernel import Iommu
from rigspec.observed.last_boot import LastBoot
from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown, known
from rigspec.observed.topology import TopologyMatrix, TopologyRow
from rigspec.verify.verdict import Outcome, exit_code


def test_a_rig_in_order_passes_or_says_why_a_row_does_not_apply() -> None:
    for verdict in rows(GOOD).values():
        assert verdict.outcome in {Outcome.PASS, Outcome.NOT_APPLICABLE}, verdict
        if verdict.outcome is Outcome.NOT_APPLICABLE:
            assert verdict.reason
    assert exit_code(rows(GOOD).values()) == 0


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
    "holds of the toolkit": ("containers.hold", {"packages": packages(held=LOST)}),
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


NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


@pytest.mark.parametrize(
    ("line", "module", "why"),
    [
        (NO_DRIVER, None, "no NVIDIA module of kernel 6.12 is loaded"),
        (NO_DRIVER, "595.71.05", "the module is there, but reaches no card"),
        (MISMATCH, "595.71.05", "only half of it was upgraded"),
    ],
)
def test_a_driver_that_does_not_answer_is_the_fault_and_what_rests_on_it_unknown(
    line: str, module: str | None, why: str
) -> None:
    changes = {"cards": Unknown(line, line)} | modules(nvidia_version=module)
    seen = rows(replace(GOOD, **changes))
    assert seen["driver.version"].outcome is Outcome.FAIL
    assert seen["driver.version"].reason.startswith(why)
    assert seen["power.limit.main.0"].outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("what", WARNINGS)
def test_what_an_owner_should_know_is_a_warning_and_fails_nothing(what: str) -> None:
    row, changes = WARNINGS[what]
    verdict = rows(replace(GOOD, **changes))[row]
    assert verdict.outcome is Outcome.WARN
    assert exit_code([verdict]) == 0


BRIDGED = replace(
    PLAN,
    preflight=replace(
        PLAN.preflight,
        gpus=tuple(
            replace(gpu, nvlink_peer=f"main.{at ^ 1}") for at, gpu in enumerate(PLAN.preflight.gpus)
        ),
    ),
)


def joined(*words: str) -> TopologyMatrix:
    """What the driver says of the way from GPU0 to GPU1, and from GPU2 to GPU3."""
    gpus = tuple(f"GPU{n}" for n in range(4))
    first, second = words
    row = {"GPU0": ("X", first, "PHB", "PHB"), "GPU2": ("PHB", "PHB", "X", second)}
    lost = Unknown("not asked for")
    return TopologyMatrix(gpus, tuple(TopologyRow(n, w, lost, lost) for n, w in row.items()))


@pytest.mark.parametrize(
    ("topology", "index", "outcomes"),
    [
        (joined("NV4", "NV4"), 0, ("pass", "pass")),
        (joined("NV4", "PHB"), 0, ("pass", "fail")),
        (joined("PHB", "NV2"), 0, ("fail", "pass")),
        (LOST, 0, ("unknown", "unknown")),
        (joined("NV4", "NV4"), LOST, ("unknown", "unknown")),
    ],
)
def test_a_bridge_is_what_the_driver_sees_between_the_two_cards(
    topology: Any, index: Any, outcomes: tuple[str, str]
) -> None:
    numbered = tuple(
        replace(card, index=n if index == 0 else index)
        for n, card in enumerate(known(GOOD.cards) or ())
    )
    seen = rows(replace(GOOD, cards=numbered, topology=topology), BRIDGED)
    found = {name: v.outcome.value for name, v in seen.items() if name.startswith("gpus.nvlink")}
    assert found == dict(zip(("gpus.nvlink.main.0", "gpus.nvlink.main.2"), outcomes, strict=True))


def test_the_virtual_rig_has_no_bridge_to_judge() -> None:
    row = rows(replace(GOOD, simulated=True), BRIDGED)["gpus.nvlink.main.0"]
    assert row.outcome is Outcome.NOT_APPLICABLE


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


def test_every_row_names_the_line_of_the_spec_that_asked_for_it() -> None:
    named = {row: verdict.spec_field for row, verdict in rows(GOOD).items()}
    assert named["power.limit.main.2"] == "gpus.main.power_limit_w"
    assert named["kernel.module.nvidia_uvm.uvm_disable_hmm"] == (
        "kernel.module_options.nvidia_uvm.uvm_disable_hmm"
    )
    assert named["service.completion.glm"] == "services.glm"
    assert named["pcie.uplink.payne"] == "pcie.switches[0].upstream_width"
    assert named["power.supply.twin"] == "power.psus[0]"


def test_a_card_without_error_counters_is_not_judged_by_them() -> None:
    none = Unknown("n/a", "[N/A]")
    old = Unknown('Field "gpu_recovery_action" is not a valid field to query.')
    absent = dict.fromkeys(("ecc_uncorrected", "remap_pending", "remap_failed"), none)
    geforce = cards(**absent, recovery_action=old)
    assert rows(replace(GOOD, **geforce))["gpus.errors.main.0"].outcome is Outcome.NOT_APPLICABLE


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


def test_a_toolkit_that_is_not_to_be_held_has_no_row_to_fail() -> None:
    free = replace(PLAN, containers=replace(PLAN.containers, hold=()))
    row = rows(replace(GOOD, packages=LOST), free)["containers.hold"]
    assert row.outcome is Outcome.NOT_APPLICABLE
