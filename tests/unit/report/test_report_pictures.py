"""Pictures of the page: the PCIe tree, the heat maps, the sums of watts."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from page_bench import (
    deep,
    fabric,
    home_estimates,
    judged,
    one_card,
    sample,
    two_sockets,
    uuid,
)
from verdicts_bench import SLOTS, the_look, the_plan, the_tree

from rigspec.observed.pairs import HANG, HOST
from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown
from rigspec.report.bars import power_stacks
from rigspec.report.fabric_tree import Box, BoxKind, Named, fabric_tree
from rigspec.report.fabric_view import HOW, fabric_view
from rigspec.report.pair_matrix import Cell, heat_maps
from rigspec.report.pcie_picture import pictures
from rigspec.verify.verdict import Outcome, Verdict

NAMED = {slot: Named(f"main.{n}", 16) for n, slot in enumerate(SLOTS)}
SVG = "{http://www.w3.org/2000/svg}"


def boxes(tree: PciTree, named: dict[str, Named] | None = None) -> tuple[Box, ...]:
    found = fabric_tree(tree, NAMED if named is None else named)
    assert not isinstance(found, Unknown)
    return found


def drawn(text: str) -> ET.Element:
    """As a browser reads it: inline SVG has its namespace without saying so."""
    return ET.fromstring(text.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))  # noqa: S314


def test_both_ends_of_a_link_are_one_wire() -> None:
    (cpu,) = boxes(the_tree())
    (switch,) = cpu.below
    assert (switch.kind, switch.detail, switch.wire and switch.wire.text) == (
        BoxKind.SWITCH, "0000:01:00.0", "x16 Gen4",
    )  # fmt: skip
    assert [card.name for card in switch.below] == ["main.0", "main.1", "main.2", "main.3"]
    narrow = switch.below[2].wire
    assert narrow is not None
    assert (narrow.narrow, narrow.lanes, narrow.port) == (True, 8, "0000:02:02.0")
    assert narrow.text == "x8 of x16 Gen1, NARROW, can Gen4"


def test_fewer_lanes_than_the_card_can_are_right_where_the_plan_says_so() -> None:
    named = {SLOTS[2]: Named("main.2", 8)}
    (cpu,) = boxes(the_tree(), named)
    wire = cpu.below[0].below[2].wire
    assert wire is not None
    assert (wire.narrow, wire.label) == (False, "x8 Gen1")


def test_a_card_of_no_plan_says_so() -> None:
    (cpu,) = boxes(the_tree(), {})
    assert cpu.below[0].below[0].name == "GPU not of the plan"


def test_each_socket_is_a_box() -> None:
    found = boxes(two_sockets(), {})
    assert [(cpu.detail, cpu.leaves) for cpu in found] == [("NUMA node 0", 8), ("NUMA node 1", 8)]
    third = found[1].below[0].wire
    assert third is not None
    assert third.text == "x8 of x16 Gen4, NARROW"


def test_a_card_at_the_cpu_and_a_chain_of_switches() -> None:
    (single,) = boxes(one_card(), {})
    assert (single.depth, single.leaves) == (2, 1)
    (cpu,) = boxes(deep(), {})
    assert (cpu.depth, cpu.leaves) == (5, 3)
    assert pictures((cpu,))[0] == ""  # too deep for side by side
    assert pictures((single,))[0] != ""


def test_a_tree_without_gpus_is_not_drawn() -> None:
    assert isinstance(fabric_tree(PciTree(()), {}), Unknown)
    assert fabric_tree(Unknown("no lspci"), {}) == Unknown("no lspci")


def test_pictures_are_xml_and_say_everything_in_words() -> None:
    for text in pictures(boxes(the_tree())):
        root = drawn(text)
        assert "4 GPUs" in (root.findtext(f"{SVG}title") or "")
        assert "main.2 0000:05:00.0: x8 of x16 Gen1, NARROW, can Gen4" in (
            root.findtext(f"{SVG}desc") or ""
        )
        kinds = [path.get("class") for path in root.iter(f"{SVG}path")]
        assert kinds.count("narrow lanes8") == 1
        assert kinds.count("link lanes16") == 4
        assert sum("▲" in "".join(label.itertext()) for label in root.iter(f"{SVG}text")) == 1


def test_a_mark_is_a_word_in_the_box() -> None:
    named = NAMED | {SLOTS[0]: Named("main.0", 16, "FAIL")}
    for text in pictures(boxes(the_tree(), named)):
        assert "FAIL" in "".join(drawn(text).itertext())


@pytest.mark.parametrize("tree", [the_tree(), two_sockets(), one_card()])
def test_boxes_do_not_overlap_and_stay_inside(tree: PciTree) -> None:
    wide, compact = pictures(boxes(tree, {}))
    for text in (wide, compact):
        root = drawn(text)
        width, height = (float(root.get(name, "0")) for name in ("width", "height"))
        rects = [
            tuple(float(r.get(n, "0")) for n in ("x", "y", "width", "height"))
            for r in root.iter(f"{SVG}rect")
        ]
        for n, (x, y, w, h) in enumerate(rects):
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height
            for x2, y2, w2, h2 in rects[n + 1 :]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def cells(name: str = "faulty") -> dict[tuple[str, str], Cell]:
    one_way = fabric_view(sample(name)).maps[0]
    return {
        (row, column): cell
        for row, line in zip(one_way.names, one_way.rows, strict=True)
        for column, cell in zip(one_way.names, line, strict=True)
    }


@pytest.mark.parametrize(
    ("pair", "word"),
    [
        (("main.0", "main.2"), "WRONG DATA"),
        (("main.2", "main.0"), "MOVES NOTHING"),
        (("main.1", "main.2"), "HANG"),
        (("main.2", "main.1"), "ERROR"),
        (("main.0", "main.1"), "VIA HOST"),
        (("main.1", "main.3"), "unknown"),
        (("main.0", "main.3"), "not run"),
        (("main.3", "main.1"), ""),
    ],
)
def test_what_ails_a_pair_stands_in_its_cell(pair: tuple[str, str], word: str) -> None:
    assert cells()[pair].word == word
    # a copy that did not arrive has no speed to be proud of
    assert (cells()[pair].shade > 0) == (word in {"", "VIA HOST"})


def test_a_pair_whose_row_fails_is_slow_or_takes_the_wrong_way() -> None:
    reading = fabric(3, lambda a, b: 12.0 if {a, b} == {0, 1} else 27.0)
    pairs = tuple(replace(p, path=HOST) if p.source == uuid(2) else p for p in reading.pairs)
    rows = tuple(
        Verdict(f"fabric.pair.{ends}", ends, Outcome.FAIL)
        for ends in ("main.0-main.1", "main.1-main.2")
    )
    seen = the_look(fabric=replace(reading, pairs=pairs))
    run = replace(judged(the_plan(), seen, home_estimates()), verdicts=rows)
    one_way, two_way, *_ = fabric_view(run).maps
    words = [[cell.word for cell in row] for row in one_way.rows]
    assert words == [["", "SLOW", ""], ["SLOW", "", "SLOW"], ["via host", "VIA HOST", ""]]
    assert "SLOW" not in {cell.word for row in two_way.rows for cell in row}


def test_the_good_direction_of_a_bad_pair_is_not_called_slow() -> None:
    reading = fabric(2, lambda a, b: 27.0)
    pairs = (replace(reading.pairs[0], ended=HANG), reading.pairs[1])
    (one_way, *_) = heat_maps(
        replace(reading, pairs=pairs),
        ["main.0", "main.1"],
        frozenset({frozenset({"main.0", "main.1"})}),
    )
    assert [cell.word for row in one_way.rows for cell in row] == ["", "HANG", "", ""]


def test_shades_grow_with_the_number_and_the_legend_names_them() -> None:
    (one_way, *_) = heat_maps(fabric(3, lambda a, b: 10.0 * (a + b)), ["main.0"], frozenset())
    shade = {cell.number: cell.shade for row in one_way.rows for cell in row if cell.number}
    assert shade == {"10.0": 2, "20.0": 4, "30.0": 5}
    assert one_way.scale[0] == (1, "0.0–6.0")
    assert one_way.scale[-1] == (5, "24.0–30.0")
    assert one_way.names == ("main.0", "main.1", "main.2")


def test_without_a_measurement_the_page_says_how_to_get_one() -> None:
    run = sample("deep")
    assert fabric_view(run).note == HOW
    lost = replace(run, seen=replace(run.seen, fabric=Unknown("the file is cut off")))
    assert fabric_view(lost).note.startswith("the file is cut off")
    empty = replace(run.seen, fabric=fabric(0, lambda a, b: 1.0))
    assert "No pair was measured" in fabric_view(replace(run, seen=empty)).note


def test_watts_add_up_to_what_check_says() -> None:
    twin, circuit = power_stacks(judged(the_plan(), the_look(), home_estimates()))
    # 4 × 350 W + 280 W; spikes 1.2 × 1400 + 280; two supplies of 1700 W
    assert (twin.total_w, twin.spikes_w, twin.limit_w, twin.over_w) == (1680, 1960, 3400, 0)
    # 120 V × 20 A × 0.8; 1680 W / 0.92
    assert circuit.limit_w == 1920
    assert circuit.total_w == pytest.approx(1826.09, abs=0.01)
    assert [part.name for part in twin.parts][-1] == "host"


def test_a_lost_cap_is_counted_as_it_is_and_a_lost_card_as_planned() -> None:
    twin, circuit = power_stacks(sample("faulty"))
    assert [part.watts for part in twin.parts] == [350, 600, 350, 350, 280]
    assert [part.planned for part in twin.parts] == [False, False, False, True, False]
    assert circuit.over_w == pytest.approx(1930 / 0.92 - 1920)
    assert circuit.limit_percent < 100


def test_without_known_watts_there_is_no_sum() -> None:
    assert power_stacks(sample("single")) == ()
