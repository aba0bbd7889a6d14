"""The catalog's tables: YAML files of figures with sources, and what an owner adds beside `rigs/`.

A table is a mapping of row id to row. The package ships `rigspec/catalog/data/NAME.yaml`; an owner
may put `catalog/NAME.yaml` beside `rigs/`, whose rows are added, or replace ours of the same id.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from rigspec.catalog.data_file import ROW_FORMAT, place_of, read
from rigspec.catalog.data_file import CatalogError as CatalogError
from rigspec.catalog.meant import without_unit
from rigspec.frozen import dataclass
from rigspec.letters import one_line

DATA = Path(__file__).with_name("data")
OWN_FOLDERS = (Path("catalog"), Path("../catalog"))
"""The owner's rows beside `rigs/`, seen from the folder above it and from inside it."""
_T = TypeVar("_T")


class Span(NamedTuple):
    """What a figure may sensibly be, and of what: a wide span, as it is there to find slips."""

    least: float
    most: float
    what: str


GENERATION = Span(1, 6, "PCIe generation")
"""A spec stops at 6, too: no card, board or switch of the seventh can be bought."""


@dataclass(frozen=True)
class Row:
    """One row, with typed getters that name place, row and key when a value is unfit."""

    file: Path
    id: str
    values: Mapping[str, object]

    def fail(self, message: str, hint: str = "", at: tuple[str, ...] = ()) -> CatalogError:
        """The error to raise about this row, or about the key at this place in it."""
        where = place_of(self.file, self.id, *at)
        return CatalogError(f"{where}: row `{self.id}`: {message}", hint=hint)

    def allow(self, *keys: str) -> None:
        """Refuse keys the table does not have."""
        for key in self.values:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(keys)}"
                raise self.fail(f"unknown key `{key}`", hint, (key,))

    def optional_text(self, key: str) -> str | None:
        """Text, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            # `yes` and `off` in quotes would be a word that no field takes
            hint = self.example(key) if isinstance(value, bool) else "put it in quotes"
            raise self.fail(f"`{key}` must be text, not {shown(value)}", hint, (key,))
        if value is not None and not value.isprintable() and one_line(value) != value:
            said = f"`{key}` holds a character that steers the terminal: {one_line(value)[:60]}"
            raise self.fail(said, "write it without", (key,))
        return value

    def text(self, key: str) -> str:
        """Text that must be there, and say something."""
        value = self._there(key, self.optional_text(key))
        if not value.strip():
            raise self.fail(f"`{key}` is empty", self.example(key), (key,))
        return value

    def within(self, key: str, value: float | None, span: Span) -> None:
        """Refuse a figure that no such thing has: a slip would be computed with as it stands."""
        if value is not None and not span.least <= value <= span.most:
            sensible = f"{span.least:,.10g} to {span.most:,.10g}"
            raise self.fail(
                f"`{key}` is {value:,.12g}, which is no {span.what}: {sensible} is sensible",
                self.example(key),
                (key,),
            )

    def optional_number(self, key: str, span: Span | None = None) -> float | None:
        """A number, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._no_number(key, value, span)
        if span is not None:
            self.within(key, value, span)
        return value

    def _no_number(self, key: str, value: object, span: Span | None) -> CatalogError:
        """Text that is one all the same is only written wrong, or no such figure either."""
        said = f"`{key}` must be a number, not {shown(value)}"
        try:
            number = float(str(value))
        except ValueError:
            return self.fail(said, without_unit(key, str(value), span and span[:2]), (key,))
        if not math.isfinite(number):
            return self.fail(said, self.example(key), (key,))
        if isinstance(value, str) and span is not None:
            self.within(key, number, span)
        return self.fail(said, f"write it without quotes, in digits: {number:.12g}", (key,))

    def number(self, key: str, span: Span | None = None) -> float:
        """A number that must be there."""
        return self._there(key, self.optional_number(key, span))

    def optional_whole(self, key: str, span: Span | None = None) -> int | None:
        """A whole number, or None where the row says null or nothing."""
        value = self.optional_number(key, span)
        if value is not None and not isinstance(value, int):
            raise self.fail(f"`{key}` must be a whole number, not {value!r}", at=(key,))
        return value

    def whole(self, key: str, span: Span | None = None) -> int:
        """A whole number that must be there."""
        return self._there(key, self.optional_whole(key, span))

    def optional_flag(self, key: str) -> bool | None:
        """true or false, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.fail(f"`{key}` must be true or false, not {shown(value)}", at=(key,))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where the row has none."""
        value = self.values.get(key) or []
        if not isinstance(value, list):
            said = f"`{key}` must be a list, not {shown(value)}"
            raise self.fail(said, "write it as [a, b]", (key,))
        for item in value:
            if not isinstance(item, str):
                said = f"`{key}` holds {shown(item)}, which is not text"
                raise self.fail(said, f'write "{item}"', (key,))
        return tuple(value)

    def device_ids(self, key: str, form: tuple[str, str]) -> tuple[str, ...]:
        """Ids of PCI devices in lower case; `form` is a pattern, and the same in words."""
        pattern, words = form
        for item in self.texts(key):
            if not re.fullmatch(pattern, item):
                raise self.fail(f"`{key}` holds `{item}`, which is no PCI id", words, (key,))
        return tuple(item.lower() for item in self.texts(key))

    def mapping(self, key: str) -> Mapping[str, object]:
        """A mapping; empty where the row has none."""
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self.fail(f"`{key}` must be a mapping, not {shown(value)}", at=(key,))
        return value

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """Text out of a closed set."""
        found = self.values.get(key)
        if isinstance(found, bool):
            word = "yes" if found else "no"
            hint = f'YAML reads {word} as true or false: write "{word}"' if word in allowed else ""
            said = f"`{key}` is one of {', '.join(allowed)}, not {found}"
            raise self.fail(said, hint, (key,))
        value = self.text(key)
        if value not in allowed:
            raise self.fail(f"`{key}: {value}` is none of {', '.join(allowed)}", at=(key,))
        return value

    def sources(self, fields: tuple[str, ...], common: Mapping[str, str]) -> Mapping[str, str]:
        """Where each field's figure comes from: `sources`, else the table's, else row `source`."""
        own, whole_row = self.mapping("sources"), self.optional_text("source")
        found: dict[str, str] = {}
        for name in fields:
            text = own.get(name) or (whole_row or common.get(name))
            if not isinstance(text, str):
                raise self.fail(
                    f"`{name}` has no source",
                    f"say where the figure comes from: `source: …` or `sources: {{{name}: …}}`",
                    (name,),
                )
            found[name] = text
        for name in own:
            if name not in fields:
                said = f"`sources` names `{name}`, which is no figure of this table"
                raise self.fail(said, at=("sources", str(name)))
        return MappingProxyType(found)

    def _there(self, key: str, value: _T | None) -> _T:
        if value is None:
            raise self.fail(f"`{key}` is missing", self.example(key))
        return value

    def example(self, key: str) -> str:
        """How one of our own rows writes a key, as a hint."""
        ours = _rows(DATA / self.file.name)
        row = next((row for row in ours if row.values.get(key) is not None), None)
        if row is None:
            return f"{ROW_FORMAT} shows a whole row"
        written = f"{key}: {json.dumps(row.values[key], ensure_ascii=False)}"
        return f"for example `{written}`, as `{row.id}` has it; {ROW_FORMAT} shows a whole row"


def shown(value: object) -> str:
    """A value as Python writes it, without the rest of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def own_folder() -> Path | None:
    """The owner's folder of rows that a verb without a spec takes; None where there is none."""
    return next((folder for folder in OWN_FOLDERS if folder.is_dir()), None)


def save_folder() -> Path:
    """Where models are saved without being told: beside the rigs, also from inside `rigs/`."""
    inside = Path.cwd().name == "rigs" and not Path("rigs").is_dir()
    return Path("models" if inside else "rigs/models")


def load_table(name: str, extra: Path | None = None) -> Mapping[str, Row]:
    """Rows of table `name` by id: ours, then those of the owner's folder `extra`; read once."""
    return _load_table(name, extra)


@lru_cache(maxsize=64)
def _load_table(name: str, extra: Path | None) -> Mapping[str, Row]:
    rows = {row.id: row for row in _rows(DATA / f"{name}.yaml")}
    own = extra / f"{name}.yaml" if extra is not None else None
    if own is not None and os.path.lexists(own):
        rows |= {row.id: row for row in _rows(own)}
        _refuse_taken_names(rows, own)
    return MappingProxyType(rows)


def _refuse_taken_names(rows: Mapping[str, Row], own: Path) -> None:
    """An owner's alias that is another row's id or alias would never be looked at."""
    taken = {alias: row for row in rows.values() if row.file != own for alias in _aliases(row)}
    taken |= rows
    for row in (row for row in rows.values() if row.file == own):
        for alias in _aliases(row):
            other = taken.setdefault(alias, row)
            if other.id == row.id:
                continue
            ours = f"leave it out, or call the row `{other.id}`: it then replaces ours"
            raise row.fail(
                f"`aliases` holds `{alias}`, which names `{other.id}` already",
                "keep it in one of the two" if other.file == own else ours,
                ("aliases",),
            )


def _aliases(row: Row) -> tuple[str, ...]:
    value = row.values.get("aliases")
    return tuple(a for a in value if isinstance(a, str)) if isinstance(value, list) else ()


def _rows(file: Path) -> tuple[Row, ...]:
    content = read(file)
    if content is None:  # nothing but blanks and comments
        return ()
    if not isinstance(content, dict):
        raise CatalogError(
            f"{file}: a table is a mapping of row id to row",
            hint="begin with the row's id and a colon, as in `rtx-3090:`, and indent its keys "
            f"below it, without dashes; {ROW_FORMAT} shows a whole file",
        )
    for key, values in content.items():
        if not isinstance(key, str) or not isinstance(values, dict):
            raise CatalogError(
                f"{place_of(file, str(key))}: row `{key}` must be a mapping under a text id",
                hint="put an id that looks like a number in quotes"
                if not isinstance(key, str)
                else f"indent its keys below `{key}:`; {ROW_FORMAT} shows a whole file",
            )
    return tuple(Row(file, key, MappingProxyType(values)) for key, values in content.items())


def nearest(
    text: str, names: Mapping[str, str] | tuple[str, ...], count: int = 3
) -> tuple[str, ...]:
    """Did-you-mean: the names closest to `text`; of a mapping (spelling to name), its values."""
    spellings = names if isinstance(names, Mapping) else {name: name for name in names}
    wanted = text.lower().strip()
    begins = [s for s in spellings if len(wanted) >= 3 and s.startswith(wanted)]
    close = difflib.get_close_matches(wanted, spellings, count * 2, 0.6)
    inside = [s for s in spellings if len(wanted) >= 3 and wanted in s]
    return tuple(dict.fromkeys(spellings[s] for s in (*begins, *close, *inside)))[:count]
