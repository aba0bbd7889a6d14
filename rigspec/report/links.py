"""The links between the cards of a group: a matrix, then what each kind of path gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rigspec.report.words import spans
from rigspec.sizing.amount import band
from rigspec.sizing.links import Label, LinkPath

MOST_COLUMNS = 8
"""Groups up to this size show GB/s card by card; larger ones the label, cards alike in one row."""

WORDS = {
    Label.PIX: "one switch",
    Label.PXB: "several switches",
    Label.PHB: "through the CPU (NODE where the ports have different host bridges)",
    Label.SYS: "between sockets",
}


def link_lines(
    paths: Sequence[LinkPath], gpus: Sequence[str], columns: int | None = None
) -> Iterator[str]:
    """Matrix (side by side as much of it as a terminal holds), rates by kind, bottlenecks, shared
    uplinks.
    """
    if not paths:
        return
    way = "peer copies" if paths[0].peer else "no peer copies: through host memory"
    rates = ", GB/s one way" if len(gpus) <= MOST_COLUMNS else ""
    yield f"  links{rates} ({way})"
    room = None if columns is None else columns - len("    ")
    yield from (f"    {line}" for line in _matrix(paths, gpus, room))
    yield from _nvlinks([path for path in paths if path.nvlink])
    for label in dict.fromkeys(path.label for path in paths):
        yield from _kind(label, [path for path in paths if path.label is label])
    yield from _bottlenecks(paths)
    yield from _shared(paths)


def _matrix(paths: Sequence[LinkPath], gpus: Sequence[str], room: int | None) -> Iterator[str]:
    """Half of a table: cards by cards, or where there are many, one row for those alike."""
    found = {frozenset((path.first, path.second)): path for path in paths}
    alike = [[gpu] for gpu in gpus] if len(gpus) <= MOST_COLUMNS else _alike(found, gpus)
    names = [spans(block) for block in alike]
    many = len(alike) < len(gpus)  # then what lies within a row is shown, too
    columns, rows = (names, alike) if many else (names[1:], alike[:-1])
    width = max(map(len, names))
    cell = max(width, 7 if len(gpus) <= MOST_COLUMNS else 3)
    table = [("", columns)]
    for at, row in enumerate(rows):
        later = alike[at:] if many else alike[at + 1 :]
        cells = [""] * at + [_cell(_between(found, row, b), len(gpus)) for b in later]
        table.append((names[at], cells))
    step = len(columns) if room is None else max(1, (room - width) // (cell + 2))
    for start in range(0, len(columns), step):
        for name, cells in table:
            shown = "".join(f"  {text:<{cell}}" for text in cells[start : start + step]).rstrip()
            yield from (f"{name:<{width}}{shown}",) if shown else ()


def _alike(found: Mapping[frozenset[str], LinkPath], gpus: Sequence[str]) -> list[list[str]]:
    """Cards that reach every third card by the same kind of path, in order."""
    blocks: list[list[str]] = []
    for gpu in gpus:
        for block in blocks:
            others = [other for other in gpus if other not in {gpu, block[0]}]
            if all(_label(found, gpu, other) == _label(found, block[0], other) for other in others):
                block.append(gpu)
                break
        else:
            blocks.append([gpu])
    return blocks


def _label(found: Mapping[frozenset[str], LinkPath], one: str, other: str) -> str | None:
    path = found.get(frozenset((one, other)))
    return path.topo if path else None


def _between(
    found: Mapping[frozenset[str], LinkPath], row: Sequence[str], column: Sequence[str]
) -> LinkPath | None:
    """A path from one block to the other; within a block of one card there is none."""
    pairs = (frozenset((a, b)) for a in row for b in column if a != b)
    return next((found[pair] for pair in pairs if pair in found), None)


def _cell(path: LinkPath | None, size: int) -> str:
    if path is None:
        return "?" if size <= MOST_COLUMNS else "-"
    if path.nvlink or size > MOST_COLUMNS:  # the rates are those of PCIe
        return path.topo
    rate = path.one_way_gb_s.value
    return f"{path.label.value} {rate:.{0 if rate >= 10 else 1}f}"


def _nvlinks(paths: Sequence[LinkPath]) -> Iterator[str]:
    """What `NV` stands for, and which way lies below it."""
    for bridged, joins in ((True, "bridge joins the two"), (False, "switch joins these cards")):
        found = [path for path in paths if path.bridged is bridged]
        words = ", ".join(dict.fromkeys(path.nvlink for path in found))
        below = ", ".join(dict.fromkeys(path.label.value for path in found))
        if found:
            yield f"    {words} an NVLink {joins}; the PCIe way below it is {below}"


def _kind(label: Label, paths: Sequence[LinkPath]) -> Iterator[str]:
    """The rates of one kind of path, each that the table shows, then what the kind is."""
    rates = {path.one_way_gb_s.value: path for path in paths}
    for path in (rates[rate] for rate in sorted(rates)):
        digits = 2 if path.peer else 0
        yield (
            f"    {label.value} {band(path.one_way_gb_s, 1)} GB/s one way, "
            f"{band(path.two_way_gb_s, 1)} both ways, {band(path.latency_us, digits)} µs"
        )
    climbs = label in (Label.PIX, Label.PXB) and not all(path.peer for path in paths)
    yield f"      {WORDS[label]}{', up to the CPU and down again' if climbs else ''}"


def _bottlenecks(paths: Sequence[LinkPath]) -> Iterator[str]:
    """Every narrow hop once, with the pairs that meet it."""
    narrow: dict[tuple[str, float], list[str]] = {}
    for path in paths:
        if path.narrow:
            slowest = path.bottleneck
            at = [hop.name for hop in path.hops if hop.one_way_gb_s == slowest.one_way_gb_s]
            where = narrow.setdefault((slowest.form, slowest.one_way_gb_s), [])
            where += [name for name in dict.fromkeys(at) if name not in where]
    for (form, rate), names in narrow.items():
        best = max((path.best_gb_s or 0.0 for path in paths), default=0.0)
        could = f" (the cards could do {best:.1f})" if best > rate else ""
        yield f"    bottleneck: {form}, {rate:.1f} GB/s in theory{could}, at {spans(names)}"


def _shared(paths: Sequence[LinkPath]) -> Iterator[str]:
    """Uplinks that more than one pair crosses; those that the same cards share are one line."""
    shared: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        for hop in path.hops[1:-1]:
            pairs = shared.setdefault((hop.name, hop.form), [])
            pairs += [gpu for gpu in (path.first, path.second) if gpu not in pairs]
    alike: dict[tuple[str, str], list[str]] = {}
    for (uplink, form), gpus in shared.items():
        if len(gpus) > 2:
            alike.setdefault((form, spans(gpus)), []).append(uplink)
    for (form, between), uplinks in alike.items():
        each = "is" if len(uplinks) == 1 else "are each"
        yield f"    {spans(uplinks)} ({form}) {each} shared by paths between {between}"
