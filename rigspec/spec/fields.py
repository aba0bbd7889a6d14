"""The format as data: which keys a section has, and where a key belongs.

Read from the models themselves, so that messages, did-you-mean and `docs/spec.md` cannot fall
behind them.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from rigspec.finding import Path
from rigspec.frozen import dataclass
from rigspec.spec.base import Section
from rigspec.spec.rig import Rig


@dataclass(frozen=True)
class Field:
    """One key of the format."""

    path: str
    """As an owner thinks of it: `gpus.NAME.sku`, `pcie.switches[].name`."""
    name: str
    info: FieldInfo
    section: type[Section]

    @property
    def leaf(self) -> Any:
        """Its type without `Annotated` and `None`."""
        return plain_type(self.info.annotation)


def plain_type(annotation: Any) -> Any:
    """A type without `Annotated[…]`, `… | None`."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            kept = [a for a in get_args(annotation) if a is not type(None)]
            if len(kept) != 1:
                return annotation
            annotation = kept[0]
        else:
            return annotation


def type_at(path: Path) -> Any:
    """The type of the value at a path; None where the format has no such place."""
    here: Any = Rig
    for element in path:
        here = _inside(here, element)
        if here is None:
            return None
    return here


def section_at(path: Path) -> type[Section] | None:
    """The section at a path; None when there is none, or the path leads to a plain value."""
    here = type_at(path)
    return here if is_section(here) else None


def is_section(kind: Any) -> bool:
    """Whether a type is one of our sections."""
    return isinstance(kind, type) and issubclass(kind, Section)


def _inside(kind: Any, element: str | int) -> Any:
    if is_section(kind):
        info = kind.model_fields.get(str(element))
        return plain_type(info.annotation) if info else None
    origin, args = get_origin(kind), get_args(kind)
    if origin in (dict, tuple, list) and args:
        return plain_type(args[1] if origin is dict else args[0])
    return None


@cache
def all_fields() -> tuple[Field, ...]:
    """Every key of the format, sections in the order of the models, recursion cut at one level."""
    return tuple(_fields(Rig, "", ()))


def _fields(section: type[Section], prefix: str, above: tuple[Any, ...]) -> Iterator[Field]:
    for name, info in section.model_fields.items():
        field = Field(f"{prefix}{name}", name, info, section)
        yield field
        kind, suffix = _element(field.leaf)
        if is_section(kind) and kind is not section and kind not in above:
            yield from _fields(kind, f"{field.path}{suffix}.", (*above, section))


def _element(kind: Any) -> tuple[Any, str]:
    """What a field holds in the end, and how its path goes on."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is dict:
        return plain_type(args[1]), ".NAME"
    if origin is tuple:
        return plain_type(args[0]), "[]"
    return kind, ""
