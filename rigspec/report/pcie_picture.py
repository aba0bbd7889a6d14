"""The PCIe tree above the GPUs as inline SVG: side by side for desks, indented for phones.

A wire is as thick as it has lanes. A narrow one is also dashed, carries a triangle and says NARROW:
the picture must not need colour. Colours and fonts come from the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rigspec.report.fabric_tree import Box, BoxKind, Wire

BOX, GAP, ROW, LEAF = 172, 156, 50, 40
"""Side by side, pixels: width of a box, room for a wire and its words, a row, a GPU's height."""
WIDEST = 4
"""Columns that a desk shows unscaled; deeper trees are drawn indented only."""
NARROW, LINE, STEP, LEFT = 350, 46, 20, 14
"""Indented, pixels: a phone of 390 shows it unscaled."""


def pictures(boxes: Sequence[Box]) -> tuple[str, str]:
    """Side by side (empty when too deep) and indented."""
    columns = max((box.depth for box in boxes), default=0)
    wide = _side_by_side(boxes, columns) if columns <= WIDEST else ""
    return wide, _indented(boxes)


def _svg(kind: str, size: tuple[int, int], boxes: Sequence[Box], parts: Iterator[str]) -> str:
    every = [box for top in boxes for box in top.walk()]
    gpus = sum(box.kind is BoxKind.GPU for box in every)
    said = "; ".join(
        f"{box.name} {box.detail}".strip() + (f": {box.wire.text}" if box.wire else "")
        for box in every
    )
    return "\n".join([
        f'<svg class="pcie {kind}" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
        f'height="{size[1]}" role="img" aria-labelledby="{kind}-title {kind}-desc">',
        f'<title id="{kind}-title">PCIe tree: {gpus} GPU{"" if gpus == 1 else "s"} and what is '
        f'above</title><desc id="{kind}-desc">{escape(said)}</desc>',
        *parts,
        "</svg>",
    ])  # fmt: skip


def _side_by_side(boxes: Sequence[Box], columns: int) -> str:
    """Each box as high as all that hangs below it, so that every wire is level."""

    def draw() -> Iterator[str]:
        row = 0
        for box in boxes:
            yield from _spread(box, 0, row, columns)
            row += box.leaves

    height = ROW * sum(box.leaves for box in boxes) + 2
    return _svg("wide", (columns * BOX + (columns - 1) * GAP + 2, height), boxes, draw())


def _spread(box: Box, column: int, row: int, columns: int) -> Iterator[str]:
    x, right = 1 + column * (BOX + GAP), 1 + column * (BOX + GAP) + BOX
    high = ROW * box.leaves - (ROW - LEAF)
    top = row * ROW + (ROW - LEAF) // 2 + 1
    for child in box.below:
        # GPUs stand in the last column, however few switches are above them
        place = columns - 1 if child.kind is BoxKind.GPU else column + 1
        y = ROW * row + ROW * child.leaves // 2 + 1
        if child.wire:
            yield from _level(child.wire, right, 1 + place * (BOX + GAP), y)
        yield from _spread(child, place, row, columns)
        row += child.leaves
    yield (
        f'<rect class="box {box.kind} {_class(box.mark)}" x="{x}" y="{top}" width="{BOX}" '
        f'height="{high}" rx="5"/>'
    )
    yield from _words(box, x + 11, x + BOX - 9, top + high // 2)


def _words(box: Box, x: int, right: int, y: int) -> Iterator[str]:
    """Name and address in the middle of a box, its mark at the right of the shorter one."""
    beside_name = len(box.name) <= 10
    lift = -3 if box.detail else 4
    yield f'<text class="name" x="{x}" y="{y + lift}">{escape(_fit(box.name, 18))}</text>'
    if box.detail:
        detail = _fit(box.detail, 12 if box.mark and not beside_name else 18)
        yield f'<text class="note" x="{x}" y="{y + 13}">{escape(detail)}</text>'
    if box.mark:
        kind, below = _class(box.mark), -3 if beside_name else 13
        mark = escape(box.mark)
        yield f'<text class="name end {kind}" x="{right}" y="{y + below}">{mark}</text>'


def _level(wire: Wire, left: int, right: int, y: int) -> Iterator[str]:
    """A wire with its words above and below; the upper end's address for who points at it."""
    middle = (left + right) // 2
    title = f"<title>below {escape(wire.port)}</title>" if wire.port else ""
    yield f'<g>{title}<path class="{_stroke(wire)}" d="M{left} {y}H{right}"/></g>'
    sign = "▲ " if wire.narrow else ""
    label, note = escape(sign + _fit(wire.label, 20)), escape(_fit(wire.note, 20))
    bad = " bad" if wire.narrow else ""
    yield f'<text class="wire{bad}" x="{middle}" y="{y - 8}">{label}</text>'
    if note:
        yield f'<text class="wire note{bad}" x="{middle}" y="{y + 17}">{note}</text>'


def _fit(text: str, room: int) -> str:
    """As many letters as fit, the end kept (`main.12`); the whole stands in the description."""
    return text if len(text) <= room else f"{text[: room - 9]}…{text[-8:]}"


def _stroke(wire: Wire) -> str:
    """Class of a wire: its kind, and its thickness by lanes."""
    kind = "narrow" if wire.narrow else "link" if wire.lanes else "lost"
    lanes = max((n for n in (1, 2, 4, 8, 16) if n <= wire.lanes), default=0)
    return f"{kind} lanes{lanes}"


def _class(mark: str) -> str:
    return mark.lower()


def _indented(boxes: Sequence[Box]) -> str:
    rows: list[str] = []
    lines = 0

    def draw(box: Box, depth: int, above: int) -> None:
        nonlocal lines
        row, lines = lines, lines + 1
        rows.extend(_line(box, depth, row, above))
        for child in box.below:
            draw(child, depth + 1, row)

    for box in boxes:
        draw(box, 0, 0)
    return _svg("compact", (NARROW, LINE * lines + 2), boxes, iter(rows))


def _line(box: Box, depth: int, row: int, above: int) -> Iterator[str]:
    """Down from the box above, then across: the part across is the wire."""
    x, y = LEFT + depth * STEP, row * LINE + LINE // 2
    if box.wire:
        left, top = x - STEP, above * LINE + LINE // 2
        yield f'<path class="trunk" d="M{left} {top + 8}V{y}"/>'
        yield f'<path class="{_stroke(box.wire)}" d="M{left} {y}H{x}"/>'
    high = 18 if box.kind is BoxKind.GPU else 14
    shape = f'x="{x - 7}" y="{y - high // 2}" width="14" height="{high}"'
    yield f'<rect class="box {box.kind} {_class(box.mark)}" {shape} rx="2"/>'
    mark = f' <tspan class="{_class(box.mark)}">{escape(box.mark)}</tspan>' if box.mark else ""
    # bold letters are up to 8.5 pixels wide, capitals 10; the address takes 95
    left = NARROW - x - 14 - 95 - (10 * len(box.mark) + 8) * bool(box.mark)
    room = max(9, int(left / 8.5))
    name = f'<tspan class="name">{escape(_fit(box.name, room))}</tspan>{mark} {escape(box.detail)}'
    # one line is centred, two stand above and below
    yield f'<text x="{x + 14}" y="{y - (2 if box.wire else -4)}">{name}</text>'
    if box.wire:
        bad = " bad" if box.wire.narrow else ""
        said = escape(("▲ " if box.wire.narrow else "") + _fit(box.wire.text, 46 - 3 * depth))
        yield f'<text class="note{bad}" x="{x + 14}" y="{y + 13}">{said}</text>'
