"""The benchmark for real: torch on CPU, gloo between processes, and faults put into its copies."""

from __future__ import annotations

import json

import pytest
from bench import run, torch_python

from rigspec.observed.fabric_run import parse_fabric
from rigspec.observed.load import of_kind, parse_load, read_events
from rigspec.observed.pairs import FabricReading
from rigspec.observed.record import Unknown
from rigspec.verify.all_reduce import slow_ranks

DRIVER = """
import json, torch
import torch.distributed as dist
SMALL = ["--device", "cpu", "--size", "40000", "--seconds", "0.01"]
whole, own_copy, own_work, own_reduce = bench.Cpu, bench.Cpu.copy, bench.Cpu.work, dist.all_reduce

def scene(name, *words, copy=own_copy, work=own_work, reduce=own_reduce, limit="60"):
    bench.Cpu.copy, bench.Cpu.work, dist.all_reduce = staticmethod(copy), staticmethod(work), reduce
    bench.say("scene", name=name)
    assert bench.main([*SMALL, "--limit-s", limit, *words]) == 0

def spoiled(target, source):
    target.copy_(source)
    target[..., 0] += 1

def nothing(target, source):
    pass

def endless(target, source):
    time.sleep(600)

def wrong_on_one(values):
    own_reduce(values)
    if dist.get_rank() == 1:
        values += 1

def endless_on_one(values):
    if dist.get_rank() == 1:
        time.sleep(600)
    own_reduce(values)

def failing_on_one(values):
    if dist.get_rank() == 1:
        raise RuntimeError("an illegal access")
    own_reduce(values)

def slow_on_one(place):
    time.sleep(0.4 if dist.get_rank() == 1 else 0.04)

PAIR = ["--uuids", "GPU-a,GPU-b", "--pairs"]
GROUP = ["--uuids", "GPU-a,GPU-b,GPU-c", "--all-reduce", "chat=0,1,2"]
PATTERN = ["--uuids", "GPU-a,GPU-b", "--pattern", "both=0-1,1-0"]
scene("healthy", *PAIR, "--pattern", "both=0-1,1-0", "--burn-s", "0.5")
scene("healthy-group", *GROUP)
scene("host-group", *GROUP, "--without-peer")
scene("spoiled", *PAIR, copy=spoiled)
scene("spoiled-pattern", *PATTERN, copy=spoiled)
scene("nothing", *PAIR, copy=nothing)
scene("endless", *PAIR, copy=endless, limit="2")
scene("wrong-group", *GROUP, reduce=wrong_on_one)
scene("endless-group", *GROUP, reduce=endless_on_one, limit="12")
scene("failing-group", *GROUP, reduce=failing_on_one)
scene("slow-group", *GROUP, work=slow_on_one)
scene("burn-wrong", "--uuids", "GPU-a", "--burn-s", "0.5", copy=spoiled)
bench.say("left", jobs=len(bench.RUNNING))
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in run(torch_python(), tmp_path_factory.mktemp("torch"), DRIVER):
        if event["event"] == "scene":
            lines = found.setdefault(
                event["name"], ['{"event": "run", "kind": "fabric", "at": "now", "minutes": 0}']
            )
            for n in "abc":
                member = {"event": "member", "member": f"main.{n}", "uuid": f"GPU-{n}"}
                lines.append(json.dumps(member))
        elif event["event"] == "left":
            assert event["jobs"] == 0
        else:
            lines.append(json.dumps(event))
    return found


def reading(scenes: dict[str, list[str]], name: str) -> FabricReading:
    found = parse_fabric(scenes[name])
    assert isinstance(found, FabricReading)
    return found


def test_a_healthy_pair_is_measured_both_ways_with_its_values(
    scenes: dict[str, list[str]],
) -> None:
    found = reading(scenes, "healthy")
    assert found.device_kind == "cpu"
    assert {(p.source, p.target) for p in found.pairs} == {("GPU-a", "GPU-b"), ("GPU-b", "GPU-a")}
    for pair in found.pairs:
        assert (pair.ended, pair.values_ok, pair.moved, pair.path) == (
            "measured",
            True,
            True,
            "peer",
        )
        figures = (pair.one_way_gb_s, pair.two_way_gb_s, pair.latency_us, pair.worst_latency_us)
        assert all(isinstance(figure, float) and figure > 0 for figure in figures)
        assert pair.worst_latency_us >= pair.latency_us  # type: ignore[operator]
        assert pair.wrong_share == 0
    (pattern,) = found.patterns
    assert pattern.values_ok is True and pattern.gb_s and pattern.gb_s > 0


def test_work_on_all_cards_is_right_and_has_a_speed(scenes: dict[str, list[str]]) -> None:
    load = parse_load(scenes["healthy"])
    assert not isinstance(load, Unknown)
    worked = {c.uuid: c for c in load.cards if not isinstance(c.tflops, Unknown)}
    assert set(worked) == {"GPU-a", "GPU-b"}
    assert all(card.wrong == 0 for card in worked.values())


@pytest.mark.parametrize(("scene", "peer"), [("healthy-group", True), ("host-group", False)])
def test_all_reduce_over_three_processes(
    scenes: dict[str, list[str]], scene: str, peer: bool
) -> None:
    (group,) = reading(scenes, scene).all_reduce
    assert (group.ended, group.values_ok, group.peer_to_peer) == ("measured", True, peer)
    assert isinstance(group.busbw_gb_s, float) and isinstance(group.algbw_gb_s, float)
    assert group.busbw_gb_s == pytest.approx(group.algbw_gb_s * 2 * 2 / 3)
    assert group.gpus == ("GPU-a", "GPU-b", "GPU-c")


def test_one_wrong_number_is_wrong_data(scenes: dict[str, list[str]]) -> None:
    for pair in reading(scenes, "spoiled").pairs:
        assert (pair.ended, pair.values_ok, pair.moved) == ("measured", False, True)
        assert isinstance(pair.wrong_share, float) and 0 < pair.wrong_share < 0.01
    (pattern,) = reading(scenes, "spoiled-pattern").patterns
    assert pattern.values_ok is False


def test_a_copy_that_moves_nothing_is_seen(scenes: dict[str, list[str]]) -> None:
    for pair in reading(scenes, "nothing").pairs:
        assert (pair.ended, pair.values_ok, pair.moved) == ("measured", False, False)


def test_a_copy_that_never_ends_is_a_hang_in_its_step(scenes: dict[str, list[str]]) -> None:
    for pair in reading(scenes, "endless").pairs:
        assert pair.ended == "hang"
        assert pair.error == "checking values: did not end within 2 s"


def test_a_wrong_sum_names_its_rank(scenes: dict[str, list[str]]) -> None:
    (group,) = reading(scenes, "wrong-group").all_reduce
    assert (group.values_ok, group.wrong_ranks) == (False, (1,))


def test_an_endless_and_a_failing_rank_are_told_apart(scenes: dict[str, list[str]]) -> None:
    (endless,) = reading(scenes, "endless-group").all_reduce
    assert endless.ended == "hang"
    (failing,) = reading(scenes, "failing-group").all_reduce
    assert failing.ended == "error"
    assert "rank 1, checking values: RuntimeError: an illegal access" in failing.error


def test_a_slow_rank_stands_out(scenes: dict[str, list[str]]) -> None:
    (group,) = reading(scenes, "slow-group").all_reduce
    assert group.values_ok is True
    assert slow_ranks(group) == (1,)


def test_a_card_that_computes_wrong_is_counted(scenes: dict[str, list[str]]) -> None:
    load = parse_load(scenes["burn-wrong"])
    assert not isinstance(load, Unknown)
    (card,) = [card for card in load.cards if card.uuid == "GPU-a"]
    assert isinstance(card.wrong, int) and card.wrong > 0


def test_every_scene_came_to_its_end(scenes: dict[str, list[str]]) -> None:
    assert all(len(of_kind(read_events(lines), "end")) == 1 for lines in scenes.values())
