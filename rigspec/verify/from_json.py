"""Plain JSON data back into observed records, by the types of their fields."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from rigspec.errors import RigspecError
from rigspec.observed.record import Unknown

UNKNOWN_KEYS = {"unknown", "line"}
"""What `Unknown.to_json` writes."""


class WrongShape(RigspecError):
    """The data is no record of the kind that was asked for."""


def read_as(kind: Any, value: Any, where: str = "") -> Any:
    """`value` as the annotated type `kind`; `where` is the place in the file, for complaints."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _one_of(get_args(kind), value, where)
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, where)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(kind)[1], value, where)
    return _plain(kind, value, where)


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    if Unknown in kinds and isinstance(value, dict) and set(value) == UNKNOWN_KEYS:
        return Unknown(str(value["unknown"]), str(value["line"]))
    (kind,) = (kind for kind in kinds if kind not in {types.NoneType, Unknown})
    return read_as(kind, value, where)


@cache
def _fields(kind: type) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(kind)
    return tuple((field, hints[field.name]) for field in fields(kind))


def _record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    known = {field.name for field, _ in _fields(kind)}
    if strange := sorted(set(value) - known):
        raise _refused(f"{where or 'the observation'} has unknown fields: {', '.join(strange)}")
    given: dict[str, Any] = {}
    for field, hint in _fields(kind):
        place = f"{where}.{field.name}".lstrip(".")
        if field.name in value:
            given[field.name] = read_as(hint, value[field.name], place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise _refused(f"{place} is missing")
    return kind(**given)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    if kinds[-1] is Ellipsis:
        return tuple(read_as(kinds[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if len(kinds) != len(value):
        raise _wrong(where, f"a list of {len(kinds)}", value)
    pairs = zip(kinds, value, strict=True)
    return tuple(read_as(kind, item, f"{where}[{n}]") for n, (kind, item) in enumerate(pairs))


def _mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return {key: read_as(kind, item, f"{where}.{key}") for key, item in value.items()}


def _plain(kind: Any, value: Any, where: str) -> Any:
    if issubclass(kind, Enum):
        if value not in {member.value for member in kind}:
            raise _wrong(where, f"one of {', '.join(str(m.value) for m in kind)}", value)
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # `True` is no whole number here
        raise _wrong(
            where, {"str": "text", "bool": "true or false"}.get(kind.__name__, kind), value
        )
    return value


def _wrong(where: str, wanted: object, value: Any) -> WrongShape:
    said = wanted.__name__ if isinstance(wanted, type) else wanted
    return _refused(f"{where or 'the observation'} must be {said}, not {str(value)[:60]!r}")


def _refused(message: str) -> WrongShape:
    return WrongShape(message, hint="was it saved by another version of rigspec? observe again")
