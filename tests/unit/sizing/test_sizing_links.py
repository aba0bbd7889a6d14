"""Paths between GPUs, held against rigs whose owners published topology and measured rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import CONFIGS

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.all_reduce import HOST_PCIE, PEER_PCIE
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import card_of
from rigspec.sizing.fabric import pattern_gb_s
from rigspec.sizing.links import (
    Hop,
    Label,
    LinkPath,
    Place,
    all_reduce_link,
    paths,
    shared_uplinks,
)
from rigspec.sizing.service import sized, usual_slot
from rigspec.sizing.settings import EngineSettings


def direct(gpu: str, generation: int = 4, width: int = 16, numa: int = 0) -> Place:
    return Place(gpu, Hop(gpu, generation, width), numa_node=numa)


def below(gpu: str, *switches: tuple[str, int, int], generation: int = 5, width: int = 16) -> Place:
    hops = tuple(Hop(f"uplink of {name}", gen, lanes) for name, gen, lanes in switches)
    return Place(gpu, Hop(gpu, generation, width), tuple(s[0] for s in switches), hops)


def only(*places: Place, peer: bool = True, redirect: bool = False) -> LinkPath:
    (path,) = paths(places, peer=peer, redirect=redirect)
    return path


def holds(amount: Amount, measured: float) -> bool:
    return amount.low <= measured <= amount.high


LEAF, TOP = ("leaf", 5, 16), ("top", 5, 16)


@pytest.mark.parametrize(
    ("one", "other", "label"),
    [
        (below("a", LEAF), below("b", LEAF), Label.PIX),
        (below("a", LEAF, TOP), below("b", ("other", 5, 16), TOP), Label.PXB),
        (below("a", LEAF, TOP), below("b", TOP), Label.PXB),
        (below("a", LEAF), below("b", ("other", 5, 16)), Label.PHB),
        (direct("a"), direct("b"), Label.PHB),
        (direct("a"), direct("b", numa=1), Label.SYS),
    ],
    ids=["one switch", "cascade", "switch and its parent", "two switches", "slots", "two sockets"],
)
def test_label_names_what_lies_between(one: Place, other: Place, label: Label) -> None:
    assert only(one, other).label is label


@pytest.mark.parametrize(
    ("path", "one_way", "two_way"),
    [
        (only(below("a", ("s", 4, 16), generation=4), below("b", ("s", 4, 16), generation=4)),
         27.5, 50.4),
        (only(below("a", LEAF), below("b", LEAF)), 54.0, 103.0),
        (only(direct("a", 5), direct("b", 5)), 55.5, 111.2),
        (only(direct("a"), direct("b")), 26.3, 52.1),
        (only(direct("a", 5, numa=0), direct("b", 5, numa=1)), 39.0, 64.0),
        (only(direct("a", 5), direct("b", 5), peer=False), 43.9, 57.0),
        (only(direct("a"), direct("b"), peer=False), 22.2, 31.5),
    ],
    ids=["Gen4 switch", "Broadcom Gen5", "Turin Gen5", "Ada Gen4", "Genoa cross-socket",
         "Gen5 without peers", "Gen4 without peers"],
)  # fmt: skip
def test_rates_hold_what_owners_measured(path: LinkPath, one_way: float, two_way: float) -> None:
    assert holds(path.one_way_gb_s, one_way)
    assert holds(path.two_way_gb_s, two_way)


def test_narrow_slot_is_the_bottleneck() -> None:
    path = only(direct("a", 4, 8), direct("b"))
    assert path.bottleneck == Hop("a", 4, 8)
    assert path.narrow
    assert path.bottleneck.one_way_gb_s == pytest.approx(15.75, abs=0.01)


def test_slow_uplink_between_two_switches_is_the_bottleneck() -> None:
    path = only(below("a", ("left", 3, 16)), below("b", ("right", 5, 16)))
    assert [hop.name for hop in path.hops] == ["a", "uplink of left", "uplink of right", "b"]
    assert path.bottleneck.name == "uplink of left"
    assert path.narrow


def test_uplink_of_a_shared_switch_is_not_on_the_path() -> None:
    path = only(below("a", ("s", 2, 16)), below("b", ("s", 2, 16)))
    assert [hop.name for hop in path.hops] == ["a", "b"]
    assert not path.narrow


def test_path_at_card_speed_is_narrow_only_beside_what_the_card_can() -> None:
    gen5_card = [Place(g, Hop(g, 4, 16), best_gb_s=63.0) for g in "ab"]
    gen4_card = [Place(g, Hop(g, 4, 16), best_gb_s=31.5) for g in "ab"]
    assert only(*gen5_card).narrow
    assert not only(*gen4_card).narrow


def test_others_below_a_crossed_uplink_share_it() -> None:
    left, right = ("left", 4, 16), ("right", 4, 16)
    tree = [below("a", left), below("b", left), below("c", right), below("d", right), direct("e")]
    found = {(p.first, p.second): p for p in paths(tree, peer=True)}
    assert found["a", "c"].shared_with == ("b", "d")
    assert found["a", "b"].shared_with == ()
    assert found["a", "e"].shared_with == ("b",)
    assert [(u.hop.name, u.gpus) for u in shared_uplinks(tree)] == [
        ("uplink of left", ("a", "b")),
        ("uplink of right", ("c", "d")),
    ]
    assert shared_uplinks(tree)[0].each_gb_s == pytest.approx(31.5 / 2, abs=0.01)


def test_redirected_switch_may_give_half_both_ways() -> None:
    path = only(below("a", LEAF), below("b", LEAF), redirect=True)
    assert holds(path.two_way_gb_s, 50.0)  # ASUS box with ACS on
    assert not holds(only(below("a", LEAF), below("b", LEAF)).two_way_gb_s, 50.0)


def test_redirected_traffic_is_no_faster_than_the_uplink_it_climbs() -> None:
    narrow = ("leaf", 4, 8)  # 15.75 GB/s up to the CPU, the cards below it at Gen4 x16
    ends = (below("a", narrow, generation=4), below("b", narrow, generation=4))
    path, direct_in_switch = only(*ends, redirect=True), only(*ends)
    assert path.one_way_gb_s.low == pytest.approx(0.83 * 15.75, abs=0.05)
    assert path.two_way_gb_s.low == pytest.approx(0.79 * 15.75, abs=0.05)
    assert path.one_way_gb_s.high == direct_in_switch.one_way_gb_s.high  # it may not redirect
    assert direct_in_switch.one_way_gb_s.low > 26
    top = only(below("a", LEAF, ("top", 3, 8)), below("b", LEAF, ("top", 3, 8)), redirect=True)
    assert top.one_way_gb_s.low < 7  # the uplinks above the switch count, too


def test_without_peers_a_pair_below_one_switch_climbs_its_uplink() -> None:
    narrow = ("s", 4, 4)  # 7.9 GB/s, the cards below it at Gen4 x16
    path = only(below("a", narrow, generation=4), below("b", narrow, generation=4), peer=False)
    assert path.label is Label.PIX
    assert [h.name for h in path.hops] == ["a", "uplink of s", "uplink of s", "b"]
    assert path.narrow
    assert path.bottleneck.name == "uplink of s"
    in_slots = only(direct("a", 4, 4), direct("b", 4, 4), peer=False)
    assert path.one_way_gb_s.value == in_slots.one_way_gb_s.value == pytest.approx(5.6, abs=0.1)
    assert path.two_way_gb_s.value == path.one_way_gb_s.value  # what both share, not twice
    assert path.two_way_gb_s.high < in_slots.two_way_gb_s.high


def test_without_peers_uplinks_above_the_common_switch_count_too() -> None:
    old = ("top", 3, 4)
    path = only(below("a", LEAF, old), below("b", ("other", 5, 16), old), peer=False)
    assert path.label is Label.PXB
    assert path.bottleneck.name == "uplink of top"
    tree = [below("a", LEAF, TOP), below("b", LEAF, TOP), below("c", TOP)]
    between = {(p.first, p.second): p for p in paths(tree, peer=False)}
    assert between["a", "b"].shared_with == ("c",)


def reduced_gb_s(*places: Place) -> float:
    link = all_reduce_link(paths(places, peer=False))
    return link.bandwidth_gb_s / link.crowd(len(places))


def test_without_peers_all_reduces_share_an_uplink_among_the_cards_below_it() -> None:
    narrow = ("s", 3, 16)
    slots = [direct(name, 3, 16) for name in "abcd"]
    two, four = ([below(name, narrow, generation=3) for name in names] for names in ("ab", "abcd"))
    assert reduced_gb_s(*slots[:2]) == HOST_PCIE.bandwidth_gb_s
    assert reduced_gb_s(*two) == pytest.approx(15.76 / 2 / 2, abs=0.01)
    assert reduced_gb_s(*four) == pytest.approx(15.76 / 2 / 4, abs=0.01)
    # the memory's crowd and the uplink's are one crowd: the larger counts
    assert reduced_gb_s(*two, *slots[2:]) == pytest.approx(15.76 / 2 / 2, abs=0.01)
    assert reduced_gb_s(*two[:1], *slots[1:]) == reduced_gb_s(*slots)


@given(width=st.sampled_from([1, 4, 8, 16]), cards=st.integers(2, 6))
def test_without_peers_no_pair_beats_an_uplink_and_none_is_faster_than_in_slots(
    width: int, cards: int
) -> None:
    names = "abcdef"[:cards]
    under = [below(name, ("s", 4, width), generation=4) for name in names]
    slots = [direct(name, 4, 16) for name in names]
    for path, free in zip(paths(under, peer=False), paths(slots, peer=False), strict=True):
        for got, most in ((path.one_way_gb_s, free.one_way_gb_s),
                          (path.two_way_gb_s, free.two_way_gb_s)):  # fmt: skip
            assert got.low <= got.value <= got.high <= width * 1.969
            assert got.low <= most.low
            assert got.value <= most.value
            assert got.high <= most.high
    assert reduced_gb_s(*under) <= reduced_gb_s(*slots)


def test_copies_at_once_without_peers_share_the_uplink_of_their_switch() -> None:
    tree = [below(name, ("s", 4, 4), generation=4) for name in "ab"]
    places = {place.gpu: place for place in tree}
    rates = []
    for peer in (True, False):
        ways = {frozenset((p.first, p.second)): p for p in paths(tree, peer=peer)}
        rates.append(pattern_gb_s((("a", "b"), ("b", "a")), places, ways))
    assert rates == [pytest.approx(63.0, abs=0.1), pytest.approx(0.71 * 7.9, abs=0.1)]


@given(
    gpu=st.sampled_from([(3, 16), (4, 8), (4, 16), (5, 16)]),
    up=st.lists(st.sampled_from([(3, 4), (3, 16), (4, 8), (4, 16), (5, 16)]), min_size=1,
                max_size=3),
)  # fmt: skip
def test_a_redirect_never_adds_and_never_beats_an_uplink(
    gpu: tuple[int, int], up: list[tuple[int, int]]
) -> None:
    switches = [(str(i), *link) for i, link in enumerate(up)]
    ends = [below(name, *switches, generation=gpu[0], width=gpu[1]) for name in "ab"]
    plain, path = only(*ends), only(*ends, redirect=True)
    slowest = min(hop.one_way_gb_s for hop in (ends[0].link, *ends[0].uplinks))
    assert path.one_way_gb_s.low <= min(plain.one_way_gb_s.low, slowest)
    assert path.two_way_gb_s.low <= min(plain.two_way_gb_s.low, slowest)
    assert path.one_way_gb_s.low <= path.one_way_gb_s.value


@pytest.mark.parametrize(
    ("sku", "form"),
    [("t4", "Gen3 x16"), ("rtx-a6000", "Gen4 x16"), ("l4", "Gen4 x16"),
     ("rtx-pro-6000-workstation", "Gen4 x16")],
)  # fmt: skip
def test_no_wider_slot_is_assumed_than_the_card_fills(sku: str, form: str) -> None:
    gpu = find_gpu(sku)
    assert gpu is not None
    assert usual_slot((card_of(gpu),) * 2).form == form


def test_latency_without_peers_is_that_of_host_memory() -> None:
    assert holds(only(direct("a"), direct("b"), peer=False).latency_us, 14.0)
    assert only(direct("a"), direct("b")).latency_us.high < 2


def test_group_of_peers_takes_the_fitted_link_at_gen4_x16_and_twice_at_gen5() -> None:
    gen4 = all_reduce_link(paths([direct("a"), direct("b")], peer=True))
    gen5 = all_reduce_link(paths([direct("a", 5), direct("b", 5)], peer=True))
    assert gen4.bandwidth_gb_s == pytest.approx(PEER_PCIE.bandwidth_gb_s)
    assert gen5.bandwidth_gb_s == pytest.approx(PEER_PCIE.at_gen5().bandwidth_gb_s)


def test_one_narrow_card_slows_the_whole_group() -> None:
    tree = [direct("a"), direct("b"), direct("c", 4, 4)]
    assert all_reduce_link(paths(tree, peer=False)).bandwidth_gb_s < HOST_PCIE.bandwidth_gb_s
    assert all_reduce_link(paths(tree[:2], peer=False)) == HOST_PCIE


@pytest.mark.parametrize(("sku", "peer", "stalls"), [
    ("rtx-pro-6000-ws", False, True), ("rtx-pro-6000-ws", True, False), ("rtx-3090", False, False),
])  # fmt: skip
def test_cards_that_are_refused_peer_access_may_stall(sku: str, peer: bool, stalls: bool) -> None:
    gpu = find_gpu(sku)
    facts = load_model_facts("Qwen/Qwen3-32B", [CONFIGS])
    assert gpu is not None
    assert facts is not None
    cards = (card_of(gpu), card_of(gpu))
    between = paths([direct("a"), direct("b")], peer=peer)
    asked = EngineSettings(tensor_parallel=2)
    found = sized("chat", facts, cards, asked, paths=between)
    assert bool(found.link.stall_us) is stalls
