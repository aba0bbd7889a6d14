"""What healthy runs of `load fabric` and `load burn` leave: figures from the plan's own limits.

The shape is that of `templates/usr/local/lib/rigspec/load` and `fabric-bench`: one JSON object a
line. Every speed is a share of link arithmetic that real rigs reach (jamesob/local-llm measured
27.5 of 31.5 GB/s), above the share that verify asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from rigspec.plan.sections import Plan

from .raw import Raw

REACHED = 0.85
"""Of link arithmetic: what a healthy rig reaches."""
AT = "2026-01-02T03:04:05Z"
Event = dict[str, Any]


@dataclass(frozen=True)
class Cards:
    """UUIDs by member, and the plan that says what their links can do."""

    plan: Plan
    uuid: dict[str, str]
    slots: tuple[str, ...]


def loaded(raw: Raw, plan: Plan) -> Raw:
    """With the files of a healthy run of each kind."""
    members = (gpu.member for gpu in plan.preflight.gpus)
    cards = Cards(plan, dict(zip(members, raw.uuids, strict=True)), raw.slots)
    raw = raw.put("fabric-run", _lines(_run(cards, "fabric", 0, _fabric(cards))))
    return raw.put("burn-run", _lines(_run(cards, "burn", 10, _work(cards))))


def _lines(events: Iterable[Event]) -> str:
    return "\n".join(json.dumps(event) for event in events)


def _run(cards: Cards, kind: str, minutes: int, inside: Iterator[Event]) -> Iterator[Event]:
    yield {"event": "run", "kind": kind, "at": AT, "minutes": minutes, "limit_c": 88}
    for member, uuid in cards.uuid.items():
        yield {"event": "member", "member": member, "uuid": uuid}
    yield from _counters(cards, "before")
    named = [{"uuid": uuid, "name": "card"} for uuid in cards.uuid.values()]
    yield {"event": "begin", "device": "cuda", "torch": "2.9.0", "cards": named}
    yield from inside
    yield {"event": "end"}
    yield from _counters(cards, "after")
    yield from _samples(cards)
    yield {"event": "ended", "how": "done", "words": ""}


def _counters(cards: Cards, when: str) -> Iterator[Event]:
    for slot in cards.slots:
        yield {"event": "aer", "when": when, "device": slot, "errors": [0, 0, 0]}
    for uuid in cards.uuid.values():
        yield {"event": "replays", "when": when, "uuid": uuid, "count": 0}


def _samples(cards: Cards) -> Iterator[Event]:
    for gpu in cards.plan.preflight.gpus:
        cap = gpu.power_limit_w or 300
        yield {
            "event": "card",
            "uuid": cards.uuid[gpu.member],
            "temperature_c": [40, 66, 71],
            "power_w": [60, cap - 10, cap],
            "clock_mhz": [800, 1900, 2100],
            "link_gen": [1, gpu.link_generation, gpu.link_generation],
            "link_width": [gpu.link_width] * 3,
            "reasons": ["0x0000000000000001", "0x0000000000000004"],
        }


def _fabric(cards: Cards) -> Iterator[Event]:
    able = {frozenset((pair.first, pair.second)): pair for pair in cards.plan.fabric.pairs}
    for first, second in permutations(cards.uuid, 2):
        wanted = able[frozenset((first, second))]
        yield {
            "event": "pair",
            "source": cards.uuid[first],
            "target": cards.uuid[second],
            "granted": True,
            "moved": True,
            "values_ok": True,
            "wrong_share": 0.0,
            "one_way_gb_s": REACHED * wanted.one_way_gb_s,
            "two_way_gb_s": REACHED * wanted.two_way_gb_s,
            "latency_us": 2.1,
            "worst_latency_us": 9.0,
            "staged_gb_s": REACHED * wanted.one_way_gb_s / 2,
            "ended": "measured",
            "error": "",
        }
    for pattern in cards.plan.fabric.patterns:
        yield {
            "event": "pattern",
            "name": pattern.name,
            "copies": [[cards.uuid[a], cards.uuid[b]] for a, b in pattern.copies],
            "each_gb_s": [REACHED * pattern.gb_s / len(pattern.copies)] * len(pattern.copies),
            "values_ok": True,
            "ended": "measured",
            "error": "",
        }
    yield from _sums(cards)
    yield from _work(cards)


def _sums(cards: Cards) -> Iterator[Event]:
    for group in cards.plan.fabric.all_reduce:
        ranks = len(group.members)
        for peer, share in ((True, REACHED), (False, REACHED / 2)):
            bus = share * (group.busbw_gb_s or 0)
            yield {
                "event": "all-reduce",
                "service": group.service,
                "gpus": [cards.uuid[member] for member in group.members],
                "bytes": 256 << 20,
                "peer_to_peer": peer,
                "ready_ms": [10.0 + 0.1 * rank for rank in range(ranks)],
                "values_ok": True,
                "wrong_ranks": [],
                "busbw_gb_s": bus,
                "algbw_gb_s": bus * ranks / (2 * (ranks - 1)),
                "latency_us": 30.0,
                "ended": "measured",
                "error": "",
            }


def _work(cards: Cards) -> Iterator[Event]:
    for rank, uuid in enumerate(cards.uuid.values()):
        yield {
            "event": "work",
            "uuid": uuid,
            "tflops": 300.0 + rank % 2,
            "wrong": 0,
            "ended": "measured",
            "error": "",
        }


def spoil(
    section: str, kind: str, change: Callable[[Event], Event], *, which: int = 0
) -> Callable[[Raw], Raw]:
    """The `which`-th event of one kind with what `change` says of it."""

    def mutate(raw: Raw) -> Raw:
        lines = raw.text(section).split("\n")
        events = [json.loads(line) for line in lines]
        place = [n for n, event in enumerate(events) if event["event"] == kind][which]
        lines[place] = json.dumps({**events[place], **change(events[place])})
        return raw.put(section, "\n".join(lines))

    return mutate
