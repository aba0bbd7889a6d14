"""The page in a real browser: headless Chromium, without network, its own scripts forbidden."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser
from page_bench import SAMPLES, planted, sample, write_page

DESK, PHONE = 1280, 390
LIGHT, DARK = {"prefers-color-scheme": "light"}, {"prefers-color-scheme": "dark"}

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(e => {
  if (e.closest('.scroll, pre, .track, .sum') || e.closest('svg')) return false;
  const r = e.getBoundingClientRect();
  return r.width > 0 && (r.right > document.documentElement.clientWidth + 1 || r.left < -1);
}).map(e => e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40))
"""
"""What sticks out at the side, apart from what scrolls in its own box."""

OVERLAPPING = """
[...document.querySelectorAll('svg.pcie')].filter(
  s => s.getBoundingClientRect().width
).flatMap(s => {
  const box = e => e.getBoundingClientRect();
  const apart = (a, b) => a.right <= b.left + .5 || b.right <= a.left + .5
    || a.bottom <= b.top + .5 || b.bottom <= a.top + .5;
  const texts = [...s.querySelectorAll('text')];
  const bad = [];
  texts.forEach((t, n) => {
    const r = box(t), o = box(s);
    if (r.left < o.left - 1 || r.right > o.right + 1) bad.push('outside: ' + t.textContent);
    texts.slice(n + 1).forEach(u => {
      if (!apart(r, box(u))) bad.push(t.textContent + ' / ' + u.textContent);
    });
    s.querySelectorAll('rect').forEach(q => {
      const b = box(q), inside = r.left >= b.left && r.right <= b.right;
      if (!apart(r, b) && !inside) bad.push('edge: ' + t.textContent);
    });
  });
  return bad;
})
"""
"""Words of the PCIe picture that touch each other, cross a box's edge, or leave the picture."""

CUT = """
[...document.querySelectorAll('table.heat td, .counts li, .mark')].filter(
  e => e.getBoundingClientRect().width && e.scrollWidth > e.clientWidth + 1
).map(e => e.textContent)
"""
"""Cells whose words do not fit."""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_page(folder, name, sample(name)) for name in SAMPLES}


def pixels(png: bytes) -> list[tuple[int, int, int]]:
    """Every pixel of an 8-bit RGB or RGBA PNG that is not interlaced (PNG, second edition)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    channels = {2: 3, 6: 4}[kind]
    assert depth == 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        data += png[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += length + 12
    raw, stride = zlib.decompress(data), width * channels
    above, found = bytearray(stride), []
    for row in range(height):
        start = row * (stride + 1)
        line = unfiltered(
            raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, channels
        )
        found += [tuple(line[n : n + 3]) for n in range(0, stride, channels)]
        above = line
    return found  # type: ignore[return-value]


def unfiltered(kind: int, line: bytearray, above: bytearray, step: int) -> bytearray:
    for n in range(len(line)):
        left = line[n - step] if n >= step else 0
        corner = above[n - step] if n >= step else 0
        guess = (0, left, above[n], (left + above[n]) // 2, paeth(left, above[n], corner))[kind]
        line[n] = (line[n] + guess) & 255
    return line


def paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def brightness(found: list[tuple[int, int, int]]) -> list[float]:
    return [sum(pixel) / 765 for pixel in found]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_sticks_out_overlaps_or_is_cut(
    chrome: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    chrome.show(pages[name], width, media=LIGHT)
    assert chrome.ask("document.documentElement.scrollWidth") == width
    chrome.ask("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert chrome.ask("document.documentElement.scrollWidth") == width
    assert chrome.ask(OVERFLOWING) == []
    assert chrome.ask(OVERLAPPING) == []
    assert chrome.ask(CUT) == []


def test_the_checks_above_can_fail(chrome: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<meta name=viewport content='width=device-width'><p style='width:900px'>wide</p>"
        "<svg class=pcie width=200 height=50><rect width=60 height=50 fill=none /><text x=40 y=20>"
        "crosses the edge</text><text x=45 y=22>on top</text></svg>"
        "<ul class=counts><li style='width:9px'>overlong</li></ul>",
        encoding="utf-8",
    )
    chrome.show(page, PHONE)
    assert chrome.ask("document.documentElement.scrollWidth") > PHONE
    assert len(chrome.ask(OVERFLOWING)) == 1
    assert {"edge: crosses the edge", "crosses the edge / on top"} <= set(chrome.ask(OVERLAPPING))
    assert chrome.ask(CUT) == ["overlong"]


def test_each_screen_gets_one_picture_of_the_tree(chrome: Browser, pages: dict[str, Path]) -> None:
    shown = (
        "[...document.querySelectorAll('svg.pcie')].filter(s => s.getBoundingClientRect().width)"
        ".map(s => s.classList[1])"
    )
    for name, width, kind in (
        ("home", DESK, "wide"), ("home", PHONE, "compact"), ("deep", DESK, "compact"),
    ):  # fmt: skip
        chrome.show(pages[name], width)
        assert chrome.ask(shown) == [kind]


@pytest.mark.parametrize(("media", "is_dark"), [(LIGHT, False), (DARK, True)])
def test_the_paper_is_light_or_dark_as_the_reader_wants(
    chrome: Browser, pages: dict[str, Path], media: dict[str, str], is_dark: bool
) -> None:
    chrome.show(pages["home"], DESK, media=media)
    found = brightness(pixels(chrome.picture(scale=0.1)))
    near = [value < 0.2 if is_dark else value > 0.85 for value in found]
    assert sum(near) > 0.6 * len(near)  # mostly paper
    assert len({round(value, 1) for value in found}) >= 5  # and not blank


def test_without_colour_bad_pairs_and_narrow_links_still_stand_out(
    chrome: Browser, pages: dict[str, Path]
) -> None:
    chrome.show(pages["faulty"], DESK, media={"forced-colors": "active"})
    text = chrome.ask("document.body.innerText")
    for word in ("FAIL", "UNKNOWN", "NARROW", "HANG", "WRONG DATA", "OVER by", "MOVES NOTHING"):
        assert word in text
    dashes = chrome.ask(
        "getComputedStyle(document.querySelector('svg.wide .narrow')).strokeDasharray"
    )
    assert dashes != "none"
    borders = chrome.ask(
        "['td.bad', 'td.s3'].map(s => getComputedStyle(document.querySelector('.heat ' + s))"
        ".borderTopWidth)"
    )
    assert borders == ["2px", "1px"]


def test_a_bar_is_as_long_as_its_figures(chrome: Browser, pages: dict[str, Path]) -> None:
    chrome.show(pages["home"], DESK)
    used, guess = chrome.ask(
        "[...document.querySelector('.meter').querySelectorAll('.track')].map(t =>"
        " t.firstChild.getBoundingClientRect().width / t.clientWidth)"
    )
    assert used == pytest.approx(91234 / 97887, abs=0.01)
    assert guess == pytest.approx(86.4 * 1024 / 97887, abs=0.01)


def test_unfolding_shows_the_evidence_without_any_script(
    chrome: Browser, pages: dict[str, Path]
) -> None:
    chrome.show(pages["faulty"], PHONE)
    seen = "document.querySelector('article pre').checkVisibility()"
    assert chrome.ask(seen) is False
    x, y = chrome.ask(
        "(s => { s.scrollIntoView(); const r = s.getBoundingClientRect();"
        " return [r.x + 9, r.y + 9] })"
        "(document.querySelector('article summary'))"
    )
    for kind in ("mousePressed", "mouseReleased"):
        chrome.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
        )  # fmt: skip
    assert chrome.ask(seen) is True
    assert chrome.ask("document.documentElement.scrollWidth") == PHONE


def test_a_host_cannot_run_or_fetch_anything(chrome: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    file = write_page(tmp_path, "evil", planted(evil))
    chrome.show(file, DESK, scripts=True)
    assert chrome.ask("document.title") != "run"
    assert chrome.ask("document.querySelectorAll('script, img').length") == 0
    fetched: Any = chrome.ask("performance.getEntriesByType('resource').map(e => e.name)")
    assert fetched == []


def test_long_words_of_a_host_break_in_their_boxes(chrome: Browser, tmp_path: Path) -> None:
    file = write_page(tmp_path, "long", planted("x" * 300))
    chrome.show(file, PHONE)
    assert chrome.ask("document.documentElement.scrollWidth") == PHONE
