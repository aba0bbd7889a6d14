"""The benchmark's lines → what pairs, patterns and all-reduces did; and nvbandwidth's figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rigspec.observed.load import (
    ENDED_BADLY,
    NO_BEGINNING,
    Event,
    member_names,
    number,
    of_kind,
    read_events,
    text,
    truth,
)
from rigspec.observed.p2p import BandwidthTest, parse_nvbandwidth
from rigspec.observed.pairs import (
    ERROR,
    HANG,
    HOST,
    MEASURED,
    PEER,
    AllReduceReading,
    FabricCard,
    FabricReading,
    PairReading,
    PatternReading,
)
from rigspec.observed.record import Reading, Unknown

NEVER = Unknown("the links were never measured on this host")
FAILED = "the benchmark failed before it had measured anything"
"""Reason of a run that ended by itself, and says with what error."""

ONE_WAY = "device_to_device_memcpy_write_ce"
TWO_WAY = "device_to_device_bidirectional_memcpy_write_ce"


def parse_fabric(
    lines: Iterable[str], nvbandwidth: Sequence[str] = (), *, simulated: bool = False
) -> Reading[FabricReading]:
    """The newest run; unknown with its own words where it measured nothing."""
    kept = [line for line in lines if line.strip()]
    events = read_events(kept)
    run = next(iter(of_kind(events, "run")), None)
    if run is None:
        return NO_BEGINNING if kept else NEVER
    begin = next(iter(of_kind(events, "begin")), {})
    reading = FabricReading(
        taken_at=text(run, "at"),
        device_kind=text(begin, "device") or "cuda",
        cards=_cards(events, begin),
        pairs=tuple(_pair(event) for event in of_kind(events, "pair")),
        patterns=tuple(_pattern(event) for event in of_kind(events, "pattern")),
        all_reduce=tuple(_all_reduce(event) for event in of_kind(events, "all-reduce")),
        simulated=simulated,
    )
    reading = _with_nvbandwidth(reading, parse_nvbandwidth(nvbandwidth))
    if reading.pairs or reading.patterns or reading.all_reduce:
        return reading
    return _nothing(events)


def _nothing(events: tuple[Event, ...]) -> Unknown:
    """A failure in its own words; a time limit or a file without an end proves no such thing."""
    said = [text(event, "error") for event in of_kind(events, "error")]
    ended = next(iter(of_kind(events, "ended")), {})
    words = next(filter(None, [*said, text(ended, "words")]), "it was cut off")
    failed = said or text(ended, "how") == ENDED_BADLY
    return Unknown(FAILED if failed else "the benchmark measured nothing", words)


def _cards(events: tuple[Event, ...], begin: Event) -> tuple[FabricCard, ...]:
    listed = begin.get("cards")
    names = {}
    if isinstance(listed, list):
        names = {
            text(card, "uuid"): text(card, "name") for card in listed if isinstance(card, dict)
        }
    return tuple(
        FabricCard(uuid, member, names.get(uuid) or Unknown("not said"))
        for uuid, member in member_names(events).items()
    )


def _ended(event: Event) -> str:
    said = text(event, "ended")
    return said if said in {MEASURED, HANG} else ERROR


def _error(event: Event) -> str:
    if _ended(event) == MEASURED:
        return ""
    phase = text(event, "phase")
    return f"{phase}: {text(event, 'error')}" if phase else text(event, "error")


def _pair(event: Event) -> PairReading:
    granted = truth(event, "granted")
    path: Reading[str] = granted if isinstance(granted, Unknown) else (PEER if granted else HOST)
    return PairReading(
        source=text(event, "source"),
        target=text(event, "target"),
        one_way_gb_s=number(event, "one_way_gb_s"),
        two_way_gb_s=number(event, "two_way_gb_s"),
        latency_us=number(event, "latency_us"),
        worst_latency_us=number(event, "worst_latency_us"),
        path=path,
        values_ok=truth(event, "values_ok"),
        moved=truth(event, "moved"),
        wrong_share=number(event, "wrong_share"),
        staged_gb_s=number(event, "staged_gb_s"),
        ended=_ended(event),
        error=_error(event),
    )


def _numbers(event: Event, name: str) -> Reading[tuple[float, ...]]:
    values = event.get(name)
    if not isinstance(values, list):
        return Unknown("not measured")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return Unknown("not a number", str(values))
    return tuple(float(value) for value in values)


def _pattern(event: Event) -> PatternReading:
    copies = event.get("copies")
    pairs = copies if isinstance(copies, list) else []
    return PatternReading(
        name=text(event, "name"),
        copies=tuple((str(p[0]), str(p[1])) for p in pairs if isinstance(p, list) and len(p) == 2),
        each_gb_s=_numbers(event, "each_gb_s"),
        values_ok=truth(event, "values_ok"),
        ended=_ended(event),
        error=_error(event),
    )


def _ranks(event: Event) -> tuple[int, ...]:
    wrong = event.get("wrong_ranks")
    return tuple(w for w in wrong if isinstance(w, int)) if isinstance(wrong, list) else ()


def _all_reduce(event: Event) -> AllReduceReading:
    gpus = event.get("gpus")
    size = number(event, "bytes")
    return AllReduceReading(
        service=text(event, "service"),
        gpus=tuple(map(str, gpus)) if isinstance(gpus, list) else (),
        bytes=0 if isinstance(size, Unknown) else int(size),
        algbw_gb_s=number(event, "algbw_gb_s"),
        busbw_gb_s=number(event, "busbw_gb_s"),
        latency_us=number(event, "latency_us"),
        ready_ms=_numbers(event, "ready_ms"),
        values_ok=truth(event, "values_ok"),
        wrong_ranks=_ranks(event),
        peer_to_peer=event.get("peer_to_peer") is not False,
        ended=_ended(event),
        error=_error(event),
    )


def _with_nvbandwidth(reading: FabricReading, tests: tuple[BandwidthTest, ...]) -> FabricReading:
    """Its GB/s in place of ours: it is the tool that published figures were made with.

    Values stay our own check. Its devices are numbered in the order of the members.
    """
    one, two = (next((t for t in tests if t.name == name), None) for name in (ONE_WAY, TWO_WAY))
    if one is None or one.matrix is None:
        return reading
    uuids = [card.uuid for card in reading.cards]
    own = {(pair.source, pair.target): pair for pair in reading.pairs}
    found = []
    for source, target, gb_s in one.matrix.pairs:
        if max(source, target) >= len(uuids):
            continue
        way = (uuids[source], uuids[target])
        passed = one.status == "passed"  # it compares what it copies
        pair = own.pop(way, PairReading(*way, values_ok=passed, moved=passed))
        if pair.ended == MEASURED:
            both = _two_way(two, source, target, pair)
            pair = replace(pair, one_way_gb_s=gb_s, two_way_gb_s=both)
        found.append(pair)
    tool = "nvbandwidth, values by torch" if reading.pairs else "nvbandwidth"
    return replace(reading, pairs=(*found, *own.values()), tool=tool)


def _two_way(
    test: BandwidthTest | None, source: int, target: int, pair: PairReading
) -> Reading[float]:
    if test is None or test.matrix is None:
        return pair.two_way_gb_s
    return test.matrix.between(source, target)
