"""Binding, caps and ACS drift: what differs is set again, what is as planned is left alone."""

from __future__ import annotations

from dataclasses import replace

from fakehost import FakeHost, run
from test_operations_kernel import TREE

from rigspec.facts.gpus import GpuStage, GpuState
from rigspec.facts.managed import FileState, UnitState
from rigspec.facts.stage import Stage, StageState
from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown
from rigspec.operations.files import digest
from rigspec.operations.pcie import acs_unit, redirecting
from rigspec.operations.power import binding_files, bound_and_capped, seen_cards
from rigspec.plan.binding import BoundCard, gpus_table
from rigspec.plan.sections import GpuMember, PciePlan, PowerPlan, RenderedFile

TABLE = RenderedFile("/etc/rigspec/power.tsv", "main.0\t350\t-\n", "gpus")
PLAN = PowerPlan((("main.0", 350), ("main.1", 350)), (), (TABLE,), ("rigspec-power.service",))
MEMBERS = tuple(
    GpuMember(
        f"main.{i}", "x", "RTX X", ("2bb1",), 1, 5, 16, None, None, 350, 600, None, None, None
    )
    for i in range(2)
)
CARDS = tuple(
    GpuReading(
        uuid=f"GPU-{i}",
        bus_id=f"0000:0{i + 3}:00.0",
        pci_device_id=0x2BB110DE,
        power_enforced_w=350.0,
        power_default_w=600.0,
        persistence=True,
    )
    for i in range(2)
)
BOUND = tuple(BoundCard(f"main.{i}", f"GPU-{i}", f"0000:0{i + 3}:00.0") for i in range(2))
UP = UnitState("loaded", "active", "exited", "enabled", False, "success", since=1000)


def state(
    cards: tuple[GpuReading, ...] | Unknown = CARDS, *, bound: bool = True, table: bool = True
) -> GpuState:
    files = (*binding_files("home", BOUND), TABLE) if bound else ()
    kept = [f for f in files if table or f is not TABLE]
    return GpuState(
        cards=cards,
        tree=PciTree(()),
        binding=gpus_table("home", BOUND) if bound else "",
        files={f.dest: FileState("644", "root:root", 900, digest(f.content)) for f in kept},
        units={"rigspec-power.service": UP} if bound else {},
    )


def commands(seen: GpuState | None) -> list[str]:
    host = FakeHost({GpuStage: seen})
    return run(bound_and_capped, host, rig="home", members=MEMBERS, plan=PLAN)


def test_a_converged_host_needs_nothing() -> None:
    assert commands(state()) == []


def test_device_and_vendor_in_one_word_are_taken_apart() -> None:
    assert [card.device_id for card in seen_cards(CARDS)] == ["2bb1", "2bb1"]


def test_the_first_apply_binds_in_bus_order_and_starts_the_unit() -> None:
    files, *units = commands(state(bound=False))
    assert "main.0\tGPU-0\t0000:03:00.0" in files
    assert "RIGSPEC_GPU_MAIN_1=GPU-1" in files
    assert [u.splitlines()[0] for u in units] == [
        "set -- rigspec-power.service",
        "set -- start rigspec-power.service",
    ]


def test_a_changed_cap_reloads_only_the_power_unit() -> None:
    files, unit = commands(state(table=False))
    assert TABLE.dest in files
    assert "gpus.tsv" not in files
    assert unit.splitlines()[0] == "set -- reload rigspec-power.service"


def test_a_second_writer_is_overruled() -> None:
    high = (CARDS[0], replace(CARDS[1], power_enforced_w=600.0))
    (unit,) = commands(state(high))
    assert unit.splitlines()[0] == "set -- reload rigspec-power.service"


def test_lost_persistence_mode_is_set_again() -> None:
    lost = (replace(CARDS[0], persistence=False), CARDS[1])
    assert len(commands(state(lost))) == 1


def test_a_card_that_is_gone_stops_the_run() -> None:
    (refusal,) = commands(state(CARDS[:1]))
    assert refusal.startswith("REFUSED: main.1: its card GPU-1")
    assert "does not answer any more" in refusal


def test_a_driver_that_does_not_answer_stops_the_run_with_its_words() -> None:
    silent = Unknown("nvidia-smi has failed", "Driver/library version mismatch")
    (refusal,) = commands(state(silent))
    assert "Driver/library version mismatch" in refusal
    assert "dmesg" in refusal


SCRIPT = RenderedFile("/usr/local/lib/rigspec/acs", "#!/bin/sh\n", "pcie.acs", "755")
ACS = PciePlan(True, False, True, (SCRIPT,), ("rigspec-acs.service",))


def stage(tree: PciTree) -> StageState:
    files = {SCRIPT.dest: FileState("755", "root:root", 900, digest(SCRIPT.content))}
    nothing = {"packages": {}, "broken": False, "fingerprints": {}, "lists_stale": ()}
    from rigspec.facts.managed import AptState

    return StageState(files, AptState(**nothing), {"rigspec-acs.service": UP}, {}, tree)


def test_redirecting_bridges_between_gpus_are_found() -> None:
    assert redirecting(TREE) == ("0000:02:00.0", "0000:02:01.0")


def test_bits_set_after_boot_are_cleared_by_the_unit() -> None:
    (unit,) = run(acs_unit, FakeHost({Stage: stage(TREE)}), plan=ACS)
    assert unit.splitlines()[0] == "set -- reload rigspec-acs.service"


def test_clear_bits_and_a_running_unit_need_nothing() -> None:
    clear = PciTree(tuple(replace(f, acs=None) for f in TREE.functions))
    assert run(acs_unit, FakeHost({Stage: stage(clear)}), plan=ACS) == []
