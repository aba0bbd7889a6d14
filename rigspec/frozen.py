"""Dataclasses whose frozen ones are made fast: a check makes some 120 before it reads a spec.

The standard decorator compiles six methods for each class, a seventh of a whole check. Here a
frozen class has `__init__` compiled alone and shares the others. mypy sees the standard decorator,
and holds that no field is assigned to; at run time nothing looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    from dataclasses import dataclass as standard
    from dataclasses import fields
    from operator import attrgetter

    def dataclass(cls=None, **options):
        """The standard decorator; `frozen=True` and nothing else takes the shared methods."""
        return _made if options == {"frozen": True} else standard(cls, **options)

    def _made(cls):
        for name, method in _SHARED.items():
            if name not in vars(cls):
                setattr(cls, name, method)
        standard(cls, repr=False, eq=False)
        compared = [field.name for field in fields(cls) if field.compare]
        cls.__compared__ = attrgetter(*compared or ["__class__"])
        return cls

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__compared__(self) == self.__compared__(other)

    def _hash(self):
        return hash(self.__compared__(self))

    def _text(self):
        shown = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    _SHARED = {"__eq__": _equal, "__hash__": _hash, "__repr__": _text}
