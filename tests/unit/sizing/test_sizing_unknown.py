"""An architecture that nobody knows: wide bands, and no confident answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from published import model

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_gguf import with_gguf_sizes
from rigspec.catalog.model_quant import UNKNOWN_FORMAT, Quantization, Scheme
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import card_of
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import rank_weights

CONFIG = Path(__file__).parents[3] / "benchmarks/data/model-configs/Qwen__Qwen3-8B.json"
SIZE = 16_381_470_720
VERSION = (0, 30)


def facts(model_type: str, *, read: bool = True, gguf: bool = False) -> ModelFacts:
    found = facts_of_config("Org/New", json.loads(CONFIG.read_text()) | {"model_type": model_type})
    assert found is not None
    if gguf:
        return with_gguf_sizes(found, ExactSizes(SIZE // 2, "new.gguf"))
    return replace(found, sizes=ExactSizes(SIZE, "headers of 5 files") if read else None)


def sized(model: ModelFacts, engine: Engine = Engine.VLLM, ranks: int = 1, context: int = 16384,
          sku: str = "rtx-3090") -> MemoryEstimate:  # fmt: skip
    gpu = find_gpu(sku)
    assert gpu is not None
    settings = EngineSettings(
        engine=engine, version=VERSION, tensor_parallel=ranks, context=context
    )
    return estimate(model, card_of(gpu), settings)


def width(amount: Amount | None) -> float:
    assert amount is not None
    return amount.high / amount.low


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_the_cache_of_an_unknown_architecture_is_wide(engine: Engine) -> None:
    known, new = sized(facts("qwen3"), engine), sized(facts("foobar"), engine)
    assert new.kv_tokens is not None
    assert known.kv_tokens is not None
    assert new.kv_tokens.low <= 0.5 * known.kv_tokens.low
    assert new.kv_tokens.high >= 2 * known.kv_tokens.high
    assert width(new.needed) >= 4


def test_a_gguf_of_an_unknown_architecture_fits_only_if_twice_the_cache_does() -> None:
    known, new = (
        [sized(facts(kind, gguf=True), Engine.LLAMA_CPP, context=length).verdict
         for length in (8192, 65536)]
        for kind in ("qwen3", "zorg")
    )  # fmt: skip
    assert known == [Verdict.YES, Verdict.YES]
    assert new == [Verdict.YES, Verdict.CLOSE]
    buffer = sized(facts("zorg", gguf=True), Engine.LLAMA_CPP).terms[1].amount
    assert width(buffer) >= 4


def test_the_widest_step_may_be_one_that_nothing_cuts() -> None:
    alone, cut = (sized(facts("foobar"), ranks=ranks).terms[1].amount for ranks in (1, 4))
    assert cut.high >= alone.high / 2
    assert cut.high > 4 * cut.value


def test_weights_are_exact_only_as_stored() -> None:
    one, two = (sized(facts("foobar"), ranks=ranks).terms[0] for ranks in (1, 2))
    assert one.basis == "headers of 5 files, as stored"
    assert width(one.amount) < 1.02
    assert two.basis.endswith("as stored; how they are cut is not known")
    assert width(two.amount) >= 1.16
    assert width(sized(facts("foobar", read=False)).weights) >= 1.16


def test_bytes_of_another_checkpoint_widen_the_cache_too() -> None:
    lies = replace(facts("qwen3"), sizes=ExactSizes(SIZE // 2, "headers of 5 files"))
    assert width(sized(lies).needed) >= 4


@pytest.mark.parametrize(
    ("changed", "times"),
    [
        ({"intermediate_size": None}, 8),
        ({"num_attention_heads": None}, 8),
        ({"model_type": "qwen3_moe"}, 100),  # of no stated number of experts
    ],
)
def test_a_size_that_nobody_states_is_never_enough_to_fit(
    changed: dict[str, object], times: int
) -> None:
    found = facts_of_config("Org/New", json.loads(CONFIG.read_text()) | changed)
    assert found is not None
    bound = sized(found, sku="h200-sxm")
    assert bound.verdict is Verdict.CLOSE
    assert bound.weights.low == pytest.approx(0.9 * bound.weights.value, rel=0.01)
    assert bound.weights.high == pytest.approx(times * bound.weights.value, rel=0.01)
    read = found.with_sizes(ExactSizes(SIZE, "headers of 5 files"))
    assert sized(read, sku="h200-sxm").verdict is Verdict.CLOSE
    assert width(sized(read).weights) < 1.02  # as stored


def test_a_rounded_size_is_taken_alone_where_nothing_is_known_of_the_format() -> None:
    # a 27B in few bits, 9.42 GB on disk, loads 8.97 GiB
    plain = model("Qwen/Qwen3-32B")
    sized = ExactSizes(int(9.42e9), "a page", None, 0.04)
    unknown = replace(
        plain, quantization=Quantization(Scheme.INT8, 0), weights_doubt=UNKNOWN_FORMAT, sizes=sized
    )
    assert rank_weights(unknown, EngineSettings()).amount.value == pytest.approx(8.8, abs=0.1)
    doubted = replace(unknown, weights_doubt=0.2)  # the middle of both
    assert rank_weights(doubted, EngineSettings()).amount.value > 12
