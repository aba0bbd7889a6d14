"""Verdicts as one HTML page without any outside resource, for desks, phones and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from rigspec.observed.record import Unknown, known
from rigspec.report.evidence import evidence
from rigspec.report.judged import Judged, sections
from rigspec.report.pcie_picture import picture
from rigspec.report.verdicts import MARKS, summary
from rigspec.verify.verdict import Outcome, Verdict

Hide = Callable[[str], str]

_HEADLINES = {
    0: "As planned.",
    1: "Not as planned.",
    3: "Nothing failed, but something could not be measured.",
}

_ESTIMATED = "The double line is the estimate for what runs there, without CUDA contexts."


@dataclass(frozen=True)
class Row:
    """One check on the page."""

    verdict: Verdict
    mark: str
    evidence: str


@dataclass(frozen=True)
class Bar:
    """One card's part of a scale, 0 to 100 %; `text` says the same in figures."""

    name: str
    percent: float
    text: str
    mark: float | None = None
    """Where an estimate stands on the same scale."""


def as_html(judged: Judged, hide: Hide) -> str:
    """The page; `hide` is applied to everything that does not come in as a verdict."""
    drawn = picture(judged.seen.tree, {card.slot: card.member for card in judged.seen.binding})
    rows = {name: _rows(part, judged, hide) for name, part in sections(judged.verdicts).items()}
    memory = tuple(_memory(judged))
    return _template().render(
        rig=judged.plan.rig,
        code=judged.exit_code,
        headline=_HEADLINES[judged.exit_code],
        summary=summary(judged.verdicts),
        simulated=judged.simulated,
        findings=_rows(judged.findings, judged, hide),
        # the picture is our own markup, its texts are escaped
        picture=None if isinstance(drawn, Unknown) else Markup(drawn),  # noqa: S704
        no_picture=hide(drawn.reason) if isinstance(drawn, Unknown) else "",
        memory=memory,
        memory_note=_ESTIMATED if any(bar.mark is not None for bar in memory) else "",
        watts=tuple(_watts(judged)),
        watts_sum=watts_sum(judged),
        sections=rows,
        passed={
            name: sum(r.verdict.outcome is Outcome.PASS for r in p) for name, p in rows.items()
        },
        header={name: hide(text) for name, text in judged.header.items()},
    )


def _rows(verdicts: tuple[Verdict, ...], judged: Judged, hide: Hide) -> tuple[Row, ...]:
    return tuple(Row(v, MARKS[v.outcome], hide(evidence(v, judged))) for v in verdicts)


def _memory(judged: Judged) -> Iterator[Bar]:
    """Memory in use by card, as nvidia-smi says, beside the estimate for what runs there."""
    for member in judged.plan.preflight.gpus:
        card = judged.seen.card(member.member)
        if isinstance(card, Unknown):
            continue
        used, total = known(card.memory_used_mib), known(card.memory_total_mib)
        if used is not None and total:
            gib = estimated_gib(judged, member.member)
            text = f"{used / 1024:.1f} of {total / 1024:.1f} GiB"
            said = "" if gib is None else f", estimated {gib:.1f}"
            mark = None if gib is None else min(100.0, 100 * gib * 1024 / total)
            yield Bar(member.member, 100 * used / total, text + said, mark)


def estimated_gib(judged: Judged, member: str) -> float | None:
    """What the services that answer are estimated to take of a card; None for unknown ones."""
    running = {name for name, said in judged.seen.answers.items() if known(said.models)}
    wanted = {s.name for s in judged.plan.services if s.name in running and member in s.gpus}
    found = {e.service: e.gib for e in judged.estimates if e.member == member}
    if not wanted or not wanted <= set(found):
        return None
    return sum(found[name] for name in wanted)


def _watts(judged: Judged) -> Iterator[Bar]:
    """Enforced limit by card, on the scale of what the card may draw by default."""
    planned = dict(judged.plan.power.limits_w)
    for member in judged.plan.preflight.gpus:
        card = judged.seen.card(member.member)
        if isinstance(card, Unknown):
            continue
        enforced, draw = known(card.power_enforced_w), known(card.power_draw_w)
        if enforced is not None:
            wanted = planned.get(member.member, member.power_default_w)
            now = f", draws {draw:.0f} W" if draw is not None else ""
            text = f"limit {enforced:.0f} W, planned {wanted} W{now}"
            yield Bar(member.member, min(100.0, 100 * enforced / member.power_default_w), text)


def watts_sum(judged: Judged) -> str:
    """`4 cards: limits 1400 W, planned 1400 W`; a card that does not answer is named."""
    members = judged.plan.preflight.gpus
    limits = dict(judged.plan.power.limits_w)
    planned = sum(limits.get(m.member, m.power_default_w) for m in members)
    read = {
        m.member: watts
        for m in members
        if not isinstance(card := judged.seen.card(m.member), Unknown)
        and (watts := known(card.power_enforced_w)) is not None
    }
    missing = [m.member for m in members if m.member not in read]
    lost = f"; unknown: {', '.join(missing)}" if missing else ""
    return f"{len(read)} cards: limits {sum(read.values()):.0f} W, planned {planned} W{lost}"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("verdicts.html.j2")
