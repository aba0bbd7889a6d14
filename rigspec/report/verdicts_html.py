"""Verdicts as one HTML page without any outside resource, for desks, phones and paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown
from rigspec.report.bars import Stack, cap_bars, memory_bars, power_stacks, watts_sum
from rigspec.report.evidence import evidence, seconds
from rigspec.report.fabric_tree import Named, fabric_tree
from rigspec.report.fabric_view import fabric_view
from rigspec.report.judged import (
    WORST_FIRST,
    Judged,
    check_and_subject,
    grouped,
    sections,
)
from rigspec.report.pair_matrix import HeatMap
from rigspec.report.pcie_picture import pictures
from rigspec.report.verdicts import MARKS, counted, summary
from rigspec.verify.verdict import Outcome, Verdict

Hide = Callable[[str], str]

_HEADLINES = {
    0: "as planned",
    1: "not as planned",
    3: "nothing failed, but something could not be measured",
}
_ON_TOP = ("observed", "kernel", "driver", "rigspec")
"""Of the header, what stands below the title; all of it is at the end."""


@dataclass(frozen=True)
class Row:
    """One check on the page."""

    verdict: Verdict
    mark: str
    evidence: str
    seconds: float | None


def as_html(judged: Judged, hide: Hide) -> str:
    """The page; `hide` is applied to everything that does not come in as a verdict."""
    rows = {name: _rows(part, judged, hide) for name, part in sections(judged.verdicts).items()}
    header = {name: hide(text) for name, text in judged.header.items()}
    stacks = power_stacks(judged)
    return _template().render(
        rig=judged.plan.rig,
        headline=_HEADLINES[judged.exit_code],
        summary=summary(judged.verdicts),
        counts=_counts(judged),
        about=[f"{name} {_moment(header[name])}" for name in _ON_TOP if name in header],
        simulated=judged.simulated,
        findings=[
            (_rows((one.lead,), judged, hide)[0], one.same) for one in grouped(judged.findings)
        ],
        sections=rows,
        counted={name: counted(r.verdict for r in part) for name, part in rows.items()},
        header=header,
        cards=[{k: hide(v) for k, v in asdict(card).items()} for card in judged.cards],
        **_tree(judged, hide),
        **_fabric(judged, hide),
        memory=tuple(memory_bars(judged)),
        caps=tuple(cap_bars(judged)),
        stacks=[_stack(stack) for stack in stacks],
        assumed=any(part.planned for stack in stacks for part in stack.parts),
        watts_sum=watts_sum(judged),
    )


def _moment(text: str) -> str:
    """`2026-11-24 21:00 UTC` of a time of day in UTC; anything else as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\+00:00", text)
    return f"{found[1]} {found[2]} UTC" if found else text


def _rows(verdicts: tuple[Verdict, ...], judged: Judged, hide: Hide) -> tuple[Row, ...]:
    return tuple(
        Row(v, MARKS[v.outcome], evidence(v, judged, hide), seconds(v, judged)) for v in verdicts
    )


def _counts(judged: Judged) -> list[tuple[str, str, int]]:
    """Class, word and number of every outcome, worst first."""
    order = (*WORST_FIRST, Outcome.PASS, Outcome.NOT_APPLICABLE)
    return [(o.value, MARKS[o], judged.counts[o]) for o in order]


def _tree(judged: Judged, hide: Hide) -> dict[str, Any]:
    drawn = fabric_tree(judged.seen.tree, _named(judged))
    if isinstance(drawn, Unknown):
        nothing = {"wide_picture": "", "compact_picture": "", "absent": ()}
        return nothing | {"no_picture": hide(drawn.reason)}
    # the pictures are our own markup, their texts are escaped
    wide, compact = (Markup(text) for text in pictures(drawn))  # noqa: S704
    absent = [
        f"{card.member} (was at {card.slot})"
        for card in judged.cards
        if isinstance(judged.seen.function(card.slot), Unknown)
    ]
    return {"wide_picture": wide, "compact_picture": compact, "absent": absent, "no_picture": ""}


def _named(judged: Judged) -> dict[str, Named]:
    """By PCI address: member, planned lanes, and the worst of its checks that needs a hand."""
    plans = {member.member: member.link_width for member in judged.plan.preflight.gpus}
    worst: dict[str, str] = {}
    for verdict in judged.findings:
        worst.setdefault(check_and_subject(verdict.id)[1], MARKS[verdict.outcome])
    return {
        card.slot: Named(card.member, plans.get(card.member), worst.get(card.member, ""))
        for card in judged.cards
    }


def _fabric(judged: Judged, hide: Hide) -> dict[str, Any]:
    view = fabric_view(judged)
    tables = [
        replace(table, rows=tuple(tuple(hide(cell) for cell in row) for row in table.rows))
        for table in view.tables
    ]
    maps = [_hidden(heat_map, hide) for heat_map in view.maps]
    return {
        "heat_maps": maps,
        "fabric_note": hide(view.note),
        "fabric_tables": tables,
    }


def _hidden(heat_map: HeatMap, hide: Hide) -> HeatMap:
    """Cards of no plan stand there by their UUID."""
    return replace(heat_map, names=tuple(hide(name) for name in heat_map.names))


def _stack(stack: Stack) -> dict[str, Any]:
    """Figures in words; a name goes where its part is wide enough for it."""
    return {
        "name": stack.name,
        "total_text": f"{stack.total_w:.0f} W",
        "limit_text": stack.limit_text,
        "limit_w": f"{stack.limit_w:.0f} W",
        "limit_percent": stack.limit_percent,
        "over": f"{stack.over_w:.0f} W" if stack.over_w else "",
        "spikes": f"{stack.spikes_w:.0f} W" if stack.spikes_w else "",
        "spikes_percent": stack.spikes_percent,
        "spikes_over": stack.spikes_over,
        "parts": list(_parts(stack)),
    }


def _parts(stack: Stack) -> Iterator[dict[str, Any]]:
    for part in stack.parts:
        watts = f"{part.watts:.0f}" + "?" * part.planned
        words = (f"{part.name} {watts}", watts)
        room = part.percent * 0.5  # letters on a phone: the bar is 350 pixels, a letter 7
        text = next((text for text in words if len(text) <= room), "")
        yield {"percent": part.percent, "text": text, "title": words[0]}


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("verdicts.html.j2")


def _code(text: str) -> Markup:
    """A sentence with its commands as such: `` `rigspec verify` ``."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a tick without its pair belongs to the text
        return escape(text)
    forms = (Markup("{}"), Markup("<code>{}</code>"))
    return Markup("").join(forms[n % 2].format(part) for n, part in enumerate(parts))
