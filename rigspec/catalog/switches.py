"""PCIe switches: ids, generation, what owners measured below them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from rigspec.catalog.data import GENERATION, Row, Span, load_table, nearest
from rigspec.frozen import dataclass

FIGURES = (
    "pci_ids",
    "lanes",
    "unidirectional_gb_s",
    "bidirectional_gb_s",
    "latency_us",
    "acs",
)
_LANES = Span(4, 512, "number of a switch's lanes")
_SPEED = Span(0.1, 1000, "speed between two cards in GB/s")
_LATENCY = Span(0.01, 1000, "latency in microseconds")
_BRIDGE = (r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", "vendor:device of `lspci -nn`, as `11f8:4000`")
_KEYS = ("name", "aliases", "generation", "notes", *FIGURES, "source", "sources")


@dataclass(frozen=True)
class SwitchModel:
    """One switch of the catalog; bandwidths between two x16 cards below one switch."""

    model: str
    aliases: tuple[str, ...]
    name: str
    pci_ids: tuple[str, ...]
    """`vendor:device` of its bridges, lower-case hex."""
    generation: int
    lanes: int | None
    unidirectional_gb_s: float | None
    bidirectional_gb_s: float | None
    latency_us: float | None
    acs: Literal["yes", "no", "unknown"]
    """Whether its downstream ports can redirect peer traffic to the CPU (ACS ReqRedir)."""
    notes: str
    sources: Mapping[str, str]


def all_switches(extra: Path | None = None) -> tuple[SwitchModel, ...]:
    """Every known switch: ours, then those of the owner's folder `extra`."""
    return _all_switches(extra)


def find_switch(
    model: str, generation: int | None = None, extra: Path | None = None
) -> SwitchModel | None:
    """A switch by model or alias; `generic` becomes `generic-genN` of the generation named."""
    wanted = model.lower().strip().replace(" ", "-")
    if wanted == "generic" and generation is not None:
        wanted = f"generic-gen{generation}"
    return next((s for s in _all_switches(extra) if wanted in (s.model, *s.aliases)), None)


def switches_with_pci_id(pci_id: str, extra: Path | None = None) -> tuple[SwitchModel, ...]:
    """Switches whose bridges show `vendor:device`."""
    return tuple(s for s in _all_switches(extra) if pci_id.lower() in s.pci_ids)


def nearest_switches(text: str, extra: Path | None = None) -> tuple[str, ...]:
    """Did-you-mean: models close to `text`."""
    spellings = {a: s.model for s in _all_switches(extra) for a in (s.model, *s.aliases)}
    return nearest(text, spellings)


@lru_cache(maxsize=16)
def _all_switches(extra: Path | None) -> tuple[SwitchModel, ...]:
    return tuple(_switch(row) for row in load_table("switches", extra).values())


def _switch(row: Row) -> SwitchModel:
    row.allow(*_KEYS)
    return SwitchModel(
        model=row.id,
        aliases=row.texts("aliases"),
        name=row.text("name"),
        pci_ids=row.device_ids("pci_ids", _BRIDGE),
        generation=row.whole("generation", GENERATION),
        lanes=row.optional_whole("lanes", _LANES),
        unidirectional_gb_s=row.optional_number("unidirectional_gb_s", _SPEED),
        bidirectional_gb_s=row.optional_number("bidirectional_gb_s", _SPEED),
        latency_us=row.optional_number("latency_us", _LATENCY),
        acs=cast(Literal["yes", "no", "unknown"], row.one_of("acs", ("yes", "no", "unknown"))),
        notes=row.optional_text("notes") or "",
        sources=row.sources(FIGURES, {}),
    )
