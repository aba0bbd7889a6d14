"""What services beside one hold of its fullest card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from published import card, model

from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.report.set_aside import neighbour_lines
from rigspec.rules.context import CheckContext
from rigspec.rules.run import unchecked
from rigspec.sizing.matrices import matrices
from rigspec.sizing.memory import MemoryEstimate
from rigspec.sizing.neighbours import held_gib, neighbours, of_llama_cpp
from rigspec.sizing.service import size_service
from rigspec.sizing.verdict import Verdict
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig, members
from rigspec.spec.together import groups_at_once

ROOT = Path(__file__).parents[3]
LARGE = "rtx-pro-6000-workstation"
TWO_CARDS = {"small": "rtx-3060", "large": "rtx-3090"}


def rig(skus: dict[str, str], services: dict[str, dict[str, Any]]) -> Rig:
    """The starter with these cards, one of each, and these services."""
    head = (ROOT / "rigs/starter.yaml").read_text().partition("\nservices:")[0]
    before, _, after = head.partition("gpus:\n  pair:\n")
    after = after.partition("\n\n")[2].replace("gpus: [pair]", f"gpus: [{', '.join(skus)}]")
    common = {"model": "qwen", "gpus": [next(iter(skus))], "image": "example/engine:v1"}
    given = {
        "gpus": {name: {"sku": sku, "count": 1} for name, sku in skus.items()},
        "services": {
            name: common | {"listen": {"port": 8000 + index}} | service
            for index, (name, service) in enumerate(services.items())
        },
    }
    loaded = load_text("rig.yaml", f"{before}{after}\n{yaml.safe_dump(given, sort_keys=False)}")
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def beside(found: Rig, name: str) -> dict[str, float]:
    """GiB by neighbour; each service is of an 8B model."""
    known = {"qwen": model("Qwen/Qwen3-8B")}
    held = neighbours(found, name, known, find_gpu).values()
    return {each.name: each.gib for each in max(held, key=held_gib, default=())}


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a")])
def test_sglang_may_be_the_first_to_start_wherever_it_is_written(order: tuple[str, ...]) -> None:
    services = {
        "a": {"engine": "vllm", "gpu_memory_fraction": 0.1},
        "b": {"engine": "vllm", "gpu_memory_fraction": 0.3},
        "c": {"engine": "sglang", "gpu_memory_fraction": 0.5},
    }
    held = beside(rig({"main": LARGE}, {name: services[name] for name in order}), "a")
    # half of all that is free beside its own start of 0.6 GiB, not of what vLLM leaves
    assert held["c"] == pytest.approx(0.6 + 0.5 * (card(LARGE).total.value - 0.6))
    assert set(held) == {"b", "c"}


@pytest.mark.parametrize("used", [["small", "large"], ["large", "small"]])
def test_a_neighbour_holds_of_each_card_what_the_smallest_gives(used: list[str]) -> None:
    # ranks hold the same number of blocks, so half of 12 GB bounds what lies on the 24, too
    pair = {"engine": "vllm", "gpu_memory_fraction": 0.5, "tensor_parallel_size": 2, "gpus": used}
    found = rig(TWO_CARDS, {"pair": pair, "alone": {"engine": "vllm", "gpus": ["large"]}})
    contexts = 1.75  # of two ranks
    half = 0.5 * card("rtx-3060").total.value
    assert beside(found, "alone") == {"pair": pytest.approx(half + contexts)}


def test_llama_cpp_holds_its_cache_only_where_a_context_bounds_it() -> None:
    held = {}
    for context in (None, 8192, 16384):
        llama = {"engine": "llama_cpp", "split_mode": "none", "context_length": context}
        services = {"one": {"engine": "vllm"}, "other": llama}
        held[context] = beside(rig({"main": LARGE}, services), "one")["other"]
    # weights and buffers, and 144 KiB of 36 layers' 16-bit cache for each token
    cache = 8192 * 144 / 2**20
    assert held[16384] - held[8192] == pytest.approx(cache, rel=0.1)
    assert 14 < held[None] < held[8192] + cache


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama_cpp"])
def test_only_sglang_must_find_more_free_than_it_holds(engine: str) -> None:
    # a quarter of the free memory must hold 16 GiB of weights and a request: four times as much of
    # it must be free; vLLM's share is of the card, and llama.cpp has none
    share = {} if engine == "llama_cpp" else {"gpu_memory_fraction": 0.25}
    other = {"engine": engine, "context_length": 8192} | share
    found = rig({"main": LARGE}, {"one": {"engine": "vllm"}, "other": other})
    ((held,),) = neighbours(found, "one", {"qwen": model("Qwen/Qwen3-8B")}, find_gpu).values()
    assert (held.reserved_gib > 4 * 16) is (engine == "sglang")
    assert (held.reserved_gib == held.gib) is (engine != "sglang")


def reserved(share: float, **other: object) -> float:
    """What an SGLang of this share must find free."""
    told = {"engine": "sglang", "context_length": 8192, "gpu_memory_fraction": share} | other
    found = rig({"main": LARGE}, {"one": {"engine": "vllm"}, "other": told})
    ((held,),) = neighbours(found, "one", {"qwen": model("Qwen/Qwen3-8B")}, find_gpu).values()
    return held.reserved_gib


def test_the_share_is_of_what_the_start_itself_leaves() -> None:
    # a fifth and a quarter of what lies beside its start hold the same: start + 5 x and start + 4 x
    assert 5 * reserved(0.25) - 4 * reserved(0.2) == pytest.approx(0.6)


def test_weights_of_eight_bits_at_load_need_less_to_be_free() -> None:
    # 36 layers of 13 GiB become 6.5; tables of words of 2.3 and a request of 1.1 stay
    half = (reserved(0.25) - reserved(0.25, quantization="fp8")) * 0.25
    assert half == pytest.approx(6.5, abs=0.3)


def test_states_beside_the_request_must_find_room_in_the_share_too() -> None:
    # 0.9 bytes of states for a byte of the 2 GiB that one request of 32,768 tokens takes
    hybrid, told = model("Qwen/Qwen3.8-27B"), {"engine": "sglang", "context_length": 32768}
    free = []
    for words in ((), ("--mamba-full-memory-ratio", "0.1")):
        other = told | {
            "gpu_memory_fraction": 0.5,
            "extra_args": list(words),
            "quantization": "fp8",
        }
        found = rig({"main": LARGE}, {"one": {"engine": "vllm"}, "other": other})
        ((held,),) = neighbours(found, "one", {"qwen": hybrid}, find_gpu).values()
        free.append(held.reserved_gib)
    assert free[0] - free[1] == pytest.approx((0.9 - 0.1) * 2.0 / 0.5, rel=0.02)


def test_nothing_more_is_left_free_for_a_service_that_does_not_fit_alone() -> None:
    # an eighth of 96 GB is less than 16 GiB of weights: no room of this card would be enough
    other = {"engine": "sglang", "context_length": 8192, "gpu_memory_fraction": 0.125}
    found = rig({"main": LARGE}, {"one": {"engine": "vllm"}, "other": other})
    ((held,),) = neighbours(found, "one", {"qwen": model("Qwen/Qwen3-8B")}, find_gpu).values()
    assert held.reserved_gib == held.gib


@pytest.mark.parametrize("used", [["small", "large"], ["large", "small"]])
def test_layers_go_by_what_others_leave_of_each_card(used: list[str]) -> None:
    # vLLM holds 0.8 of the 23.6 GiB of a 3090 and 0.5 for a context: 4.2 of them are free, and all
    # 11.6 of a 3060, so 24 or 25 of 33 layers go there
    llama = {"engine": "llama_cpp", "split_mode": "layer", "context_length": 4096, "gpus": used}
    vllm = {"engine": "vllm", "gpu_memory_fraction": 0.8, "gpus": ["large"]}
    found = rig(TWO_CARDS, {"one": llama, "other": vllm})
    sized = size_service(found, "one", {"qwen": model("meta-llama/Meta-Llama-3.1-8B")}, find_gpu)
    assert sized is not None
    held = {each.asked.card.name: each.asked.settings.portion for each in both(sized.memory)}
    layers = {name: len(portion.layers) for name, portion in held.items() if portion}
    assert layers["NVIDIA GeForce RTX 3060"] in (24, 25)
    assert sum(layers.values()) == 33
    shared = sized.card.name == "NVIDIA GeForce RTX 3090"
    assert [each.name for each in sized.neighbours] == (["other"] if shared else [])


def test_neighbours_are_those_of_the_card_that_is_tightest() -> None:
    # half of the layers on 12 GB, where nobody else is, and half on 24 beside a tenth
    llama = {"engine": "llama_cpp", "split_mode": "layer", "context_length": 4096,
             "gpus": ["small", "large"], "extra_args": ["--tensor-split", "1,1"]}  # fmt: skip
    vllm = {"engine": "vllm", "gpu_memory_fraction": 0.1, "gpus": ["large"]}
    known = {"qwen": model("Qwen/Qwen3-8B")}
    sized = size_service(rig(TWO_CARDS, {"one": llama, "other": vllm}), "one", known, find_gpu)
    assert sized is not None
    assert (sized.card.name, sized.neighbours) == ("NVIDIA GeForce RTX 3060", ())


def test_what_does_not_fit_alone_fits_in_no_order_of_starts() -> None:
    # 16 GiB of weights on 12 GB
    llama = {"engine": "llama_cpp", "split_mode": "none", "context_length": 4096}
    vllm = {"engine": "vllm", "gpu_memory_fraction": 0.2}
    found = rig({"main": "rtx-3060"}, {"one": llama, "other": vllm})
    sized = size_service(found, "one", {"qwen": model("Qwen/Qwen3-8B")}, find_gpu)
    assert sized is not None
    assert sized.memory.verdict is Verdict.NO


def both(found: MemoryEstimate) -> tuple[MemoryEstimate, ...]:
    return (found, *found.beside)


def test_what_llama_cpp_holds_is_that_of_the_card_in_question() -> None:
    # two thirds of the layers are on the 24 GiB, a third on the 12
    llama = {"engine": "llama_cpp", "split_mode": "layer", "context_length": 4096,
             "gpus": ["small", "large"]}  # fmt: skip
    services = {"one": {"engine": "vllm", "gpus": ["large"]}, "other": llama}
    gib = beside(rig(TWO_CARDS, services), "one")["other"]
    weights = sum(m.stored_bytes for m in matrices(model("Qwen/Qwen3-8B")) if m.layer is not None)
    assert gib == pytest.approx(weights * 2 / 3 / 2**30 + 1.5, abs=1.0)
    services["other"] = llama | {"split_mode": "none"}
    assert beside(rig(TWO_CARDS, services), "one") == {}  # the first of its cards holds it all


def test_where_one_card_is_unknown_nobody_says_what_the_others_hold() -> None:
    # the layers go by the memory of all cards
    llama = {"engine": "llama_cpp", "split_mode": "layer", "gpus": ["small", "large"]}
    found, known = rig(TWO_CARDS, {"one": llama}), {"qwen": model("Qwen/Qwen3-8B")}
    (small,) = members(found.gpus, ["small"])
    assert of_llama_cpp(found, "one", small, known, find_gpu) is not None

    def of_the_small(sku: str) -> Gpu | None:
        return find_gpu(sku) if sku == "rtx-3060" else None

    assert of_llama_cpp(found, "one", small, known, of_the_small) is None


def test_an_engine_that_finds_nothing_left_still_holds_its_own_start() -> None:
    # 0.97 of 12 GB leave 0.3 GiB, less than the 0.6 with which the next SGLang starts
    greedy = {"engine": "sglang", "gpu_memory_fraction": 0.97}
    services = {"one": {"engine": "vllm"}, "first": greedy, "next": greedy}
    assert beside(rig({"main": "rtx-3060"}, services), "one")["next"] == pytest.approx(0.6)


@pytest.mark.parametrize(("count", "largest", "groups"), [(12, 12, 2**12 - 12 - 1), (13, 2, 78)])
def test_of_more_than_twelve_services_only_pairs_are_looked_at(
    count: int, largest: int, groups: int
) -> None:
    # of 12 all sets of two and more, but those of one and of none; of 13 its 13 × 12 / 2 pairs
    names = [f"s{index}" for index in range(count)]
    found = list(
        groups_at_once(rig({"main": LARGE}, {name: {"engine": "vllm"} for name in names}), names)
    )
    assert max(len(group) for group in found) == largest
    assert len(found) == groups


@pytest.mark.parametrize("told", [{"gpu_layers": 0}, {"extra_args": ["--no-kv-offload"]}])
def test_what_stays_in_host_memory_is_no_figure_and_yet_a_doubt(told: dict[str, Any]) -> None:
    llama = {"engine": "llama_cpp", "split_mode": "none", "context_length": 8192}
    services = {"one": {"engine": "vllm"}, "other": llama | told}
    assert beside(rig({"main": LARGE}, services), "one") == {"other": 0}
    assert beside(rig({"main": LARGE}, services | {"other": llama}), "one")["other"] > 4
    known = {"qwen": model("Qwen/Qwen3-8B")}
    for engine in ("vllm", "llama_cpp"):
        one = {"one": {"engine": engine, "context_length": 8192}}
        judged = [
            size_service(rig({"main": LARGE}, one | others), "one", known, find_gpu)
            for others in ({}, {"other": llama | told}, {"other": llama | {"model": "unread"}})
        ]
        assert [each and each.memory.boots.value for each in judged] == ["yes", "close", "close"]
        said = [list(neighbour_lines(each)) for each in judged if each is not None]
        unknown = ["    · held by `other`                nobody knows how much: it is not sized"]
        assert said == [[], unknown, unknown]


def test_a_check_names_the_neighbour_that_nobody_sized() -> None:
    llama = {"engine": "llama_cpp", "context_length": 8192}
    found = rig({"main": LARGE}, {"one": llama, "other": llama | {"gpu_layers": 3}})
    context = CheckContext(models={"qwen": model("Qwen/Qwen3-8B")})
    said = "`one` is judged without `other`: nobody knows how much it holds of a card"
    assert said in list(unchecked(found, context))
    alone = rig({"main": LARGE}, {"one": llama, "other": llama})
    assert not list(unchecked(alone, context))


def test_of_two_that_never_run_at_once_the_unknown_is_named_beside_the_larger() -> None:
    llama = {"engine": "llama_cpp", "context_length": 8192}
    services = {
        "one": {"engine": "vllm"},
        "large": llama | {"instead_of": ["unknown"]},
        "unknown": llama | {"gpu_layers": 3},
    }
    found = beside(rig({"main": LARGE}, services), "one")
    assert set(found) == {"large", "unknown"}
    assert found["unknown"] == 0 < found["large"]
