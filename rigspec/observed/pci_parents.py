"""Who is above whom on the PCI bus, from the bus numbers that bridges lead to."""

from __future__ import annotations

from dataclasses import replace

from rigspec.observed.pci import Kind, PciFunction
from rigspec.observed.record import Reading, Unknown


def with_parents(functions: list[PciFunction]) -> tuple[PciFunction, ...]:
    """Parents from secondary bus numbers; a bus nobody leads to is a root only if it says so."""
    above = {
        f"{f.address.partition(':')[0]}:{f.secondary_bus:02x}": f
        for f in functions
        if isinstance(f.secondary_bus, int)
    }
    roots = {f.bus for f in functions if f.kind is Kind.ROOT_PORT or f.class_code == 0x0600}
    placed = []
    for function in functions:
        bridge = above.get(function.bus)
        parent: Reading[str] | None = bridge.address if bridge else None
        if bridge is None and function.bus not in roots:
            parent = Unknown("no bridge to this bus was printed", function.address)
        placed.append(replace(function, parent=parent))
    return tuple(placed)
