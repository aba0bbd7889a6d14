"""The page: whole in one file, readable without colour, nothing of a host runs in it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from page_bench import SAMPLES, planted, sample
from typing_extensions import override
from verdicts_bench import ROOT, UUIDS, the_look, the_plan

from rigspec.observed.record import Unknown
from rigspec.report.bars import estimated, watts_sum
from rigspec.report.estimates import Estimates
from rigspec.report.evidence import evidence
from rigspec.report.judged import Judged
from rigspec.report.redact import redactor
from rigspec.report.verdicts_html import _code, as_html
from rigspec.report.vram_estimate import card_estimates
from rigspec.rules.context import saved_context
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.verdict import Outcome
from rigspec.verify.vram import CardEstimate

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
    for word in ("not as planned", "FAIL", "UNKNOWN", "pass", "n/a", "NARROW"):
        assert word in found.text


def test_no_script_and_no_outside_resource() -> None:
    found = outline(PAGE)
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in found.seen)
    assert not [a for _, a in found.seen if {"src", "href", "onload", "onclick"} & set(a)]
    assert not re.search(r"url\(|@import", PAGE)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_whole_and_alone(name: str) -> None:
    page = as_html(sample(name), str)
    found = outline(page)
    assert found.open == []
    ids = [a["id"] for _, a in found.seen if "id" in a]
    assert len(ids) == len(set(ids))
    # the only address in the page is the name of SVG's language, which nobody fetches
    assert not re.search(r"(?:src|href|action|poster|data)\s*=|url\(|@import|http-equiv", page)
    assert "//" not in re.sub(r"http://www\.w3\.org/2000/svg", "", page.partition("<body>")[2])


def test_tables_and_pictures_are_named_for_screen_readers() -> None:
    found = outline(as_html(sample("faulty"), str))
    ids = {a["id"] for _, a in found.seen if "id" in a}
    pictures = [a for tag, a in found.seen if tag == "svg"]
    assert len(pictures) == 2
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert set((attributes["aria-labelledby"] or "").split()) <= ids
    assert all(a.get("aria-label") for tag, a in found.seen if tag == "table")
    assert all(a.get("scope") in {"row", "col"} for tag, a in found.seen if tag == "th")


THEME = re.compile(r"--(\w+):(#[0-9a-f]{6})")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )  # the well-known near miss


def test_text_stands_out_in_both_themes() -> None:
    light_css, dark_css = PAGE.partition("@media (prefers-color-scheme:dark)")[::2]
    light = dict(THEME.findall(light_css))
    dark = dict(THEME.findall(dark_css.partition("}")[0]))
    assert set(light) == set(dark)
    words = ("ink", "dim", "good", "bad", "odd", "lost")
    for theme in (light, dark):
        for word in words:
            assert contrast(theme[word], theme["paper"]) >= 4.5
            assert contrast(theme[word], theme["card"]) >= 4.5
        for shade in range(1, 6):
            assert contrast(theme[f"h{shade}"], theme[f"t{shade}"]) >= 4.5
        # lines that carry a meaning: 3 : 1, WCAG 1.4.11
        assert contrast(theme["wire"], theme["paper"]) >= 3
        assert contrast(theme["wire"], theme["h2"]) >= 3 or theme is dark


def test_findings_that_say_the_same_are_one() -> None:
    found = outline(as_html(sample("sixteen"), str)).text
    assert "main.15" in found
    run = judged(the_look())
    wide = [v for v in run.verdicts if v.id.startswith("pcie.width.")]
    odd = tuple(
        replace(v, outcome=Outcome.FAIL, found="x8", reason="r", next_action="") for v in wide
    )
    page = as_html(replace(run, verdicts=odd), str)
    assert page.count("<article") == 1
    assert "the same: main.1, main.2, main.3" in page


def test_a_card_that_is_gone_is_named_below_the_tree() -> None:
    assert (
        "Not on the bus: main.3 (was at 0000:06:00.0)"
        in outline(as_html(sample("faulty"), str)).text
    )


def test_it_suits_phones_and_dark_mode() -> None:
    metas = [attributes.get("name") for tag, attributes in outline(PAGE).seen if tag == "meta"]
    assert "viewport" in metas
    assert "prefers-color-scheme:dark" in PAGE


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&{{ 7*7 }}</style></svg>"


def test_what_a_host_said_is_text_wherever_it_said_it() -> None:
    page = as_html(planted(EVIL), str)
    found = outline(page)
    assert found.open == []
    assert {"script", "img"}.isdisjoint(tag for tag, _ in found.seen)
    assert not [a for _, a in found.seen if {"src", "onerror"} & set(a)]
    # title, expected, found, why, do and method of each row; kernel, boot, vbios, tool, pattern
    assert found.text.count("<script>alert(1)</script>") > 6 * len(sample("faulty").verdicts)


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


def test_evidence_is_the_record_behind_the_row() -> None:
    run = judged(the_look())
    found = {verdict.id: evidence(verdict, run) for verdict in run.verdicts}
    assert '"address": "0000:05:00.0"' in found["pcie.width.main.2"]
    assert '"enforced.power.limit": "350.00"' in found["power.limit.main.0"]
    assert '"unknown": "not a number"' in found["host.space"]
    assert "not asked for" not in found["pcie.width.main.2"]
    # nobody asked for load; this service was not asked, it does not run
    without = {name.partition(".")[0] for name, text in found.items() if not text}
    assert without <= {"fabric", "load", "burn"}


def test_the_sum_of_watts_names_cards_that_do_not_answer() -> None:
    # 4 × 350 W in rigs/home.yaml
    assert watts_sum(judged(the_look())) == "4 cards: limits 1400 W, planned 1400 W"
    cards = the_look().cards
    assert not isinstance(cards, Unknown)
    said = watts_sum(judged(the_look(cards=cards[:3])))
    assert said == "3 cards: limits 1050 W, planned 1400 W; unknown: main.3"


def test_the_estimate_stands_beside_what_is_in_use_only_for_services_that_answer() -> None:
    both = (CardEstimate("glm", "main.0", 80.5, 81, 84), CardEstimate("stt", "main.0", 9.0))
    run = replace(judged(the_look()), estimates=Estimates(both))
    assert [part.gib for part in estimated(run, "main.0")] == [80.5]  # stt does not run
    assert estimated(run, "main.1") == ()  # nothing is known for this card
    assert (
        "in use 89.1 GiB, estimate 80.5 GiB (81.0 to 84.0 with CUDA contexts), card 95.6 GiB"
        in outline(as_html(run, str)).text
    )
    assert estimated(replace(run, seen=the_look(answers={})), "main.0") == ()


def test_estimates_cover_every_card_of_a_service_and_fit_into_it() -> None:
    spec = ROOT / "rigs" / "starter.yaml"
    rig = check_file(str(spec)).rig
    assert rig is not None
    found = card_estimates(rig, saved_context(rig, spec))
    assert [estimate.member for estimate in found] == ["pair.0", "pair.1"]
    # weights of the service are 14 GiB per card, a card has 24
    assert all(14 < estimate.gib < 24 for estimate in found)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("run `a <b>`, then wait", "run <code>a &lt;b&gt;</code>, then wait"),
        ("a ` alone & so on", "a ` alone &amp; so on"),
        ("`x`", "<code>x</code>"),
        ("", ""),
    ],
)
def test_commands_in_a_sentence_are_shown_as_such(text: str, page: str) -> None:
    assert str(_code(text)) == page


def test_caps_that_nobody_told_are_no_zero() -> None:
    silent = judged(the_look(cards=Unknown("no driver")))
    assert watts_sum(silent) == "limits unknown, planned 1400 W"
