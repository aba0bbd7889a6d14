"""Two sources that cannot both be true: the band holds what either says, `yes` needs both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from published import card

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_gguf import with_gguf_sizes
from rigspec.catalog.model_parts import Attention
from rigspec.catalog.model_shapes import Shapes
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.as_loaded import as_loaded
from rigspec.sizing.drafter import stored_gib
from rigspec.sizing.held import as_held
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stored import size_doubt
from rigspec.sizing.throughput import decode
from rigspec.sizing.unknown import doubts_of
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import rank_weights
from rigspec.units import GIB

CONFIG = Path(__file__).parents[3] / "benchmarks/data/model-configs/Qwen__Qwen3-8B.json"
BYTES = 16_381_470_720
"""Qwen3-8B by its index: 15.26 GiB."""
WHOLE = BYTES / GIB
SHAPES = Shapes(36, (4096,), (1024,), (151936,))
"""What its headers show."""


def facts(total: float = 1.0, shapes: Shapes = SHAPES, **changed: object) -> ModelFacts:
    """Qwen3-8B with a share of its bytes, and a config that says otherwise."""
    found = facts_of_config("m", json.loads(CONFIG.read_text()) | changed)
    assert found is not None
    return found.with_sizes(ExactSizes(int(total * BYTES), "headers of 5 files", shapes=shapes))


def gguf(shapes: Shapes, **changed: object) -> ModelFacts:
    """A file of 4.26 GiB, about four and a half bits, whatever its config says."""
    found = facts(**changed)
    return with_gguf_sizes(found, ExactSizes(int(0.28 * BYTES), "m.gguf", shapes=shapes))


def sized(model: ModelFacts, sku: str, engine: Engine = Engine.VLLM) -> MemoryEstimate:
    settings = EngineSettings(engine=engine, version=(0, 30), context=4096)
    return estimate(model, card(sku), settings)


@pytest.mark.parametrize(
    ("model", "low", "high"),
    [
        (facts(0.01), 0.01 * WHOLE, WHOLE),
        (facts(3.0), WHOLE, 3 * WHOLE),
        (facts(0.01, layer_types=["full_attention"]), 0.01 * WHOLE, WHOLE),  # two doubts at once
        (facts(num_hidden_layers=72), WHOLE, 1.85 * WHOLE),
        (facts(vocab_size=32000), WHOLE - 1.83, WHOLE),
        (facts(num_key_value_heads=32), WHOLE, WHOLE + 1.69),
        (facts(0.5, Shapes(18)), 0.5 * WHOLE, WHOLE),
    ],
    ids=["bytes", "more bytes", "two doubts", "layers", "words", "heads", "half"],
)
def test_the_weights_may_be_what_either_of_two_sources_says(
    model: ModelFacts, low: float, high: float
) -> None:
    found = rank_weights(model, EngineSettings()).amount
    assert found.low <= 1.01 * low
    assert found.high >= 0.99 * high


def test_sources_that_agree_leave_no_band() -> None:
    found = rank_weights(facts(), EngineSettings(version=(0, 20))).amount
    assert found.high - found.low < 0.1


@pytest.mark.parametrize(("held", "stated"), [(36, 72), (72, 36), (36, 18)])
def test_a_gguf_of_other_layers_may_be_as_large_as_its_header_says(held: int, stated: int) -> None:
    model = gguf(replace(SHAPES, layers=held), num_hidden_layers=stated)
    found = rank_weights(model, EngineSettings(engine=Engine.LLAMA_CPP)).amount
    # table and head are a sixth of the file and do not grow with the layers
    assert found.high / found.low > 0.7 * max(held / stated, stated / held)


def test_what_the_headers_show_is_taken_for_the_other_reading() -> None:
    held = as_held(facts(num_hidden_layers=72, num_key_value_heads=32, vocab_size=32000))
    mixer = held.layers[0].mixer
    assert isinstance(mixer, Attention)
    assert (len(held.layers), mixer.heads, mixer.kv_heads, held.vocab) == (36, 32, 8, 151936)
    agreed = facts()
    assert as_held(agreed) is agreed


@pytest.mark.parametrize(
    ("model", "sku", "verdict"),
    [
        (facts(0.01), "rtx-3060", Verdict.CLOSE),
        (facts(0.01), "rtx-3090", Verdict.YES),  # 15.3 GiB fit, too
        (facts(3.0), "rtx-3090", Verdict.CLOSE),
        (facts(num_hidden_layers=72), "rtx-3090", Verdict.CLOSE),
        (facts(num_hidden_layers=72), "rtx-a6000", Verdict.YES),
        (facts(num_hidden_layers=72), "rtx-3060", Verdict.NO),  # not even the smaller one
    ],
)
def test_only_what_fits_either_way_fits(model: ModelFacts, sku: str, verdict: Verdict) -> None:
    assert sized(model, sku).verdict is verdict


def test_a_gguf_fits_only_if_either_reading_does() -> None:
    double = gguf(SHAPES, num_hidden_layers=144)  # 4.3 GiB, or 15
    assert sized(double, "rtx-3060", Engine.LLAMA_CPP).verdict is Verdict.CLOSE
    assert sized(gguf(SHAPES), "rtx-3060", Engine.LLAMA_CPP).verdict is Verdict.YES


def test_a_cache_of_other_heads_may_be_as_large_as_theirs() -> None:
    whole = sized(facts(), "rtx-3090").needed
    found = sized(facts(num_key_value_heads=1), "rtx-3090").needed  # the files have eight
    assert whole is not None
    assert found is not None
    assert found.high >= whole.value


def test_speed_may_be_that_of_either_reading() -> None:
    settings = EngineSettings(version=(0, 30))
    true, small, large = (
        decode(model, card("rtx-3090"), settings) for model in (facts(), facts(0.1), facts(10.0))
    )
    assert true is not None
    assert small is not None
    assert large is not None
    assert small.tok_s.low < true.tok_s.value < large.tok_s.high


@pytest.mark.parametrize("total", [0.2, 4.0])
def test_what_is_quantized_at_load_keeps_the_doubt_of_its_files(total: float) -> None:
    model = facts(total)
    found = as_loaded(model, "fp8", EngineSettings())
    assert size_doubt(model) in doubts_of(found)
    amounts = [
        rank_weights(each, EngineSettings()).amount
        for each in (found, as_loaded(facts(), "fp8", EngineSettings()))
    ]
    assert amounts[0].low <= 1.01 * min(1.0, total) * amounts[1].value
    assert amounts[0].high >= 0.99 * max(1.0, total) * amounts[1].value


@pytest.mark.parametrize("model", [facts(0.5), facts(3.0), facts(num_key_value_heads=4)])
def test_a_file_that_its_config_contradicts_is_not_believed_to_the_byte(model: ModelFacts) -> None:
    # what is wrong of it may be wrong the other way, too: a tenth, though headers are exact
    found = rank_weights(model, EngineSettings()).amount
    assert found.low <= 0.91 * found.value
    assert found.high >= 1.09 * found.value


@pytest.mark.parametrize(("share", "doubted"), [(0.65, True), (0.80, False)])
def test_more_than_a_third_less_is_of_another_checkpoint(share: float, doubted: bool) -> None:
    # a third is a lie about the layers or the format; a fifth is no sign of one
    assert bool(size_doubt(facts(share))) is doubted


def test_gated_queries_have_twice_the_rows_of_their_heads() -> None:
    gated = load_model_facts("Qwen/Qwen3.5-27B", [CONFIG.parent])
    assert gated is not None
    rows = 48 * 256 * 2  # 48 heads of 256 and a gate for each; the config states 24
    shapes = Shapes(64, (rows,), (4 * 256,), (248320,))
    held = as_held(gated.with_sizes(ExactSizes(BYTES, "headers of 5 files", shapes=shapes)))
    mixers = [layer.mixer for layer in held.layers if isinstance(layer.mixer, Attention)]
    assert {(mixer.heads, mixer.kv_heads) for mixer in mixers} == {(48, 4)}


def stated(total: int) -> ModelFacts:
    """Qwen3-8B with nothing but a total that an index states."""
    return replace(facts(), sizes=ExactSizes(total, "model.safetensors.index.json"))


@pytest.mark.parametrize("total", [16, 16_381_470, 900_000_000])
def test_a_total_that_leaves_no_bit_for_a_weight_is_set_aside(total: int) -> None:
    found = rank_weights(stated(total), EngineSettings())
    assert found.basis == "formulas over config.json"
    assert 0.85 * WHOLE < found.amount.low < 0.95 * WHOLE < WHOLE < found.amount.high
    said = f"{total:,} bytes by model.safetensors.index.json, less than a bit for each"
    assert doubts_of(stated(total))[0].startswith(said)
    settings = EngineSettings(version=(0, 30), context=4096)
    fast = decode(stated(total), card("rtx-3090"), settings)
    right = decode(facts(), card("rtx-3090"), settings)
    assert fast is not None and right is not None
    assert fast.tok_s.high < 1.2 * right.tok_s.high


def test_a_total_of_more_is_one_of_two_readings() -> None:
    low = rank_weights(stated(2_000_000_000), EngineSettings()).amount.low
    assert low < 2.0


def test_so_is_the_total_of_a_gguf_and_nothing_tells_its_format_then() -> None:
    found = with_gguf_sizes(facts(), ExactSizes(16, "m.gguf"))
    amount = rank_weights(found, EngineSettings(engine=Engine.LLAMA_CPP)).amount
    assert amount.high > 1.8 * amount.value > 5
    assert doubts_of(found)[0].startswith("16 bytes by ")


def test_what_is_set_aside_is_no_basis_of_an_unknown_architecture() -> None:
    novel = replace(stated(16), is_novel=True)
    assert rank_weights(novel, EngineSettings()).basis == "formulas over config.json"


def test_a_drafter_whose_total_is_set_aside_is_sized_by_its_dimensions() -> None:
    assert stored_gib(stated(16)) == pytest.approx(WHOLE, rel=0.001)
