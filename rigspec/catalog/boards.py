"""Mainboards: slots, what to set in their BIOS by hand, and their habits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from rigspec.catalog.data import GENERATION, Row, Span, load_table, nearest
from rigspec.frozen import dataclass

FIGURES = ("slots", "warm_reboot", "bios", "quirks")
_SOCKETS, _SLOTS = Span(1, 8, "number of CPU sockets"), Span(0, 32, "number of slots")
_KEYS = (
    "name",
    "aliases",
    "cpu",
    "sockets",
    "generation",
    "x16_slots",
    "warm_reboot",
    "bios",
    "quirks",
    "source",
    "sources",
)


@dataclass(frozen=True)
class BoardModel:
    """One mainboard or barebone server."""

    model: str
    aliases: tuple[str, ...]
    name: str
    cpu: Literal["amd", "intel"]
    sockets: int
    generation: int
    """PCIe generation of its CPU slots."""
    x16_slots: int | None
    warm_reboot: Literal["works", "fails", "unknown"]
    """`fails`: GPUs are lost or the machine hangs; it needs a power cycle."""
    bios: Mapping[str, str]
    """What to set by hand: topic to the setup's own words."""
    quirks: tuple[str, ...]
    sources: Mapping[str, str]


def all_boards(extra: Path | None = None) -> tuple[BoardModel, ...]:
    """Every known board: ours, then those of the owner's folder `extra`."""
    return _all_boards(extra)


def find_board(model: str, extra: Path | None = None) -> BoardModel | None:
    """A board by model or alias; None when unknown, which is no error: boards are many."""
    wanted = model.lower().strip().replace(" ", "-")
    return next((b for b in _all_boards(extra) if wanted in (b.model, *b.aliases)), None)


def nearest_boards(text: str, extra: Path | None = None) -> tuple[str, ...]:
    """Did-you-mean: models close to `text`."""
    spellings = {a: b.model for b in _all_boards(extra) for a in (b.model, *b.aliases)}
    return nearest(text, spellings)


@lru_cache(maxsize=16)
def _all_boards(extra: Path | None) -> tuple[BoardModel, ...]:
    return tuple(_board(row) for row in load_table("boards", extra).values())


def _board(row: Row) -> BoardModel:
    row.allow(*_KEYS)
    bios = row.mapping("bios")
    return BoardModel(
        model=row.id,
        aliases=row.texts("aliases"),
        name=row.text("name"),
        cpu=cast(Literal["amd", "intel"], row.one_of("cpu", ("amd", "intel"))),
        sockets=row.whole("sockets", _SOCKETS),
        generation=row.whole("generation", GENERATION),
        x16_slots=row.optional_whole("x16_slots", _SLOTS),
        warm_reboot=cast(
            Literal["works", "fails", "unknown"],
            row.one_of("warm_reboot", ("works", "fails", "unknown")),
        ),
        bios=MappingProxyType({key: str(words) for key, words in bios.items()}),
        quirks=row.texts("quirks"),
        sources=row.sources(FIGURES, {}),
    )
