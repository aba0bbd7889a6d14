"""The table of symptoms: what to look for, what to do, how to know that it worked."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import yaml

from rigspec.catalog.data import Row
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass

FILE = Path(__file__).with_name("symptoms.yaml")
_KEYS = (
    "row", "likelihood", "title", "text", "all", "xid", "check", "unless", "bios", "do", "proof",
    "source",
)  # fmt: skip


class Likelihood(StrEnum):
    """How sure the evidence makes us; `harmless` explains what is no fault."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"
    HARMLESS = "harmless"


@dataclass(frozen=True)
class Symptom:
    """One row of the table."""

    id: str
    row: str
    """Its number in docs/doctor.md."""
    likelihood: Likelihood
    title: str
    any_of: tuple[re.Pattern[str], ...]
    all_of: tuple[re.Pattern[str], ...]
    xids: frozenset[int]
    check: str | None
    """Name of a function in the `CHECKS` of rigspec.doctor.diagnose."""
    unless: frozenset[str]
    """Rows that say the same with more certainty: where one is found, this one is not said."""
    bios: str | None
    """Topic of the board catalog's BIOS words."""
    do: str
    proof: str
    source: str


@lru_cache(maxsize=1)
def all_symptoms() -> tuple[Symptom, ...]:
    """Every symptom, causes before their consequences."""
    with FILE.open("rb") as stream:
        # our own sentences, every value type-checked by Row: YAML 1.1 is harmless
        content = yaml.load(stream, yaml.CSafeLoader)  # noqa: TID251 - a safe loader
    if not isinstance(content, dict):
        raise RigspecError(f"{FILE} is no mapping", hint="install rigspec again")
    rows = (Row(FILE, str(key), MappingProxyType(values)) for key, values in content.items())
    return tuple(_symptom(row) for row in rows)


def _symptom(row: Row) -> Symptom:
    row.allow(*_KEYS)
    xids = row.values.get("xid") or []
    if not isinstance(xids, list) or not all(type(number) is int for number in xids):
        raise row.fail("`xid` must be a list of numbers")
    words = tuple(Likelihood)
    return Symptom(
        id=row.id,
        row=row.text("row"),
        likelihood=Likelihood(row.one_of("likelihood", words)),
        title=row.text("title"),
        any_of=tuple(re.compile(text) for text in row.texts("text")),
        all_of=tuple(re.compile(text) for text in row.texts("all")),
        xids=frozenset(xids),
        check=row.optional_text("check"),
        unless=frozenset(row.texts("unless")),
        bios=row.optional_text("bios"),
        do=row.text("do"),
        proof=row.text("proof"),
        source=row.text("source"),
    )
