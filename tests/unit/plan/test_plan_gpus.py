from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.errors import RigspecError
from rigspec.plan.binding import (
    Binding,
    BoundCard,
    SeenCard,
    bind_gpus,
    gpus_environment,
    gpus_table,
    parse_gpus_table,
)
from rigspec.plan.gpus import plan_gpus
from rigspec.plan.sections import GpuMember
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]
RTX_3090 = "2204"  # PCI id tables of NVIDIA's open kernel modules


def uuid(n: int) -> str:
    return f"GPU-{n:08d}-0000-4000-8000-{n:012d}"


def seen(n: int, slot: str, device_id: str = RTX_3090) -> SeenCard:
    return SeenCard(uuid(n), slot, device_id)


def pairs(binding: Binding) -> dict[str, str]:
    assert binding.problems == ()
    return {card.member: card.uuid for card in binding.cards}


def test_members_carry_what_spec_and_catalog_say(make_rig: MakeRig) -> None:
    first, second = plan_gpus(make_rig(gpus={"main": {"power_limit_w": "290"}}))
    assert (first.member, second.member) == ("main.0", "main.1")
    assert first.product_name == "NVIDIA GeForce RTX 3090"
    assert RTX_3090 in first.pci_ids
    assert (first.power_limit_w, first.power_default_w) == (290, 350)


def test_link_is_narrowed_by_slot_and_by_card_never_widened(make_rig: MakeRig) -> None:
    direct = [{"gpus": ["main.0"], "width": "8"}, {"gpus": ["main.1"], "generation": "3"}]
    first, second = plan_gpus(make_rig(pcie={"generation": "5", "direct": direct}))
    # RTX 3090 is a Gen4 x16 card
    assert (first.link_generation, first.link_width) == (4, 8)
    assert (second.link_generation, second.link_width) == (3, 16)


def test_port_of_the_switch_counts_and_its_uplink_does_not(make_rig: MakeRig) -> None:
    switch = {"name": "s", "generation": "3", "upstream_width": "4", "downstream_width": "8"}
    rig = make_rig(pcie={"direct": [], "switches": [{**switch, "gpus": ["main"]}]})
    assert {(m.link_generation, m.link_width) for m in plan_gpus(rig)} == {(3, 8)}


def test_cascaded_switch_hangs_on_the_socket_of_the_topmost(make_rig: MakeRig) -> None:
    below = {"name": "below", "generation": "4", "gpus": ["main.1"]}
    top = {"name": "top", "generation": "4", "gpus": ["main.0"], "numa_node": "1"}
    rig = make_rig(pcie={"direct": [], "switches": [{**top, "switches": [below]}]})
    assert [m.numa_node for m in plan_gpus(rig)] == [1, 1]


def test_card_outside_the_declared_tree_has_no_numa_node(make_rig: MakeRig) -> None:
    assert plan_gpus(make_rig(pcie={"direct": []}))[0].numa_node is None


def test_bar_is_expected_only_with_resizable_bar(make_rig: MakeRig) -> None:
    card = {"main": {"sku": "rtx-pro-6000-blackwell-workstation-edition"}}
    # a power of two that covers 96 GB, as every capture of this card shows
    assert plan_gpus(make_rig(gpus=card))[0].bar1_mib == 131072
    assert plan_gpus(make_rig(gpus=card, pcie={"resizable_bar": "false"}))[0].bar1_mib is None


def test_unknown_card_is_an_error_with_a_hint(make_rig: MakeRig) -> None:
    with pytest.raises(RigspecError, match="does not know the card `rtx-9999`"):
        plan_gpus(make_rig(gpus={"main": {"sku": "rtx-9999"}}))


@pytest.fixture
def members(make_rig: MakeRig) -> tuple[GpuMember, ...]:
    return plan_gpus(make_rig())


def test_first_binding_goes_by_pci_address(members: tuple[GpuMember, ...]) -> None:
    found = bind_gpus(members, [seen(1, "0000:81:00.0"), seen(2, "0000:01:00.0")])
    assert pairs(found) == {"main.0": uuid(2), "main.1": uuid(1)}


def test_uuids_of_the_spec_win_over_addresses_and_memory(members: tuple[GpuMember, ...]) -> None:
    wanted = [replace(members[0], uuid=uuid(1)), members[1]]
    cards = [seen(1, "0000:81:00.0"), seen(2, "0000:01:00.0")]
    remembered = [BoundCard("main.0", uuid(2), "0000:01:00.0")]
    assert pairs(bind_gpus(wanted, cards, remembered)) == {"main.0": uuid(1), "main.1": uuid(2)}


def test_slots_tell_two_groups_of_one_card_apart(make_rig: MakeRig) -> None:
    groups = {
        "main": {"count": "1", "slots": ["81:00.0"]},
        "spare": {"sku": "rtx-3090", "count": "1", "slots": ["01:00.0"]},
    }
    found = bind_gpus(
        plan_gpus(make_rig(gpus=groups)), [seen(1, "0000:01:00.0"), seen(2, "0000:81:00.0")]
    )
    assert pairs(found) == {"main.0": uuid(2), "spare.0": uuid(1)}


def test_remembered_cards_keep_their_names_when_a_group_grows(
    members: tuple[GpuMember, ...],
) -> None:
    remembered = [BoundCard("main.0", uuid(7), "0000:81:00.0")]
    cards = [seen(3, "0000:01:00.0"), seen(7, "0000:81:00.0")]
    assert pairs(bind_gpus(members, cards, remembered)) == {"main.0": uuid(7), "main.1": uuid(3)}


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([seen(1, "0000:01:00.0")], "does not answer any more"),
        ([seen(1, "0000:01:00.0"), seen(9, "0000:02:00.0")], "does not answer any more"),
        ([seen(1, "0000:01:00.0"), seen(2, "0000:03:00.0")], "moved from slot 0000:02:00.0"),
    ],
    ids=["gone", "replaced", "moved"],
)
def test_a_remembered_card_that_changed_stops_with_what_to_do(
    members: tuple[GpuMember, ...], cards: list[SeenCard], said: str
) -> None:
    remembered = [
        BoundCard("main.0", uuid(1), "0000:01:00.0"),
        BoundCard("main.1", uuid(2), "0000:02:00.0"),
    ]
    found = bind_gpus(members, cards, remembered)
    assert found.cards == ()
    assert "main.1" in found.problems[0]
    assert said in found.problems[0]
    assert "remove /etc/rigspec/gpus.tsv" in found.problems[0]


def test_three_cards_where_four_are_declared_is_a_problem_per_missing_card(
    make_rig: MakeRig,
) -> None:
    four = plan_gpus(make_rig(gpus={"main": {"count": "4"}}))
    found = bind_gpus(four, [seen(n, f"0000:0{n}:00.0") for n in (1, 2, 3)])
    assert found.cards == ()
    assert len(found.problems) == 1
    assert "main.3" in found.problems[0]


def test_a_card_too_many_of_the_kind_is_a_problem(members: tuple[GpuMember, ...]) -> None:
    cards = [seen(n, f"0000:0{n}:00.0") for n in (1, 2, 3)]
    found = bind_gpus(members, cards)
    assert "one card more than declared" in found.problems[0]
    assert uuid(3) in found.problems[0]


def test_a_card_of_another_kind_is_left_alone(members: tuple[GpuMember, ...]) -> None:
    display = seen(5, "0000:00:02.0", device_id="1cb6")
    cards = [display, seen(1, "0000:01:00.0"), seen(2, "0000:02:00.0")]
    assert pairs(bind_gpus(members, cards)) == {"main.0": uuid(1), "main.1": uuid(2)}


def test_a_named_card_of_another_kind_is_a_problem(members: tuple[GpuMember, ...]) -> None:
    wanted = [replace(members[0], uuid=uuid(5)), members[1]]
    found = bind_gpus(wanted, [seen(5, "0000:01:00.0", "2684"), seen(1, "0000:02:00.0")])
    assert "10de:2684" in found.problems[0]


CARDS = (BoundCard("main.0", uuid(1), "0000:01:00.0"), BoundCard("a-b.10", uuid(2), "0000:02:00.0"))


def test_table_is_read_back_as_it_was_written() -> None:
    assert parse_gpus_table(gpus_table("bench", CARDS)) == CARDS


def test_environment_is_what_a_shell_reads(tmp_path: Path) -> None:
    file = tmp_path / "gpus.env"
    file.write_text(gpus_environment("bench", CARDS))
    done = subprocess.run(
        ["sh", "-uc", f". {file}; echo $RIGSPEC_GPU_MAIN_0 $RIGSPEC_GPU_A_B_10"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [uuid(1), uuid(2)]
    assert re.match(r"# Written by rigspec for the rig bench", file.read_text())
