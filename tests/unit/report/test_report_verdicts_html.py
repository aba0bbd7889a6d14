"""The page: whole in one file, readable without colour, nothing of a host runs in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from typing_extensions import override
from verdicts_bench import ROOT, SLOTS, UUIDS, the_look, the_plan, the_tree

from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown
from rigspec.report.evidence import evidence
from rigspec.report.judged import Judged
from rigspec.report.pcie_picture import nodes_of, picture
from rigspec.report.redact import redactor
from rigspec.report.verdicts_html import as_html, estimated_gib, watts_sum
from rigspec.report.vram_estimate import CardEstimate, card_estimates
from rigspec.rules.context import saved_context
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Outcome, Verdict

MEMBERS = {slot: f"main.{n}" for n, slot in enumerate(SLOTS)}
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags that are open at the end, tags seen, ids, text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def judged(seen: Observation) -> Judged:
    return Judged(the_plan(), seen, verify_rig(the_plan(), seen), "2026-11-24T21:00:00+00:00")


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    return found


PAGE = as_html(judged(the_look()), str)


def test_every_tag_is_closed_and_every_check_is_there_in_words() -> None:
    found = outline(PAGE)
    assert found.open == []
    for verdict in judged(the_look()).verdicts:
        assert verdict.id in found.text
    for word in ("Not as planned.", "FAIL", "UNKNOWN", "pass", "n/a", "NARROW"):
        assert word in found.text


def test_no_script_and_no_outside_resource() -> None:
    found = outline(PAGE)
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in found.seen)
    assert not [a for _, a in found.seen if {"src", "href", "onload", "onclick"} & set(a)]
    assert not re.search(r"url\(|@import", PAGE)


def test_it_suits_phones_and_dark_mode() -> None:
    metas = [attributes.get("name") for tag, attributes in outline(PAGE).seen if tag == "meta"]
    assert "viewport" in metas
    assert "prefers-color-scheme: dark" in PAGE


def test_what_a_host_said_is_text() -> None:
    odd = Verdict("host.os", "<b>x</b>", Outcome.FAIL, found="<script>alert(1)</script>")
    page = as_html(replace(judged(the_look()), verdicts=(odd,)), str)
    assert "<script" not in page
    assert "<script>alert(1)</script>" in outline(page).text


def test_a_simulated_rig_says_so_at_the_top() -> None:
    assert "Simulated:" not in outline(PAGE).text
    assert "Simulated:" in outline(as_html(judged(the_look(simulated=True)), str)).text


@pytest.mark.parametrize("seen", [Observation(), the_look(tree=Unknown("lspci is not there"))])
def test_a_host_that_told_little_still_gives_a_page(seen: Observation) -> None:
    found = outline(as_html(judged(seen), str))
    assert "Not drawn" in found.text
    assert found.open == []


def test_a_redacted_page_holds_no_uuid() -> None:
    run, hide = judged(the_look()), redactor()
    page = as_html(replace(run, verdicts=tuple(map(hide.verdict, run.verdicts))), hide)
    assert UUIDS[0] in PAGE
    for uuid in (*UUIDS, run.header["boot"]):
        assert uuid not in page


def test_the_picture_hangs_each_card_below_its_port() -> None:
    nodes = nodes_of(the_tree(), MEMBERS)
    assert not isinstance(nodes, Unknown)
    by_address = {node.address: node for node in nodes}
    port, card = by_address["0000:02:02.0"], by_address[SLOTS[2]]
    assert (card.parent, card.depth, card.name) == (port.row, port.depth + 1, "main.2")
    assert (card.narrow, card.link) == (True, "x8 of x16, Gen1 now, can Gen4, NARROW")
    assert (by_address[SLOTS[0]].narrow, by_address["0000:01:00.0"].link) == (False, "x16, Gen4")
    assert port.link == ""  # the ports of one switch are not joined by a link
    assert [node.row for node in nodes] == list(range(10))


def test_the_picture_is_xml_with_a_title_and_thicker_lines_for_more_lanes() -> None:
    drawn = picture(the_tree(), MEMBERS)
    assert isinstance(drawn, str)
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    assert "4 GPUs" in (root.findtext(f"{space}title") or "")
    paths = [path.attrib for path in root.iter(f"{space}path")]
    wide = [float(path["stroke-width"]) for path in paths if path["class"] == "link"]
    (narrow,) = (float(path["stroke-width"]) for path in paths if path["class"] == "narrow")
    assert len(wide) == 4
    assert all(width == 2 * narrow for width in wide)


def test_a_tree_without_gpus_is_not_drawn() -> None:
    assert isinstance(picture(PciTree(()), {}), Unknown)


def test_evidence_is_the_record_behind_the_row() -> None:
    run = judged(the_look())
    found = {verdict.id: evidence(verdict, run) for verdict in run.verdicts}
    assert '"address": "0000:05:00.0"' in found["pcie.width.main.2"]
    assert '"enforced.power.limit": "350.00"' in found["power.limit.main.0"]
    assert '"unknown": "not a number"' in found["host.space"]
    assert "not asked for" not in found["pcie.width.main.2"]
    # the look was not told of this unit
    without = [name for name, text in found.items() if not text]
    assert without == ["units.rigspec-stt.service", "service.answers.stt"]


def test_the_sum_of_watts_names_cards_that_do_not_answer() -> None:
    # 4 × 350 W in rigs/home.yaml
    assert watts_sum(judged(the_look())) == "4 cards: limits 1400 W, planned 1400 W"
    cards = the_look().cards
    assert not isinstance(cards, Unknown)
    said = watts_sum(judged(the_look(cards=cards[:3])))
    assert said == "3 cards: limits 1050 W, planned 1400 W; unknown: main.3"


def test_the_estimate_stands_beside_what_is_in_use_only_for_services_that_answer() -> None:
    both = tuple(CardEstimate(name, "main.0", gib) for name, gib in (("glm", 80.5), ("stt", 9.0)))
    run = replace(judged(the_look()), estimates=both)
    assert estimated_gib(run, "main.0") == 80.5  # stt does not run
    assert estimated_gib(run, "main.1") is None  # nothing is known for this card
    assert "89.1 of 95.6 GiB, estimated 80.5" in outline(as_html(run, str)).text
    assert estimated_gib(replace(run, seen=the_look(answers={})), "main.0") is None


def test_estimates_cover_every_card_of_a_service_and_fit_into_it() -> None:
    spec = ROOT / "rigs" / "starter.yaml"
    rig = check_file(str(spec)).rig
    assert rig is not None
    found = card_estimates(rig, saved_context(rig, spec))
    assert [estimate.member for estimate in found] == ["pair.0", "pair.1"]
    # weights of the service are 14 GiB per card, a card has 24
    assert all(14 < estimate.gib < 24 for estimate in found)
