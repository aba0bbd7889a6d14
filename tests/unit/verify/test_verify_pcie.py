"""Rows about links, ACS and AER: what is not judged, and which cause is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from home_faults import FAULTS
from home_in_order import (
    ALONE,
    CLEAR,
    GOOD,
    REDIRECT,
    SLOTS,
    cards,
    host,
    log,
    rows,
    tree,
)

from rigspec.observed.kernel import Iommu
from rigspec.observed.pci import Acs, Kind, Link
from rigspec.observed.pci_probe import AerCounter
from rigspec.verify.verdict import Outcome


def test_inside_a_guest_the_fabric_is_unknown() -> None:
    seen = rows(replace(GOOD, host=host(virtualization="kvm")))
    for row in ("pcie.acs", "pcie.aspm", "pcie.width.main.0", "pcie.bar.main.0"):
        assert seen[row].outcome is Outcome.UNKNOWN


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
