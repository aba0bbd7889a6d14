"""Drift is explained by its cause: each change of a host gives its own word, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from home_in_order import (
    CLEAR,
    FILES,
    GIB,
    GOOD,
    PLAN,
    POWER,
    REDIRECT,
    SLOTS,
    UPKEEP,
    UUIDS,
    cards,
    gpu,
    host,
    modules,
    packages,
    tree,
    units,
)

from rigspec.observed.kernel import Iommu, SecureBoot
from rigspec.observed.pairs import FabricCard, FabricReading, PairReading
from rigspec.observed.pci import Acs, Bar, Link
from rigspec.observed.record import Unknown
from rigspec.observed.upkeep import Firmware, InstalledKernel
from rigspec.plan.power import POWER_TABLE
from rigspec.plan.rig import PLAN_FILE, all_files
from rigspec.verify.drift import Drift, find_drift
from rigspec.verify.drift_host import POWER_UNIT
from rigspec.verify.files import sha256
from rigspec.verify.observation import Observation
from rigspec.verify.proof import NotAccepted, Proof, fabric_of, prove
from rigspec.verify.rig import verify_rig

BIOS = Firmware("AMI", "P3.80", "05/23/2024", "ASRockRack ROMED8-2T", "0xa0011d5")
KEPT = replace(
    UPKEEP, firmware=BIOS, kernels=(InstalledKernel("6.12", has_initrd=True),), cap_writers=()
)
ACCEPTED = replace(GOOD, upkeep=KEPT)


def the_proof(seen: Observation = ACCEPTED) -> Proof:
    rows = verify_rig(PLAN, seen)
    return prove(PLAN, seen, rows, observed_at="2026-11-24T21:00:00+00:00", version="0.1.0")


PROOF = the_proof()


def drift(proof: Proof | None = PROOF, **changes: Any) -> Drift:
    return find_drift(PLAN, replace(ACCEPTED, **changes), proof)


def kept(**changes: Any) -> dict[str, Any]:
    return {"upkeep": replace(KEPT, **changes)}


def edit(path: str, text: str | None = None, **changes: Any) -> dict[str, Any]:
    files = {**FILES, path: replace(FILES[path], **changes)}
    return kept(files=files, edited={} if text is None else {path: text})


SMALL_BAR = {"bars": (Bar(1, 1 << 32, GIB // 4, prefetchable=True),)}
RESET = tree(
    **{slot: {**SMALL_BAR, "aspm_enabled": ("L1",)} for slot in SLOTS},
)
ONE_SLOW = tree(
    **{
        "0000:02:00.0": {"link_cap": Link(3, 16)},
        SLOTS[0]: {"link_cap": Link(3, 16)},
    }
)
DROP_IN = {"DropInPaths": "/etc/systemd/system/rigspec-power.service.d/override.conf"}
WATTS = cards(power_enforced_w=600.0, power_limit_w=600.0)
CAUSES: dict[str, tuple[str, dict[str, Any], str]] = {
    "bios reset": ("firmware-reset", {"tree": RESET}, "Clear CMOS"),
    "bios reset by update": (
        "firmware-reset",
        {"tree": RESET, **kept(firmware=replace(BIOS, version="P3.90"))},
        "an update",
    ),
    "iommu off and secure boot on": (
        "firmware-reset",
        {"iommu": Iommu((), (), ()), "secure_boot": SecureBoot(True, True, "integrity")},
        "IOMMU, Secure Boot",
    ),
    "one setting": ("firmware-setting", {"tree": ONE_SLOW}, "link speed"),
    "bios update": ("firmware-update", kept(firmware=replace(BIOS, version="P3.90")), "updated"),
    "microcode": ("microcode", kept(firmware=replace(BIOS, microcode="0xa0011d7")), "microcode"),
    "another kernel": (
        "kernel-update",
        {
            "host": host(release="6.13"),
            **kept(kernels=(InstalledKernel("6.13", has_initrd=True),)),
        },
        "another kernel runs",
    ),
    "kernel waits": (
        "kernel-pending",
        kept(kernels=(*KEPT.kernels, InstalledKernel("6.13", True))),  # type: ignore[misc]
        "next boot",
    ),
    "no initramfs": (
        "initramfs",
        kept(kernels=(InstalledKernel("6.12", has_initrd=False),)),
        "no initramfs",
    ),
    "reboot waits": ("reboot-pending", {"host": host(reboot_required=True)}, "next boot"),
    "stale boot entry": ("kernel-arguments", {"host": host(cmdline=("ro",))}, "boot entry"),
    "half an upgrade": (
        "driver-half",
        {"cards": tuple(gpu(n, driver_version="595.84") for n in range(4))},
        "module",
    ),
    "moved card": ("moved-card", cards(bus_id="0000:09:00.0"), "another slot"),
    "swapped card": ("swapped-card", cards(uuid="GPU-new"), "another card"),
    "missing card": ("missing-card", {"cards": tuple(gpu(n) for n in range(3))}, "not answer"),
    "new card": (
        "new-card",
        {"cards": (*(gpu(n) for n in range(4)), gpu(0, uuid="GPU-9", bus_id="0000:0a:00.0"))},
        "does not know",
    ),
    "other lanes": (
        "link-width",
        {"tree": tree(**{SLOTS[1]: {"link_status": Link(1, 8)}})},
        "lanes",
    ),
    "edited file": (
        "edited-file",
        edit(POWER, text="#!/bin/sh\necho no caps\n", sha256=sha256("#!/bin/sh\necho no caps\n")),
        "edited by hand",
    ),
    "file gone": ("edited-file", edit(POWER, exists=False, sha256=None), "was removed"),
    "file mode": ("edited-file", edit(POWER, mode=0o644), "another mode"),
    "second writer": (
        "power-writer",
        {**WATTS, **kept(cap_writers=("/etc/cron.d/gpu-caps",))},
        "likely /etc/cron.d/gpu-caps",
    ),
    "power unit stopped": (
        "power-unit",
        {**WATTS, **units("rigspec-power.service", active_state="failed")},
        "not active",
    ),
    "unit disabled": (
        "unit",
        units("rigspec-glm.service", unit_file_state="disabled"),
        "was disabled",
    ),
    "drop-in": ("unit-drop-in", units("rigspec-power.service", properties=DROP_IN), "drop-in"),
    "hold lost": ("hold", {"packages": packages(held=())}, "not held"),
    "acs bits": (
        "acs",
        {"tree": tree(**{"0000:02:02.0": {"acs": Acs(REDIRECT, REDIRECT)}})},
        "redirects peer traffic",
    ),
    "older plan": ("not-deployed", edit(PLAN_FILE, sha256="0" * 64), "not as it is planned now"),
}


def test_a_rig_as_accepted_has_no_drift() -> None:
    assert drift() == Drift((), ())
    assert drift().exit_code == 0
    assert CLEAR != REDIRECT


@pytest.mark.parametrize("cause", CAUSES)
def test_each_change_is_explained_by_its_own_cause(cause: str) -> None:
    kind, changes, words = CAUSES[cause]
    found = drift(**changes)
    assert found.exit_code == 1
    mine = [change for change in found.changes if change.kind == kind]
    assert len(mine) == 1, found.changes
    assert words in mine[0].what
    assert mine[0].evidence
    assert mine[0].next_action
    # a failed power unit is also a unit that does not run
    others = {change.kind for change in found.changes} - {kind}
    assert others <= ({"unit"} if cause == "power unit stopped" else set())


def fabric(gb_s: float) -> FabricReading:
    cards = tuple(FabricCard(uuid, f"main.{n}") for n, uuid in enumerate(UUIDS))
    pairs = (PairReading(UUIDS[0], UUIDS[1], one_way_gb_s=gb_s),)
    return FabricReading("2026-11-24T21:00:00+00:00", "cuda", cards, pairs)


@pytest.mark.parametrize(("now", "kinds"), [(26.0, []), (13.0, ["fabric-speed"])])
def test_a_link_that_lost_its_speed_is_told_from_noise(now: float, kinds: list[str]) -> None:
    was = replace(PROOF, fabric={"main.0 to main.1": 27.5})
    found = drift(was, fabric=fabric(now))
    assert [change.kind for change in found.changes] == kinds
    assert fabric_of(replace(ACCEPTED, fabric=fabric(now))) == {"main.0 to main.1": now}


def test_without_a_load_run_the_fabrics_speed_is_not_judged() -> None:
    was = replace(PROOF, fabric={"main.0 to main.1": 27.5})
    assert drift(was).changes == ()
    assert PROOF.fabric == {}


def test_an_edit_is_shown_by_its_lines() -> None:
    planned = next(f for f in PLAN.power.files if f.dest == POWER).content
    text = planned.replace("patience_s=${RIGSPEC_WAIT_S:-120}", "patience_s=1")
    (change,) = drift(**edit(POWER, text=text, sha256=sha256(text))).changes
    assert change.evidence == ("-patience_s=${RIGSPEC_WAIT_S:-120}", "+patience_s=1")


def test_a_changed_spec_is_no_edit() -> None:
    # the host still has what was accepted; only the plan moved on
    was = replace(PROOF, files={**PROOF.files, POWER: "1" * 64})
    found = drift(was, **edit(POWER, sha256="1" * 64))
    assert [change.kind for change in found.changes] == ["not-deployed"]


def test_without_a_proof_an_older_plan_explains_other_files() -> None:
    gone = replace(FILES[POWER], exists=False, sha256=None)
    older = replace(FILES[PLAN_FILE], sha256="0" * 64)
    found = drift(None, **kept(files={**FILES, POWER: gone, PLAN_FILE: older}))
    assert [change.kind for change in found.changes] == ["not-deployed"]
    assert found.changes[0].evidence == (POWER,)


def test_a_driver_upgraded_as_a_whole_is_not_half_an_upgrade() -> None:
    new = {**modules(nvidia_version="595.84")}
    new |= {"cards": tuple(gpu(n, driver_version="595.84") for n in range(4))}
    assert [change.kind for change in drift(**new).changes] == ["driver-upgrade"]


def test_a_mismatch_that_silences_nvidia_smi_is_half_an_upgrade_too() -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch"
    found = drift(cards=Unknown("nvidia-smi ended with status 18", said))
    assert [change.kind for change in found.changes] == ["driver-half"]
    assert said in found.changes[0].evidence


def test_without_a_proof_what_the_plan_knows_is_still_compared() -> None:
    assert drift(None).exit_code == 3
    assert "rigspec accept" in drift(None).unmeasured[0]
    assert drift(None, **edit(POWER, exists=False, sha256=None)).exit_code == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"cards": Unknown("cut")},
        {"tree": Unknown("cut")},
        {"units": Unknown("cut")},
        kept(files=Unknown("cut")),
        edit(POWER, sha256=Unknown("Permission denied")),
    ],
    ids=["cards", "tree", "units", "files", "one file"],
)
def test_what_could_not_be_read_is_never_no_drift(changes: dict[str, Any]) -> None:
    found = drift(**changes)
    assert (found.changes, found.exit_code) == ((), 3)
    assert found.unmeasured


def test_a_guest_has_no_firmware_to_judge() -> None:
    found = drift(host=host(virtualization="kvm"), tree=RESET)
    assert "firmware-reset" not in {change.kind for change in found.changes}


def test_red_and_unknown_runs_are_not_accepted() -> None:
    for changes, code in (({"cards": WATTS["cards"]}, 1), ({"tree": Unknown("cut")}, 3)):
        with pytest.raises(NotAccepted) as refused:
            the_proof(replace(ACCEPTED, **changes))
        assert refused.value.exit_code == code
        assert "power.limit.main.0" in refused.value.message or code == 3


def test_the_proof_names_cards_by_uuid_and_slot() -> None:
    assert [(c.uuid, c.slot) for c in PROOF.cards.values()] == list(zip(UUIDS, SLOTS, strict=True))
    first = PROOF.cards["main.0"]
    assert (first.link_generation, first.link_width, first.aspm, first.iommu) == (
        4,
        16,
        "",
        "identity",
    )
    assert PROOF.firmware["version"] == "P3.80"
    assert len(PROOF.acs) == 4 or PROOF.acs


def test_a_cap_that_nobody_is_known_to_set_is_set_back_before_a_writer_is_looked_for() -> None:
    (change,) = drift(**WATTS).changes
    assert (change.kind, "by hand" in change.what) == ("power-writer", True)
    back, _, search = change.next_action.partition("; if it comes back, ")
    assert back == "systemctl reload rigspec-power"
    assert "grep" in search
    assert "ExecReload=" in next(
        file.content for file in all_files(PLAN) if file.dest.endswith(POWER_UNIT)
    )
    (change,) = drift(**WATTS, **kept(cap_writers=("/etc/cron.d/caps",))).changes
    assert change.next_action.startswith("switch the other one off")


def test_a_cap_that_the_hosts_own_table_asks_for_has_no_second_writer() -> None:
    planned = next(file for file in all_files(PLAN) if file.dest == POWER_TABLE)
    table = planned.content.replace("\t350\t", "\t600\t")
    waits = edit(POWER_TABLE, text=table, sha256=sha256(table))
    assert "power-writer" not in {change.kind for change in drift(**WATTS, **waits).changes}
    other = edit(POWER_TABLE, text=planned.content + "# by hand\n", sha256=sha256("x"))
    assert "power-writer" in {change.kind for change in drift(**WATTS, **other).changes}
