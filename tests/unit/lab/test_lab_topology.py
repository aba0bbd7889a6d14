from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from rigspec.lab.qemu_args import config_edits, qemu_device_args
from rigspec.lab.topology import (
    Link,
    MachineTree,
    Port,
    Socket,
    Switch,
    fit_bars,
    with_other_card,
    with_trained_link,
    without_acs,
    without_gpu,
)


def devices(tree: MachineTree) -> list[dict[str, str]]:
    """The -device options as mappings, driver under `driver`."""
    args = qemu_device_args(tree)
    found = []
    for word, value in pairwise(args):
        if word == "-device":
            driver, *settings = value.split(",")
            pairs = dict(setting.partition("=")[::2] for setting in settings)
            found.append({"driver": driver, **pairs})
    return found


def parents(tree: MachineTree, ident: str) -> list[str]:
    """Ids from a device up to its root bus."""
    bus = {device["id"]: device["bus"] for device in devices(tree) if "id" in device}
    chain = [ident]
    while chain[-1] in bus:
        chain.append(bus[chain[-1]])
    return chain


def test_each_card_of_a_switch_has_its_own_downstream_port(switch4: MachineTree) -> None:
    chains = [parents(switch4, f"gpu{slot}") for slot in range(4)]
    assert len({chain[1] for chain in chains}) == 4
    assert len({chain[2] for chain in chains}) == 1
    assert all(chain[-1] == "pcie.0" for chain in chains)


def test_the_iommu_comes_before_what_it_covers(switch4: MachineTree) -> None:
    drivers = [device["driver"] for device in devices(switch4)]
    assert drivers[0] == "intel-iommu"
    assert "intel-iommu" not in str(qemu_device_args(replace(switch4, iommu="none")))


def test_ids_chassis_and_places_are_unique_in_a_full_machine(two_sockets: MachineTree) -> None:
    found = devices(two_sockets)
    ids = [device["id"] for device in found if "id" in device]
    chassis = [device["chassis"] for device in found if "chassis" in device]
    assert len(set(ids)) == len(ids)
    assert len(set(chassis)) == len(chassis)


def test_each_socket_has_its_root_bus_and_node(two_sockets: MachineTree) -> None:
    buses = [device for device in devices(two_sockets) if device["driver"] == "pxb-pcie"]
    assert [bus["numa_node"] for bus in buses] == ["0", "1"]
    assert parents(two_sockets, "gpu3")[-2:] == ["pxb1", "pcie.0"]
    assert "node,nodeid=1,cpus=1,memdev=node1" in qemu_device_args(two_sockets)


def test_a_nested_switch_hangs_below_a_downstream_port(two_sockets: MachineTree) -> None:
    chain = parents(two_sockets, "gpu2")
    kinds = [ident.rstrip("0123456789") for ident in chain[:-2]]
    assert kinds == ["gpu", "dn", "up", "dn", "up", "rp"]


def test_a_bar_is_rounded_up_to_a_power_of_two(switch4: MachineTree) -> None:
    odd = replace(switch4.gpus[0], bar1_mib=49140)
    tree = MachineTree((Socket((Port(odd),)),))
    assert any("size=65536M" in word for word in qemu_device_args(tree))


def test_bars_are_halved_until_they_fit_together(switch4: MachineTree) -> None:
    assert {card.bar1_mib for card in fit_bars(switch4).gpus} == {32768}
    large = tuple(Port(replace(card, bar1_mib=131072)) for card in switch4.gpus)
    small = Port(replace(switch4.gpus[0], slot=9, bar1_mib=256))
    fitted = fit_bars(MachineTree((Socket((Port(Switch(large)), small)),)))
    assert [card.bar1_mib for card in fitted.gpus] == [32768] * 4 + [256]


def test_more_than_sixteen_cards_are_refused(switch4: MachineTree) -> None:
    cards = tuple(Port(replace(switch4.gpus[0], slot=slot)) for slot in range(17))
    with pytest.raises(ValueError, match="17 GPUs, at most 16"):
        qemu_device_args(MachineTree((Socket((Port(Switch(cards)),)),)))


def test_two_cards_in_one_slot_are_refused(switch4: MachineTree) -> None:
    port = Port(switch4.gpus[0])
    with pytest.raises(ValueError, match="two GPUs in one slot"):
        qemu_device_args(MachineTree((Socket((port, port)),)))


def test_more_ports_than_a_root_bus_has_slots_are_refused(switch4: MachineTree) -> None:
    ports = tuple(Port(replace(switch4.gpus[0], slot=slot)) for slot in range(16))
    with pytest.raises(ValueError, match="16 root ports"):
        qemu_device_args(MachineTree((Socket(ports),)))


def test_a_link_trains_to_what_both_ends_can(two_sockets: MachineTree) -> None:
    edits = {edit.ident: edit for edit in config_edits(two_sockets)}
    assert edits["gpu3"].trained == Link(3, 8)
    assert edits["gpu3"].capable == Link(4, 16)


def test_a_lowered_link_shows_at_both_ends(switch4: MachineTree) -> None:
    tree = with_trained_link(switch4, 2, Link(3, 8))
    edits = {edit.ident: edit for edit in config_edits(tree)}
    port = parents(tree, "gpu2")[1]
    assert edits["gpu2"].trained == edits[port].trained == Link(3, 8)
    assert edits["gpu1"].trained == Link(4, 16)


def test_a_missing_card_leaves_its_port(switch4: MachineTree) -> None:
    tree = without_gpu(switch4, 1)
    assert [card.slot for card in tree.gpus] == [0, 2, 3]
    assert len(devices(tree)) == len(devices(switch4)) - 1
    assert tree.faults == ("slot 1: no card",)


def test_a_port_without_acs_is_only_the_one_above_the_card(switch4: MachineTree) -> None:
    edits = config_edits(without_acs(switch4, 3))
    lacking = [edit.ident for edit in edits if edit.acs is False]
    assert lacking == [parents(switch4, "gpu3")[1]]


def test_an_exchanged_card_has_another_uuid_in_the_same_slot(switch4: MachineTree) -> None:
    before, after = switch4.gpus[0], with_other_card(switch4, 0, 7).gpus[0]
    assert before.slot == after.slot
    assert before.uuid != after.uuid
    assert after.uuid == "GPU-5eed0000-0000-4000-8000-000700000000"


def test_a_fault_in_a_slot_that_does_not_exist_is_refused(switch4: MachineTree) -> None:
    with pytest.raises(ValueError, match="no GPU in slot 9"):
        without_gpu(switch4, 9)


def test_firmware_aspm_reaches_every_device(switch4: MachineTree) -> None:
    assert {edit.firmware_aspm for edit in config_edits(switch4)} == {0}
    with_l1 = config_edits(replace(switch4, firmware_aspm="l1"))
    assert {edit.firmware_aspm for edit in with_l1} == {2}
