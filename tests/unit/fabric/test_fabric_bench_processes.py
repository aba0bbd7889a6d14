"""Time limits of the benchmark: what hangs is ended with all its children, what dies says so."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from bench import is_gone, run

from rigspec.observed.load import Event, of_kind

CASES = """
def fine(report):
    report(a=1)
    report(b=2)

def hang(report, file):
    report(phase="copying")
    child = os.fork()
    if child:
        open(file, "w").write(f"{os.getpid()} {child}")
    time.sleep(600)

def fail(report):
    raise RuntimeError("no\\nluck")

def die(report):
    os.kill(os.getpid(), 9)

def chatter(report):
    print("a library's own words", flush=True)
    report(a=1)

begun = time.monotonic()
for name, works in {
    "fine": [(fine,)], "error": [(fail,)], "died": [(die,)], "chatter": [(chatter,)],
    "hang": [(hang, sys.argv[1] + ".pids"), (fine,)],
}.items():
    for record in bench.collect([bench.Job(*work) for work in works], 1):
        bench.say(name, **record)
begun = time.monotonic()
found = bench.collect([bench.Job(fail), bench.Job(time.sleep, 600)], 60, together=True)
bench.say("together", took=time.monotonic() - begun, ends=[f["ended"] for f in found])
bench.say("left", jobs=len(bench.RUNNING))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def events(folder: Path) -> tuple[Event, ...]:
    return run(sys.executable, folder, CASES.replace("time.sleep, 600)]", "hang, os.devnull)]"))


def one(events: tuple[Event, ...], kind: str) -> Event:
    return of_kind(events, kind)[0]


def test_reports_of_one_job_are_put_together(events: tuple[Event, ...]) -> None:
    assert one(events, "fine") == {"event": "fine", "a": 1, "b": 2, "ended": "measured"}


def test_a_failure_is_said_in_one_line(events: tuple[Event, ...]) -> None:
    assert one(events, "error")["error"] == "RuntimeError: no luck"
    assert one(events, "died")["error"] == "the process ended with status -9"
    assert {one(events, kind)["ended"] for kind in ("error", "died")} == {"error"}


def test_words_of_libraries_do_not_reach_the_results(events: tuple[Event, ...]) -> None:
    assert one(events, "chatter")["a"] == 1
    assert all(event["event"] != "a library's own words" for event in events)


def test_a_hang_costs_its_limit_and_leaves_nothing_running(
    events: tuple[Event, ...], folder: Path
) -> None:
    hang, beside = of_kind(events, "hang")
    assert (hang["ended"], hang["phase"]) == ("hang", "copying")
    assert "1 s" in hang["error"]
    assert beside["ended"] == "measured"
    pids = (folder / "fabric-bench.py.pids").read_text().split()
    assert len(pids) == 2
    until = time.monotonic() + 5  # the grandchild is reaped by init
    while not all(is_gone(int(pid)) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert all(is_gone(int(pid)) for pid in pids)
    assert one(events, "left")["jobs"] == 0


def test_when_one_rank_has_failed_the_others_are_not_waited_for(events: tuple[Event, ...]) -> None:
    together = one(events, "together")
    assert together["ends"] == ["error", "hang"]
    assert together["took"] < 30  # the limit was 60


def test_without_torch_it_says_so_and_nothing_else(tmp_path: Path) -> None:
    text = """
sys.modules["torch"] = None
code = bench.main(["--uuids", "GPU-a,GPU-b", "--pairs"])
bench.say("code", code=code)
"""
    error, code = run(sys.executable, tmp_path, text)
    assert error["error"].startswith("this image has no torch")
    assert code["code"] == 3
