"""The catalog's tables: YAML files of figures with sources, and what an owner adds beside `rigs/`.

A table is a mapping of row id to row. The package ships `rigspec/catalog/data/NAME.yaml`; an owner
may put `catalog/NAME.yaml` beside `rigs/`, whose rows are added, or replace ours of the same id.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import yaml
from typing_extensions import override

from rigspec.errors import RigspecError
from rigspec.regular import no_file

ROW_FORMAT = "docs/fit.md"
"""Where the rows that an owner may write are explained."""
DATA = Path(__file__).with_name("data")
OWN_FOLDERS = (Path("catalog"), Path("../catalog"))
"""The owner's rows beside `rigs/`, seen from the folder above it and from inside it."""
_T = TypeVar("_T")


class CatalogError(RigspecError):
    """A catalog file or one of its rows cannot be used."""


class _Loader(yaml.CSafeLoader):
    """CSafeLoader that refuses a key written twice instead of keeping the last."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            keys = [str(key.value) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), "<<")
            raise CatalogError(
                f"{node.start_mark.name}:{node.start_mark.line + 1}: `{twice}` is written twice",
                hint="keep one of the two",
            )
        return found


class Span(NamedTuple):
    """What a figure may sensibly be, and of what: a wide span, as it is there to find slips."""

    least: float
    most: float
    what: str


GENERATION = Span(1, 7, "PCIe generation")


@dataclass(frozen=True)
class Row:
    """One row, with typed getters that name file and row when a value is unfit."""

    file: Path
    id: str
    values: Mapping[str, object]

    def fail(self, message: str, hint: str = "") -> CatalogError:
        """The error to raise about this row."""
        return CatalogError(f"{self.file}: row `{self.id}`: {message}", hint=hint)

    def allow(self, *keys: str) -> None:
        """Refuse keys the table does not have."""
        for key in self.values:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(keys)}"
                raise self.fail(f"unknown key `{key}`", hint)

    def optional_text(self, key: str) -> str | None:
        """Text, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.fail(f"`{key}` must be text, not {value!r}", "put it in quotes")
        return value

    def text(self, key: str) -> str:
        """Text that must be there."""
        return self._there(key, self.optional_text(key))

    def within(self, key: str, value: float | None, span: Span) -> None:
        """Refuse a figure that no such thing has: a slip would be computed with as it stands."""
        if value is not None and not span.least <= value <= span.most:
            sensible = f"{span.least:,.10g} to {span.most:,.10g}"
            raise self.fail(
                f"`{key}` is {value:,.12g}, which is no {span.what}: {sensible} is sensible",
                self.example(key),
            )

    def optional_number(self, key: str, span: Span | None = None) -> float | None:
        """A number, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(f"`{key}` must be a number, not {value!r}", "write it without unit")
        if span is not None:
            self.within(key, value, span)
        return value

    def number(self, key: str, span: Span | None = None) -> float:
        """A number that must be there."""
        return self._there(key, self.optional_number(key, span))

    def optional_whole(self, key: str, span: Span | None = None) -> int | None:
        """A whole number, or None where the row says null or nothing."""
        value = self.optional_number(key, span)
        if value is not None and not isinstance(value, int):
            raise self.fail(f"`{key}` must be a whole number, not {value!r}")
        return value

    def whole(self, key: str, span: Span | None = None) -> int:
        """A whole number that must be there."""
        return self._there(key, self.optional_whole(key, span))

    def optional_flag(self, key: str) -> bool | None:
        """true or false, or None where the row says null or nothing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.fail(f"`{key}` must be true or false, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where the row has none."""
        value = self.values.get(key) or []
        if not isinstance(value, list):
            raise self.fail(f"`{key}` must be a list, not {value!r}", "write it as [a, b]")
        for item in value:
            if not isinstance(item, str):
                raise self.fail(f"`{key}` holds {item!r}, which is not text", f'write "{item}"')
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, object]:
        """A mapping; empty where the row has none."""
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise self.fail(f"`{key}` must be a mapping, not {value!r}")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        """Text out of a closed set."""
        value = self.text(key)
        if value not in allowed:
            raise self.fail(f"`{key}: {value}` is none of {', '.join(allowed)}")
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
                )
            found[name] = text
        for name in own:
            if name not in fields:
                raise self.fail(f"`sources` names `{name}`, which is no figure of this table")
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
    return MappingProxyType(rows)


def _rows(file: Path) -> tuple[Row, ...]:
    content = _read(file)
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
                f"{file}: row `{key}` must be a mapping under a text id",
                hint="put an id that looks like a number in quotes"
                if not isinstance(key, str)
                else f"indent its keys below `{key}:`; {ROW_FORMAT} shows a whole file",
            )
    return tuple(Row(file, key, MappingProxyType(values)) for key, values in content.items())


def _read(file: Path) -> object:
    instead = no_file(file)  # a pipe would be waited for
    if instead:
        raise CatalogError(f"catalog file {file} {instead}", hint="put a file there, or remove it")
    try:
        with file.open("rb") as stream:
            # our own figures and the owner's, every value type-checked by Row: YAML 1.1 is harmless
            return yaml.load(stream, _Loader)  # noqa: S506, TID251 - a CSafeLoader, see above
    except OSError as error:
        raise CatalogError(f"cannot read catalog file {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CatalogError(f"{file} is not YAML: {error}") from error


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
