"""What a run of `load` left on the host: the cards under load, and what their links had to repair.

The files are one JSON object a line, written by `/usr/local/lib/rigspec/load` (run, member, aer,
replays, card, ended) and by the benchmark inside a container (begin, pair, pattern, all-reduce,
work, error, end). A line that cannot be read is left out; a run without an end says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rigspec.frozen import dataclass
from rigspec.observed.record import NOT_ASKED, Reading, Record, Unknown

DONE, TOO_HOT, ENDED_BADLY = "done", "temperature", "error"

EVENT_REASONS: Mapping[int, str] = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""What should not hold a healthy card's clocks down (nvml.h, nvmlClocksEventReason*). A power cap
(0x4) is what the owner asked for; idle (0x1) and clock settings (0x2) are no fault either."""


@dataclass(frozen=True)
class Spread(Record):
    """Least, median and greatest sample."""

    least: float
    median: float
    greatest: float


@dataclass(frozen=True)
class CardLoad(Record):
    """One card during the run."""

    uuid: str
    member: str
    temperature_c: Reading[Spread] = NOT_ASKED
    power_w: Reading[Spread] = NOT_ASKED
    clock_mhz: Reading[Spread] = NOT_ASKED
    link_gen: Reading[Spread] = NOT_ASKED
    link_width: Reading[Spread] = NOT_ASKED
    held_down_by: Reading[tuple[str, ...]] = NOT_ASKED
    """Clock event reasons that are a fault."""
    tflops: Reading[float] = NOT_ASKED
    """Median of its work while all cards worked."""
    wrong: Reading[int] = NOT_ASKED
    """Results that differed from the first of the same work."""
    replays: Reading[int] = NOT_ASKED
    """PCIe packets sent again, during the run."""


@dataclass(frozen=True)
class LinkErrors(Record):
    """AER counters of one PCI function: how many more after the run than before."""

    address: str
    correctable: int
    nonfatal: int
    fatal: int


@dataclass(frozen=True)
class LoadReading(Record):
    """One run of `load fabric` or `load burn`."""

    taken_at: str
    """UTC, ISO 8601."""
    kind: str
    """`fabric` or `burn`."""
    minutes: int
    ended: str
    """`done`, `temperature`, `limit` or `error`; empty when the run was cut off."""
    words: str
    """Why it ended, where it did not end well."""
    limit_c: int
    cards: tuple[CardLoad, ...] = ()
    link_errors: Reading[tuple[LinkErrors, ...]] = NOT_ASKED
    """Functions whose counters rose; unknown where the kernel shows no counters."""

    @property
    def worked(self) -> bool:
        """Whether any card did a piece of work that was timed."""
        return any(not isinstance(card.tflops, Unknown) for card in self.cards)

    @property
    def failed(self) -> bool:
        """Whether it ended with an error of its own before any card had worked."""
        return self.ended == ENDED_BADLY and not self.worked


NEVER = Unknown("there was no such run on this host")
NO_BEGINNING = Unknown("the file of the run has no beginning: it was cut off, or is not ours")

Event = Mapping[str, Any]


def read_events(lines: Iterable[str]) -> tuple[Event, ...]:
    """The objects of a file, in order; whatever is no object of ours is left out."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            found.append(event)
    return tuple(found)


def of_kind(events: Iterable[Event], kind: str) -> tuple[Event, ...]:
    """All events of one kind."""
    return tuple(event for event in events if event["event"] == kind)


def member_names(events: Iterable[Event]) -> dict[str, str]:
    """UUID → member."""
    return {text(e, "uuid"): text(e, "member") for e in of_kind(events, "member")}


def text(event: Event, name: str) -> str:
    """A text of an event; empty when it is none."""
    value = event.get(name)
    return value if isinstance(value, str) else ""


def number(event: Event, name: str) -> Reading[float]:
    """A number of an event, never negative."""
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return Unknown("not measured" if value is None else "not a number", str(value or ""))
    return float(value)


def whole(event: Event, name: str) -> Reading[int]:
    """A whole number of an event."""
    value = number(event, name)
    return value if isinstance(value, Unknown) else int(value)


def truth(event: Event, name: str) -> Reading[bool]:
    """Yes or no of an event."""
    value = event.get(name)
    return value if isinstance(value, bool) else Unknown("not measured")


def parse_load(lines: Iterable[str]) -> Reading[LoadReading]:
    """The newest run of one kind; unknown when there was none."""
    kept = [line for line in lines if line.strip()]
    events = read_events(kept)
    run = next(iter(of_kind(events, "run")), None)
    if run is None:
        return NO_BEGINNING if kept else NEVER
    ended = next(iter(of_kind(events, "ended")), {})
    return LoadReading(
        taken_at=text(run, "at"),
        kind=text(run, "kind"),
        minutes=int(_or_zero(whole(run, "minutes"))),
        ended=text(ended, "how"),
        words=text(ended, "words"),
        limit_c=int(_or_zero(whole(run, "limit_c"))),
        cards=tuple(_card(uuid, member, events) for uuid, member in member_names(events).items()),
        link_errors=_link_errors(of_kind(events, "aer")),
    )


def _or_zero(value: Reading[int]) -> int:
    return 0 if isinstance(value, Unknown) else value


def _card(uuid: str, member: str, events: tuple[Event, ...]) -> CardLoad:
    own = [event for event in events if event.get("uuid") == uuid]
    seen = next(iter(of_kind(own, "card")), {})
    work = of_kind(own, "work")
    speeds = sorted(v for e in work if not isinstance(v := number(e, "tflops"), Unknown))
    wrongs = [v for e in work if not isinstance(v := whole(e, "wrong"), Unknown)]
    failed = next((text(e, "error") for e in work if text(e, "error")), "it did not work")
    return CardLoad(
        uuid,
        member,
        temperature_c=_spread(seen, "temperature_c"),
        power_w=_spread(seen, "power_w"),
        clock_mhz=_spread(seen, "clock_mhz"),
        link_gen=_spread(seen, "link_gen"),
        link_width=_spread(seen, "link_width"),
        held_down_by=_held_down_by(seen),
        tflops=speeds[len(speeds) // 2] if speeds else Unknown(failed),
        wrong=max(wrongs) if wrongs else Unknown(failed),
        replays=_replays(of_kind(own, "replays")),
    )


def _spread(event: Event, name: str) -> Reading[Spread]:
    value = event.get(name)
    if not isinstance(value, list) or len(value) != 3:
        return Unknown("no sample was taken")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        return Unknown("not a number", str(value))
    return Spread(*map(float, value))


def _held_down_by(event: Event) -> Reading[tuple[str, ...]]:
    masks = event.get("reasons")
    if not isinstance(masks, list) or not masks:
        return Unknown("nvidia-smi shows no clock event reasons")
    bits = 0
    for mask in masks:
        try:
            bits |= int(str(mask), 16)
        except ValueError:
            return Unknown("not a mask of reasons", str(mask))
    return tuple(name for bit, name in EVENT_REASONS.items() if bits & bit)


def _replays(events: tuple[Event, ...]) -> Reading[int]:
    counts = {text(event, "when"): whole(event, "count") for event in events}
    before, after = (counts.get(w, Unknown("nvidia-smi shows none")) for w in ("before", "after"))
    if isinstance(before, Unknown) or isinstance(after, Unknown):
        return Unknown("nvidia-smi shows no replay counter")
    return max(0, after - before)


def _link_errors(events: tuple[Event, ...]) -> Reading[tuple[LinkErrors, ...]]:
    sums: dict[str, dict[str, list[int]]] = {"before": {}, "after": {}}
    for event in events:
        errors, when = event.get("errors"), text(event, "when")
        if when not in sums or not isinstance(errors, list):
            continue
        counts = [e for e in errors if isinstance(e, int)]
        if len(counts) == len(errors) == 3:
            sums[when][text(event, "device")] = counts
    both = [address for address in sums["before"] if address in sums["after"]]
    if not both:
        return Unknown("the kernel shows no AER counters (no AER, or the firmware keeps it)")
    found = []
    for address in both:
        old, new = sums["before"][address], sums["after"][address]
        rise = [max(0, b - a) for a, b in zip(old, new, strict=True)]
        if any(rise):
            found.append(LinkErrors(address, *rise))
    return tuple(found)
