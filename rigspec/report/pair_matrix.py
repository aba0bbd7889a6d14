"""Peer-to-peer as heat maps: one square per quantity, numbers and words in the cells.

A shade is only a help for the eye: every cell says its number, and what is wrong with a pair stands
in it as a word. Nothing is judged here: `slow` comes from the verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.pairs import ERROR, HANG, HOST, FabricReading, PairReading
from rigspec.observed.record import Reading, known

SHADES = 5

HANGS, WRONG, STILL, FAILED = "HANG", "WRONG DATA", "MOVES NOTHING", "ERROR"
SLOW, BY_HOST, UNREAD, NOT_RUN = "SLOW", "via host", "unknown", "not run"
MEANINGS = {
    HANGS: "the copy did not end within its time limit",
    WRONG: "the copy ended, other values arrived than were sent",
    STILL: "the copy reported success, and nothing arrived",
    FAILED: "the copy ended in an error",
    SLOW: "below what the link should give, see the finding",
    BY_HOST.upper(): "through the host's memory, where the plan wants card to card",
    BY_HOST: "the data went through the host's memory, not from card to card",
    UNREAD: "measured, but not this quantity",
    NOT_RUN: "this pair was not measured",
}
"""Words in the cells; those in capitals need a hand."""


@dataclass(frozen=True)
class Cell:
    """One ordered pair: its number, its shade (0 is none), and a word when there is more."""

    number: str = ""
    shade: int = 0
    word: str = ""
    itself: bool = False

    @property
    def bad(self) -> bool:
        """Whether the word needs a hand."""
        return self.word.isupper()


@dataclass(frozen=True)
class HeatMap:
    """Rows send, columns receive, both in the order of `names`."""

    key: str
    title: str
    unit: str
    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    scale: tuple[tuple[int, str], ...]
    """Shade and the numbers it stands for."""

    @property
    def words(self) -> dict[str, str]:
        """Words that occur, and what they mean."""
        found = {cell.word for row in self.rows for cell in row}
        return {word: meaning for word, meaning in MEANINGS.items() if word in found}

    @property
    def known(self) -> bool:
        """Whether any number is in it."""
        return any(cell.number for row in self.rows for cell in row)


@dataclass(frozen=True)
class Quantity:
    """One number of a pair."""

    key: str
    title: str
    unit: str
    digits: int


Bad = frozenset[frozenset[str]]
"""Pairs of members, whatever the direction."""

ONE_WAY = Quantity("one_way_gb_s", "One way", "GB/s", 1)
QUANTITIES = (
    ONE_WAY,
    Quantity("two_way_gb_s", "Both ways at once, summed", "GB/s", 1),
    Quantity("latency_us", "Latency of a small write, average", "µs", 1),
    Quantity("worst_latency_us", "Latency of a small write, worst", "µs", 1),
)


def heat_maps(fabric: FabricReading, members: Sequence[str], bad: Bad) -> tuple[HeatMap, ...]:
    """Those with numbers, one-way bandwidth always; `bad` pairs have a verdict that is no pass."""
    maps = (_heat_map(fabric, members, bad, quantity) for quantity in QUANTITIES)
    return tuple(m for m in maps if m.known or m.key == ONE_WAY.key)


def _heat_map(
    fabric: FabricReading,
    members: Sequence[str],
    bad: Bad,
    quantity: Quantity,
) -> HeatMap:
    names = ordered(fabric, members)
    pairs = {(fabric.member(p.source), fabric.member(p.target)): p for p in fabric.pairs}
    values = [v for p in pairs.values() if (v := _value(p, quantity)) is not None]
    top = max(values, default=0.0)

    def cell(source: str, target: str) -> Cell:
        if source == target:
            return Cell(itself=True)
        pair = pairs.get((source, target))
        if pair is None:
            return Cell(word=NOT_RUN)
        back = pairs.get((target, source))
        # a row judges both directions: the good one of a pair that fails the other way is not slow
        explained = back is not None and _wrong(back)
        return _cell(pair, quantity, top, {source, target} in bad and not explained)

    rows = tuple(tuple(cell(source, target) for target in names) for source in names)
    return HeatMap(
        quantity.key, quantity.title, quantity.unit, names, rows, tuple(_scale(top, quantity))
    )


def ordered(fabric: FabricReading, members: Sequence[str]) -> tuple[str, ...]:
    """Members as planned, then cards that are of no plan, by the names they were measured under."""
    seen = [fabric.member(uuid) for p in fabric.pairs for uuid in (p.source, p.target)]
    names = dict.fromkeys([*(card.member for card in fabric.cards), *seen])
    return (*(m for m in members if m in names), *(n for n in names if n not in members))


def _value(pair: PairReading, quantity: Quantity) -> float | None:
    reading: Reading[float] = getattr(pair, quantity.key)
    return known(reading)


def _cell(pair: PairReading, quantity: Quantity, top: float, bad: bool) -> Cell:
    value = _value(pair, quantity)
    number = "" if value is None else f"{value:.{quantity.digits}f}"
    word = _wrong(pair)
    if word:
        # the number of a copy that did not arrive is no speed: shown, not shaded
        return Cell(number, 0, word)
    if value is None:
        return Cell(word=UNREAD)
    by_host = BY_HOST if known(pair.path) == HOST else ""
    word = (by_host.upper() or SLOW) if bad and quantity is ONE_WAY else by_host
    return Cell(number, _shade(value, top), word)


def _wrong(pair: PairReading) -> str:
    if pair.ended == HANG:
        return HANGS
    if pair.ended == ERROR:
        return FAILED
    if known(pair.moved) is False:
        return STILL
    return WRONG if known(pair.values_ok) is False else ""


def _shade(value: float, top: float) -> int:
    return min(SHADES, 1 + int(SHADES * value / top)) if top > 0 else 1


def _scale(top: float, quantity: Quantity) -> Iterator[tuple[int, str]]:
    step = top / SHADES
    for shade in range(1, SHADES + 1) if top > 0 else ():
        low, high = (f"{part * step:.{quantity.digits}f}" for part in (shade - 1, shade))
        yield shade, f"{low}–{high}"
