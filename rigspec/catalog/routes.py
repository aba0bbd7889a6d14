"""Routes of the engines: what somebody without a key could do there, and how to ask safely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import cast

from rigspec.catalog.data import Row, load_table
from rigspec.frozen import dataclass


class RouteKind(StrEnum):
    """What a route gives to whoever reaches it."""

    RUNS = "runs"
    CHANGES = "changes"
    TELLS = "tells"
    HARMLESS = "harmless"


class Asking(StrEnum):
    """How a route is asked so that nothing is executed."""

    GET = "get"
    BROKEN = "broken"
    """POST with a body that is no JSON."""
    MISMATCH = "mismatch"
    """A method that the route does not have."""


@dataclass(frozen=True)
class Route:
    """One route of an engine."""

    path: str
    kind: RouteKind
    asking: Asking

    @property
    def method(self) -> str:
        """The HTTP method that it is asked with."""
        return {Asking.GET: "GET", Asking.BROKEN: "POST", Asking.MISMATCH: "PATCH"}[self.asking]


@lru_cache(maxsize=4)
def routes_of(engine: str) -> tuple[Route, ...]:
    """Every route the catalog knows of `vllm`, `sglang` or `llama_cpp`."""
    return tuple(_routes(load_table("routes")[engine]))


def _routes(row: Row) -> Iterator[Route]:
    row.sources(tuple(RouteKind), {})  # refuses a row without them
    for kind in RouteKind:
        for asking, paths in cast(Mapping[str, list[str]], row.mapping(kind)).items():
            yield from (Route(path, kind, Asking(asking)) for path in paths)
