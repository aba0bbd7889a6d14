"""The links between the cards of a group: a matrix, then what each kind of path gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rigspec.report.words import band
from rigspec.sizing.links import Label, LinkPath

MOST_COLUMNS = 8
"""Groups up to this size show GB/s in the matrix; larger ones only the label."""

WORDS = {
    Label.PIX: "one switch",
    Label.PXB: "several switches",
    Label.PHB: "through the CPU (NODE where the ports have different host bridges)",
    Label.SYS: "between sockets",
}


def link_lines(paths: Sequence[LinkPath], gpus: Sequence[str]) -> Iterator[str]:
    """Matrix, rates by kind, bottlenecks, shared uplinks."""
    if not paths:
        return
    way = "peer copies" if paths[0].peer else "no peer copies: through host memory"
    rates = ", GB/s one way" if len(gpus) <= MOST_COLUMNS else ""
    yield f"  links{rates} ({way})"
    yield from (f"    {line}" for line in _matrix(paths, gpus))
    for label in dict.fromkeys(path.label for path in paths):
        yield from _kind(label, [path for path in paths if path.label is label])
    yield from _bottlenecks(paths)
    yield from _shared(paths)


def _matrix(paths: Sequence[LinkPath], gpus: Sequence[str]) -> Iterator[str]:
    found = {(path.first, path.second): path for path in paths}
    shown = list(gpus[1:])
    width = max(len(gpu) for gpu in gpus)
    cell = max(width, 7 if len(gpus) <= MOST_COLUMNS else 3)
    yield " " * width + "".join(f"  {gpu:<{cell}}" for gpu in shown).rstrip()
    for i, row in enumerate(gpus[:-1]):
        cells = [
            _cell(found.get((row, other)), len(gpus)) if j >= i else ""
            for j, other in enumerate(shown)
        ]
        yield (f"{row:<{width}}" + "".join(f"  {text:<{cell}}" for text in cells)).rstrip()


def _cell(path: LinkPath | None, size: int) -> str:
    if path is None:
        return "?"
    label = path.label.value
    return f"{label} {path.one_way_gb_s.value:.0f}" if size <= MOST_COLUMNS else label


def _kind(label: Label, paths: Sequence[LinkPath]) -> Iterator[str]:
    slowest = min(paths, key=lambda path: path.one_way_gb_s.value)
    digits = 2 if slowest.peer else 0
    yield (
        f"    {label.value} {band(slowest.one_way_gb_s, 1)} GB/s one way, "
        f"{band(slowest.two_way_gb_s, 1)} both ways, {band(slowest.latency_us, digits)} µs"
    )
    yield f"      {WORDS[label]}"


def _bottlenecks(paths: Sequence[LinkPath]) -> Iterator[str]:
    """Every narrow hop once, with the pairs that meet it."""
    narrow: dict[tuple[str, float], list[str]] = {}
    for path in paths:
        if path.narrow:
            slowest = path.bottleneck
            at = [hop.name for hop in path.hops if hop.one_way_gb_s == slowest.one_way_gb_s]
            where = narrow.setdefault((slowest.form, slowest.one_way_gb_s), [])
            where += [name for name in at if name not in where]
    for (form, rate), names in narrow.items():
        best = max((path.best_gb_s or 0.0 for path in paths), default=0.0)
        could = f" (the cards could do {best:.1f})" if best > rate else ""
        yield f"    bottleneck: {form}, {rate:.1f} GB/s in theory{could}, at {', '.join(names)}"


def _shared(paths: Sequence[LinkPath]) -> Iterator[str]:
    shared: dict[str, list[str]] = {}
    for path in paths:
        for hop in path.hops[1:-1]:
            pairs = shared.setdefault(f"{hop.name} ({hop.form})", [])
            pairs += [gpu for gpu in (path.first, path.second) if gpu not in pairs]
    for uplink, gpus in shared.items():
        if len(gpus) > 2:
            yield f"    {uplink} is shared by paths between {', '.join(gpus)}"
