"""What is read of runs of load: two files and the record, each its own field of the observation."""

from __future__ import annotations

import json

import pytest

from rigspec.facts.loads import FOLDER, LOADS, parse_fabric_probe, parse_load_probe
from rigspec.observed import fabric_run, load
from rigspec.observed.load import LoadReading
from rigspec.observed.pairs import FabricReading
from rigspec.observed.record import Unknown

RUN = '{"event":"run","kind":"burn","at":"2026-01-02T03:04:05Z","minutes":5,"limit_c":88}'
MEMBER = '{"event":"member","member":"main.0","uuid":"GPU-a"}'
PAIR = '{"event":"pair","source":"GPU-a","target":"GPU-b","values_ok":true,"ended":"measured"}'
DONE = '{"event":"ended","how":"done","words":""}'


def test_each_file_is_asked_for_by_name_and_bounded() -> None:
    asked = {probe.name: probe.text for probe in LOADS}
    assert asked.keys() == {"fabric-run", "nvbandwidth", "burn-run"}
    assert all(FOLDER in text and "head -c" in text for text in asked.values())


def test_the_two_runs_are_not_mistaken_for_each_other() -> None:
    sections = {"burn-run": [RUN, MEMBER, DONE], "fabric-run": [RUN, MEMBER, PAIR]}
    burn, made = parse_load_probe(sections, "burn-run"), parse_load_probe(sections, "fabric-run")
    assert isinstance(burn, LoadReading) and (burn.ended, burn.minutes) == ("done", 5)
    assert isinstance(made, LoadReading) and made.ended == ""
    fabric = parse_fabric_probe(sections, simulated=True)
    assert isinstance(fabric, FabricReading) and fabric.simulated
    assert [(p.source, p.values_ok) for p in fabric.pairs] == [("GPU-a", True)]


@pytest.mark.parametrize("sections", [{}, {"fabric-run": [], "burn-run": [""]}])
def test_no_file_is_a_run_that_never_was(sections: dict[str, list[str]]) -> None:
    assert parse_load_probe(sections, "burn-run") == load.NEVER
    assert parse_fabric_probe(sections, simulated=False) == fabric_run.NEVER


@pytest.mark.parametrize(
    "lines", [["##RIG-EXIT 1 head"], ["##RIG-CUT"], [RUN[:9], "##RIG-CUT"], [RUN[:9]], ["{", "no"]]
)
def test_a_file_that_cannot_be_read_is_unknown_and_not_never(lines: list[str]) -> None:
    for reading, never in (
        (parse_load_probe({"burn-run": lines}, "burn-run"), load.NEVER),
        (parse_fabric_probe({"fabric-run": lines}, simulated=False), fabric_run.NEVER),
    ):
        assert isinstance(reading, Unknown) and reading != never and reading.reason


EVENTS = (
    json.loads(RUN),
    json.loads(MEMBER),
    {"event": "aer", "when": "before", "device": "0000:01:00.0", "errors": [0, 0, 0]},
    {"event": "replays", "when": "before", "uuid": "GPU-a", "count": 0},
    {"event": "begin", "device": "cuda", "cards": [{"uuid": "GPU-a", "name": "card"}]},
    json.loads(PAIR) | {"granted": True, "one_way_gb_s": 20.0, "latency_us": 3.0, "moved": True},
    {"event": "pattern", "name": "all", "copies": [["GPU-a", "GPU-b"]], "each_gb_s": [1.0],
     "values_ok": True, "ended": "measured", "error": ""},
    {"event": "all-reduce", "service": "a", "gpus": ["GPU-a"], "bytes": 1, "busbw_gb_s": 1.0,
     "wrong_ranks": [1], "ready_ms": [1.0], "values_ok": True, "peer_to_peer": True},
    {"event": "work", "uuid": "GPU-a", "tflops": 300.0, "wrong": 0, "ended": "measured"},
    {"event": "aer", "when": "after", "device": "0000:01:00.0", "errors": [0, 0, 0]},
    {"event": "replays", "when": "after", "uuid": "GPU-a", "count": 0},
    {"event": "card", "uuid": "GPU-a", "temperature_c": [40, 66, 71], "power_w": [60, 290, 300],
     "clock_mhz": [1, 2, 3], "link_gen": [1, 4, 4], "link_width": [16, 16, 16]},
    json.loads(DONE),
)  # fmt: skip
ODD: tuple[object, ...] = (
    None,
    "x",
    [],
    ["x"],
    ["x"] * 3,
    [None] * 3,
    [None],
    {},
    {"a": 1},
    -1,
    1e308,
    True,
    [[1]],
)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_values_of_a_wrong_kind_never_break_the_reading(odd: object) -> None:
    for number, event in enumerate(EVENTS):
        for key in event:
            lines = [json.dumps(e) for e in EVENTS]
            lines[number] = json.dumps({**event, key: odd})
            sections = {"burn-run": lines, "fabric-run": lines}
            parse_load_probe(sections, "burn-run")
            parse_fabric_probe(sections, simulated=False)
