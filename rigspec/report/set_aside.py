"""llama.cpp's cache as an owner reads it: exactly what its slots need, whatever else is free; and
what other services hold of a card."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.sizing.amount import band
from rigspec.sizing.cache_type import cache_type
from rigspec.sizing.llamacpp import is_on_host
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.memory import asked_context
from rigspec.sizing.service import Sized
from rigspec.sizing.settings import Engine
from rigspec.sizing.weights import host_gib
from rigspec.units import count


def sets_aside(sized: Sized) -> bool:
    """Whether the engine takes a cache of a known size, and leaves the rest of the card alone."""
    return sized.settings.engine is Engine.LLAMA_CPP and sized.memory.needed is not None


def cache_lines(sized: Sized) -> Iterator[str]:
    """The cache, and what stays free beside it or is missing."""
    memory, needed = sized.memory, sized.memory.needed
    if needed is None:
        return
    name = f"KV cache, {cache_type(sized.facts, sized.settings).name}"
    yield f"    = {name:<30} {band(needed, 1)} GiB, set aside at start {_slots(sized)}"
    if memory.largest_context:
        guess = "perhaps " if memory.doubts else ""
        yield f"      the longest expected to fit is {guess}{memory.largest_context:,}"
    yield from neighbour_lines(sized)
    rest = memory.available - needed
    word, left = ("stays free", rest) if rest.value >= 0 else ("missing", -rest)
    yield f"    · {word:<30} {band(left, 1)} GiB"


def neighbour_lines(sized: Sized) -> Iterator[str]:
    """What services hold of the card that may run beside it."""
    for each in sized.neighbours:
        more = "" if each.bounded else ", and a cache that nothing bounds"
        held = f"{each.gib:.1f} GiB{more}" if each.gib else "nobody knows how much: it is not sized"
        yield f"    · {f'held by `{each.name}`':<30} {held}"


def host_lines(sized: Sized) -> Iterator[str]:
    """What lies in host memory instead of on a card."""
    held = host_gib(sized.facts, sized.settings)
    if held is None:
        return
    experts = [m for m in matrices(sized.facts) if m.part is Part.EXPERTS and not m.plain]
    there = [m for m in experts if is_on_host(m, sized.settings)]
    moved = {m.layer for m in there}
    whole = len(there) == sum(m.layer in moved for m in experts)
    of = f"experts of {len(moved)} of {len({m.layer for m in experts})} layers"
    which = of if whole else f"a part of the {of}"
    yield f"  {'in host memory':<34} {band(held, 1)} GiB, {which}"


def _slots(sized: Sized) -> str:
    settings = sized.settings
    context = asked_context(sized.facts, settings) or 0
    if settings.slots < settings.parallel:
        return f"and shared: {count(settings.parallel, 'slot')}, {context:,} tokens in all"
    return f"for {count(settings.slots, 'slot')} of {context:,} tokens"
