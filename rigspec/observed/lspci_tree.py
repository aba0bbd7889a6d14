"""`lspci -t` and `lspci -tv`: addresses, parents and names, read off the drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from rigspec.observed.dressing import bare_lines
from rigspec.observed.pci import Kind, PciFunction, PciTree
from rigspec.observed.record import NOT_ASKED

_TOKEN = re.compile(
    r"-\[(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<root>[0-9a-f]{2})(?:-[0-9a-f]{2})?\]"
    r"|(?P<dev>[01][0-9a-f])\.(?P<fn>[0-7])(?:-\[(?P<bus>[0-9a-f]{2})(?:-[0-9a-f]{2})?\])?"
)
_NAME = re.compile(r"(?<=[01][0-9a-f]\.[0-7])  ?(?=\S)")
_IS_GPU = re.compile(r"NVIDIA Corporation (?!.*(?:Audio|USB|NVSwitch|Bridge|Ethernet|SATA))")
"""`-tv` names no class: what is none of these is a display or 3D controller of NVIDIA's."""

_DRAWN = re.compile(r"[ |]*[-+\\]")
"""A line of the drawing begins with its branch."""

_Level = tuple[int, str, str | None]
"""Column where a bus begins, the bus as `0000:03`, the bridge above it."""


def parse_lspci_tree(text: str | Iterable[str]) -> PciTree:
    """Functions in the order of the drawing; what the drawing does not show is unknown."""
    functions: list[PciFunction] = []
    levels: list[_Level] = []
    for line in filter(_DRAWN.match, bare_lines(text)):
        drawing, *name = _NAME.split(line, maxsplit=1)
        for token in _TOKEN.finditer(drawing):
            if token["root"]:
                bus = f"{int(token['domain'] or '0', 16):04x}:{token['root']}"
                levels = [(token.start(), bus, None)]
                continue
            levels = [level for level in levels if level[0] < token.start()]
            if levels:
                functions.append(_place(token, levels, name[0].strip() if name else ""))
    return PciTree(tuple(_with_kinds(functions)))


def _with_kinds(functions: Iterable[PciFunction]) -> list[PciFunction]:
    """Ports by their place: a switch is a bridge with nothing but bridges below it.

    A bridge to conventional PCI stands in the same place, with devices below it.
    """
    below: dict[str, list[PciFunction]] = {}
    kinds: dict[str, Kind] = {}
    found = list(functions)
    for function in found:
        below.setdefault(str(function.parent), []).append(function)
    for function in filter(lambda each: each.is_bridge, found):
        above = kinds.get(str(function.parent), Kind.UNKNOWN)
        children = below.get(function.address, [])
        if function.parent is None:
            kinds[function.address] = Kind.ROOT_PORT
        elif above is Kind.UPSTREAM:
            kinds[function.address] = Kind.DOWNSTREAM
        elif above.is_port() and children and all(child.is_bridge for child in children):
            kinds[function.address] = Kind.UPSTREAM
    return [replace(each, kind=kinds.get(each.address, each.kind)) for each in found]


def _place(token: re.Match[str], levels: list[_Level], name: str) -> PciFunction:
    """The function of a token; a bridge opens a level."""
    _, bus, bridge = levels[-1]
    address = f"{bus}:{token['dev']}.{token['fn']}"
    secondary = int(token["bus"], 16) if token["bus"] else None
    if token["bus"]:
        levels.append((token.start(), f"{bus.partition(':')[0]}:{token['bus']}", address))
    return PciFunction(
        address,
        parent=bridge,
        secondary_bus=secondary,
        class_code=0x0604 if token["bus"] else 0x0300 if _IS_GPU.match(name) else NOT_ASKED,
        description="" if token["bus"] else name,
    )
