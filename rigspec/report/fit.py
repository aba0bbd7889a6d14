"""The answer of `rigspec fit`: one question on one screen, or a table of contexts and TP sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rigspec.report.fit_question import Question
from rigspec.report.sizing import VERDICTS, service_lines, state_lines, unfit, warnings_of
from rigspec.report.sizing_json import amount, service_record, states_record
from rigspec.report.table import as_table
from rigspec.report.words import screen
from rigspec.sizing.accepted import is_beyond as is_beyond
from rigspec.sizing.all_reduce import NETWORK, Link
from rigspec.sizing.amount import band
from rigspec.sizing.cards import Card
from rigspec.sizing.fit import FitRow, fit_table
from rigspec.sizing.remedies import Remedy, beyond_and_too_large, remedies
from rigspec.sizing.remedy import given, how_surely
from rigspec.sizing.service import Sized, sized, usual_link, usual_slot
from rigspec.sizing.settings import Engine
from rigspec.sizing.unknown import doubts_of
from rigspec.sizing.verdict import Verdict
from rigspec.units import tenths_of


def single_answer(
    question: Question, *, as_json: bool, columns: int | None = None
) -> tuple[bool, str]:
    """Whether it may fit, and the answer for one context length."""
    asked = sized(question.facts.name, question.facts, question.cards, question.settings)
    own = question.warnings
    if as_json:
        record = answer_record(asked)
        record["warnings"] += own
        return fits(asked), json.dumps(record, indent=2, ensure_ascii=False)
    return fits(asked), answer_text(asked, columns, own)


def table_answer(
    question: Question, context: int | None, *, as_json: bool, columns: int | None = None
) -> str:
    """The table for every TP size up to the number of cards, or for the one that was asked."""
    card, only, most = question.cards[0], question.only, len(question.cards)
    link = usual_link(question.cards)
    rows = fit_table(
        question.facts, card, question.settings, count=len(question.cards), asked=context,
        only=question.only, link=link,
    )  # fmt: skip
    engine = question.settings.engine
    said = [*question.warnings, *unfit(question.facts, engine)]
    doubted = doubts_of(question.facts)
    if as_json:
        common = {"engine": engine.value, "warnings": said, "doubts": list(doubted)}
        records = [common | record for record in table_records(rows)]
        return json.dumps(records, indent=2, ensure_ascii=False)
    cards = f"up to {most}" if only is None else f"{only} of {most}" if only < most else f"{most}"
    title = f"{question.facts.name} on {cards} × {card.name}, {engine.label}"
    head = (
        title,
        "figures in parentheses are the expected band",
        *(f"warning: {sentence}" for sentence in said),
    )
    unclear = (f"not understood: {doubt}: the figures are bounds" for doubt in doubted)
    sizes = [row.tensor_parallel for row in rows if row.tensor_parallel > 1]
    assumed = _assumed(question.cards, link, (min(sizes), max(sizes))) if sizes else ()
    aside = engine is Engine.LLAMA_CPP
    short = aside and question.facts.has_experts and any(row.verdict is Verdict.NO for row in rows)
    spare = ("experts may lie in host memory instead: with `--context` it says how many",)
    above = (*head, *assumed, *(spare if short else ()), *unclear)
    return table_text("\n".join(above), rows, set_aside=aside, columns=columns)


def answer_text(found: Sized, columns: int | None = None, own: Iterable[str] = ()) -> str:
    """One service, and what would make it fit when it does not surely; `own`: more warnings."""
    warned = (f"  warning: {sentence}" for sentence in (*_idle(found), *own))
    ranks = (found.settings.tensor_parallel,)
    assumed = (f"  {line}" for line in _assumed(found.cards, found.link, ranks))
    lines = [*service_lines(found, columns), *warned, *assumed, *_ways_out(found)]
    return screen("\n".join(lines), columns)


def fits(sized: Sized) -> bool:
    """Whether it may fit: neither refused nor certainly too large."""
    return not sized.memory.refused and sized.memory.boots is not Verdict.NO


def _idle(sized: Sized) -> Iterator[str]:
    """Cards of `--count` that `--tp` leaves without a rank."""
    cards, ranks = len(sized.cards), sized.settings.ranks
    if cards > ranks:
        yield f"{cards - ranks} of the {cards} cards stay idle: the model is spread over {ranks}"


def _assumed(cards: Sequence[Card], link: Link, sizes: Sequence[int]) -> Iterator[str]:
    """What is taken to lie between the cards, of which `sizes` work together."""
    if len(cards) < 2:
        return
    if link == NETWORK:
        each = dict.fromkeys(f"{link.all_reduce_us(0.0, size):.0f}" for size in sizes)
        yield (
            "assumed: one card per machine and RoCE between them, "
            f"{link.bandwidth_gb_s:.0f} GB/s, {'–'.join(each)} µs per all-reduce "
            f"(sockets: {link.stall_us:.0f} µs more, in the low end)"
        )
        return
    slot = usual_slot(tuple(cards))
    peers = f"peer copies over PCIe {slot.generation} x{slot.width}"
    way = peers if cards[0].peer_access else "copies through host memory"
    way = "NVLink" if cards[0].nvlink else way
    yield f"assumed: {way}; a rig spec says what lies between the cards"


def _ways_out(sized: Sized) -> Iterator[str]:
    if _is_settled(sized):
        return
    found = _remedies(sized)
    own = beyond_and_too_large(sized.facts, sized.cards, sized.settings)
    also = f"{own:,} tokens do not fit either; " if own else ""
    heading = f"what {_PROMISED[how_surely(found)]}:" if found else "no single change makes it fit"
    yield f"  {also}{heading}"
    yield from (f"    {_said(remedy)}" for remedy in found)
    own_words = [flag for key, flag in _FLAGS.items() if any(key in each.write for each in found)]
    if own_words:
        yield f"    (keys of a rig spec; of this command: {', '.join(own_words)})"


_PROMISED = {"fits": "would fit", "fits or may fit": "would or may fit", "may fit": "may fit"}
_FLAGS = {
    "context_length": "--context", "kv_cache_dtype": "--kv-dtype", "max_sequences": "--sequences",
    "gpu_memory_fraction": "--fraction", "tensor_parallel_size": "--tp",
    "decode_context_parallel_size": "--dcp", "such GPUs": "--count",
}  # fmt: skip


def _remedies(sized: Sized) -> tuple[Remedy, ...]:
    if _is_settled(sized):
        return ()
    return remedies(sized.facts, sized.cards, sized.settings)


def _is_settled(sized: Sized) -> bool:
    """Whether it fits as it is, but for what no change of its settings would cure."""
    memory = sized.memory
    stateless = memory.states is None or memory.states.surely
    fits = memory.verdict is Verdict.YES or sized.only_unknown
    return fits and not memory.refusals and stateless


def _said(remedy: Remedy) -> str:
    return f"{remedy.name}: {remedy.write} ({given(remedy)})"


def answer_record(sized: Sized) -> dict[str, Any]:
    """The same as data."""
    return service_record(sized) | {
        "warnings": [*warnings_of(sized), *_idle(sized)],
        "remedies": [asdict(remedy) for remedy in _remedies(sized)],
    }


def table_text(
    title: str, rows: Sequence[FitRow], *, set_aside: bool = False, columns: int | None = None
) -> str:
    """A line per tensor-parallel size and context."""
    refused: dict[str, dict[int, None]] = {}
    doubted: dict[str, dict[int, None]] = {}
    for row in rows:
        if row.refused:
            refused.setdefault(row.refused, {})[row.tensor_parallel] = None
        elif row.doubted:
            doubted.setdefault(row.doubted, {})[row.tensor_parallel] = None
    shown = [_line(row, set_aside=set_aside) for row in rows if not row.refused]
    lines = [title, as_table(shown, columns)]
    word = "cards" if set_aside else "TP"
    for said, reasons in (("refused", refused), ("may be refused", doubted)):
        for reason, sizes in reasons.items():
            lines.append(f"{word} {', '.join(map(str, sizes))}: {said}, {reason}")
    lines += _states(row for row in rows if not row.refused)
    return screen("\n".join(line for line in lines if line), columns)


def _states(rows: Iterable[FitRow]) -> Iterator[str]:
    """Once per TP size: the room for states is the same at every context."""
    for size, room in {row.tensor_parallel: row.states for row in rows if row.states}.items():
        said = list(state_lines(room))
        yield from ((f"TP {size}:", *said) if said else ())


def _line(row: FitRow, *, set_aside: bool) -> dict[str, object]:
    runs_not = row.verdict is Verdict.NO
    return {
        "cards" if set_aside else "TP": row.tensor_parallel,
        "context": f"{row.context:,}",
        "": VERDICTS[row.verdict],
        "weights GiB": band(row.weights_gib, 1),
        **(_set_aside(row) if set_aside else _pool(row)),
        "tok/s, half full": ""
        if runs_not
        else band(row.decode_tok_s, 0)
        if row.decode_tok_s
        else None,
        "bound by": "" if runs_not else row.bottleneck,
    }


def _pool(row: FitRow) -> dict[str, object]:
    """All that is left is cache."""
    return {
        "cache GiB": band(row.available_gib, 1),
        "at once": None if row.concurrency is None else tenths_of(row.concurrency),
    }


def _set_aside(row: FitRow) -> dict[str, object]:
    """llama.cpp takes the cache it is asked for."""
    needed = row.needed_gib
    return {
        "cache GiB": band(needed, 1) if needed else None,
        "stays free GiB": band(row.available_gib - needed, 1) if needed else None,
    }


def table_records(rows: Sequence[FitRow]) -> list[dict[str, Any]]:
    """The same as data."""
    return [_record(row) for row in rows]


def _record(row: FitRow) -> dict[str, Any]:
    """A shape that the engine refuses has neither memory nor speed."""
    found = _figures(row)
    return {
        "tensor_parallel": row.tensor_parallel,
        "decode_context_parallel": row.decode_context_parallel,
        "context": row.context,
        "verdict": "refused" if row.refused else row.verdict.value,
        "refused": row.refused,
        "may_be_refused": row.doubted,
        **(dict.fromkeys(found) if row.refused else found),
    }


def _figures(row: FitRow) -> dict[str, Any]:
    tokens, speed = row.kv_tokens, row.decode_tok_s
    return {
        "states": states_record(row.states),
        "weights_gib": amount(row.weights_gib),
        "available_gib": amount(row.available_gib),
        "request_gib": amount(row.needed_gib) if row.needed_gib else None,
        "kv_tokens": amount(tokens) if tokens else None,
        "concurrency": row.concurrency,
        "largest_context": row.largest_context,
        "decode_tok_s": amount(speed) if speed else None,
        "bottleneck": row.bottleneck,
    }
