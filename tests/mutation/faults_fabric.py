"""Faults between cards: what the benchmark printed about pairs, patterns and all-reduces."""

from __future__ import annotations

import json

from .loads import Event, spoil
from .raw import Raw
from .registry import Fault


def pair(title: str, own_text: str, **changes: object) -> Fault:
    """One direction of the first pair is not healthy."""
    return Fault(
        "fabric.pair",
        title,
        spoil("fabric-run", "pair", lambda _: dict(changes)),
        own_text,
        rig="metal",
    )


def halved(event: Event) -> Event:
    """Half as fast, and the way through the host slower still: only the link is to blame."""
    return {"one_way_gb_s": event["one_way_gb_s"] / 2, "staged_gb_s": event["staged_gb_s"] / 2}


def crawling(event: Event) -> Event:
    """One copy of many so slow that all of them together miss the limit."""
    speeds = event["each_gb_s"]
    return {"each_gb_s": [0.1, *(speed * 0.8 for speed in speeds[1:])]}


def late(event: Event) -> Event:
    """The second rank needs 40 % more for its own work."""
    return {"ready_ms": [ms * (1.4 if n == 1 else 1) for n, ms in enumerate(event["ready_ms"])]}


def only_an_error(raw: Raw) -> Raw:
    """The benchmark began, could not go on, and said why."""
    kept = [
        line
        for line in raw.text("fabric-run").split("\n")
        if json.loads(line)["event"] in {"run", "member", "aer", "replays", "card", "ended"}
    ]
    said = json.dumps({"event": "error", "error": "the cards do not answer"})
    return raw.put("fabric-run", "\n".join([*kept, said]))


FAULTS = (
    pair("a copy arrives wrong", "25 % wrong", values_ok=False, wrong_share=0.25),
    pair("a copy moves nothing", "moves nothing", values_ok=False, moved=False),
    pair("a copy never ends", "one way: no answer", ended="hang", phase="one way",
         error="no answer in 90 s"),
    Fault("fabric.pair", "a link is half as fast", spoil("fabric-run", "pair", halved),
          "slow: one way 13.4 of at least", rig="metal"),
    Fault("fabric.pattern", "one of many copies at once crawls",
          spoil("fabric-run", "pattern", crawling), "one link or switch collapses", rig="metal"),
    Fault("fabric.all-reduce", "a rank sums wrong",
          spoil("fabric-run", "all-reduce", lambda _: {"values_ok": False, "wrong_ranks": [2]}),
          "wrong sums on rank 2", rig="metal"),
    Fault("fabric.all-reduce", "a rank comes late", spoil("fabric-run", "all-reduce", late),
          "own work of rank 1", rig="metal"),
    Fault("fabric.all-reduce", "an all-reduce at half its speed",
          spoil("fabric-run", "all-reduce", lambda e: {"busbw_gb_s": e["busbw_gb_s"] / 2}),
          "these links should give", rig="metal"),
)  # fmt: skip
