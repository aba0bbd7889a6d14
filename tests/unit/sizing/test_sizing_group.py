"""The card with the least room rules; llama.cpp's cards are judged each by its own layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import card

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.report.sizing import memory_lines
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.group import each_card, portions, shares_of, tightest
from rigspec.sizing.llamacpp import card_cache_gib
from rigspec.sizing.remedies import remedies
from rigspec.sizing.service import size_service, sized
from rigspec.sizing.settings import Engine, EngineSettings, Portion
from rigspec.sizing.verdict import Verdict
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig
from rigspec.units import GIB

ROOT = Path(__file__).parents[3]
SPLIT = EngineSettings(engine=Engine.LLAMA_CPP, tensor_parallel=2, context=8192)


LARGE, SMALL = card("rtx-3090"), card("rtx-3060")


def gguf(gib: float) -> ModelFacts:
    """A GGUF of 64 layers."""
    found = load_model_facts("Qwen/Qwen3-32B", [ROOT / "benchmarks/data/model-configs"])
    assert found is not None
    assert len(found.layers) == 64
    return replace(
        found,
        quantization=Quantization(Scheme.GGUF, bits_per_weight=5.5),
        sizes=ExactSizes(int(gib * GIB), "a file", None, 0.0),
    )


def test_layers_go_to_the_cards_by_their_memory() -> None:
    # 64 layers and the output, 23.55 and 11.55 GiB: `load_tensors` puts layer i where i/65 falls
    held = [part.layers for part in portions(gguf(21.0), (LARGE, SMALL), SPLIT)]
    assert held == [range(44), range(44, 65)]
    found, tight = tightest(gguf(21.0), (LARGE, SMALL), SPLIT)
    assert found.verdict is Verdict.YES
    assert tight == SMALL
    assert found.weights.value == pytest.approx(21.0 * 20.5 / 65, rel=0.05)


def test_the_screen_says_which_card_and_how_many_layers() -> None:
    found = "\n".join(memory_lines(sized("chat", gguf(21.0), (LARGE, SMALL), SPLIT)))
    assert "GeForce RTX 3060, 11.6 GiB  |" in found
    assert "a file, 21 of 65 layers" in found
    assert "  fullest card, " in next(memory_lines(sized("chat", gguf(21.0), (LARGE,) * 2, SPLIT)))


def test_a_split_model_that_is_too_large_for_both_is_refused() -> None:
    assert tightest(gguf(35.0), (LARGE, SMALL), SPLIT)[0].verdict is Verdict.NO


def test_the_two_cards_hold_all_weights_and_all_cache_together() -> None:
    facts = gguf(21.0)
    alone = replace(SPLIT, tensor_parallel=1)
    whole, _ = tightest(facts, (card("h100"),), alone)
    found, _ = tightest(facts, (LARGE, SMALL), SPLIT)
    parts = (found, *found.beside)
    assert sum(p.weights.value for p in parts) == pytest.approx(whole.weights.value, rel=1e-3)
    assert whole.needed is not None
    cached = sum(part.needed.value for part in parts if part.needed is not None)
    assert cached == pytest.approx(whole.needed.value)


@pytest.mark.parametrize(
    ("stated", "first"),
    [((2.0, 1.0), range(44)), ((1.0, 1.0), range(33)), ((3.0,), range(65)), ((0.0,), range(44))],
)
def test_a_stated_split_is_followed(stated: tuple[float, ...], first: range) -> None:
    asked = replace(SPLIT, tensor_split=stated)
    assert next(portions(gguf(21.0), (LARGE, SMALL), asked)).layers == first


def test_halves_do_not_fit_where_two_thirds_do() -> None:
    halves = replace(SPLIT, tensor_split=(1.0, 1.0))
    assert tightest(gguf(24.0), (LARGE, SMALL), halves)[0].verdict is Verdict.NO
    assert tightest(gguf(24.0), (LARGE, SMALL), SPLIT)[0].verdict is not Verdict.NO


def test_the_hint_names_the_split_that_fits() -> None:
    wrong = replace(SPLIT, tensor_split=(1.0, 2.0))
    found = remedies(gguf(21.0), (LARGE, SMALL), wrong)
    assert [remedy.write for remedy in found] == ["no `--tensor-split`"]


@pytest.mark.parametrize(
    ("cards", "printed_mib"),
    [
        (3, [2816.0, 2816.0, 2560.0]),  # Qwen2.5-32B on three P40, b4020, 32,768 cells
        (2, [264.0, 248.0]),  # Qwen3-32B on two T4, b5273, 2,048 cells
    ],
)
def test_by_row_the_cache_follows_the_layers(cards: int, printed_mib: list[float]) -> None:
    settings = replace(SPLIT, split="row", tensor_parallel=cards)
    context = 32768 if cards == 3 else 2048
    found = [
        card_cache_gib(gguf(21.0), replace(settings, portion=part), context) * 1024
        for part in portions(gguf(21.0), (LARGE,) * cards, settings)
    ]
    assert found == pytest.approx(printed_mib)


def test_by_row_all_matrices_are_shared_and_by_tensor_the_cache_too() -> None:
    row = replace(SPLIT, split="row", main_gpu=1)
    shares = [LARGE.total.value, SMALL.total.value]
    rows = [share / sum(shares) for share in shares]
    assert list(portions(gguf(21.0), (LARGE, SMALL), row)) == [
        Portion(range(44), spread=rows[0]),
        Portion(range(44, 65), spread=rows[1]),
    ]
    large, small = (found for found, _ in each_card(gguf(21.0), (LARGE, SMALL), row))
    assert small.weights.value / large.weights.value == pytest.approx(rows[1] / rows[0], rel=0.01)
    tensor = replace(SPLIT, split="tensor")  # `llama_meta_device_get_split_state`: evenly
    assert list(portions(gguf(21.0), (LARGE, SMALL), tensor)) == [Portion(range(65), 0.5, 0.5)] * 2


@pytest.mark.parametrize(
    ("stated", "eighths"),
    [
        ((0.5, 0.5), [4, 4]),
        ((0.49, 0.51), [3, 5]),
        ((0.01, 0.99), [0, 8]),
        ((0.99, 0.01), [7, 1]),
        ((0.25, 0.75), [2, 6]),
    ],
)
def test_by_tensor_the_cache_is_cut_at_whole_heads(
    stated: tuple[float, float], eighths: list[int]
) -> None:
    asked = replace(SPLIT, split="tensor", tensor_split=stated)
    held = list(portions(gguf(21.0), (LARGE, LARGE), asked))  # of 8 heads of keys and values
    assert [part.cache * 8 for part in held] == eighths
    assert [part.rows for part in held] == pytest.approx(stated)
    latent = load_model_facts("zai-org/GLM-4.7-Flash", [ROOT / "benchmarks/data/model-configs"])
    assert latent is not None
    assert [part.cache for part in portions(latent, (LARGE, LARGE), asked)] == pytest.approx(stated)


def test_the_longest_context_is_that_of_the_card_which_it_fills_first() -> None:
    # the first card has few layers and much room, the second most of the cache
    uneven = replace(SPLIT, tensor_split=(1.0, 3.0))
    found, _ = tightest(gguf(9.0), (LARGE, SMALL), uneven)
    longest = found.largest_context
    assert longest is not None
    assert tightest(gguf(9.0), (LARGE, SMALL), replace(uneven, context=longest))[0].boots is not (
        Verdict.NO
    )
    alone = [replace(each, beside=()).largest_context for each in (found, *found.beside)]
    assert longest == min(each for each in alone if each is not None)


SPEC = (ROOT / "tests/errors/services-share-with-llama.yaml").read_text()


def rig(more: str) -> Rig:
    """One llama.cpp service on a 3060 and a 3090, in this order."""
    text, _, _ = SPEC.partition("services:\n")
    text = text.replace(
        "    sku: rtx-a6000\n    count: 2\n    power_limit_w: 280\n",
        "    sku: rtx-3060\n    count: 1\n  big:\n    sku: rtx-3090\n    count: 1\n",
    ).replace("gpus: [main]", "gpus: [main, big]")
    service = f"""services:
  chat:
    engine: llama_cpp
    image: ghcr.io/ggml-org/llama.cpp:server-cuda13@sha256:{"8" * 64}
    model: chat
    gpus: [main, big]
    context_length: 8192
    listen: {{port: 8000}}
{more}"""
    loaded = load_text("rig.yaml", text + service)
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


@pytest.mark.parametrize(
    "more",
    [
        '    extra_args: [--tensor-split, "1,2.5"]\n',
        '    extra_args: [-ts, "1/2.5"]\n',
        '    extra_args: ["--tensor-split=1,2.5"]\n',
        '    environment: {LLAMA_ARG_TENSOR_SPLIT: "1,2.5"}\n',
    ],
)
def test_a_split_is_read_however_it_is_written(more: str) -> None:
    assert settings_of(rig(more), "chat").tensor_split == (1.0, 2.5)


@pytest.mark.parametrize("words", ["0,0", "a,b"])
def test_a_split_that_says_nothing_is_none(words: str) -> None:
    more = f'    extra_args: [--tensor-split, "{words}"]\n'
    assert settings_of(rig(more), "chat").tensor_split == ()


@pytest.mark.parametrize(
    ("more", "tight"),
    [
        ("    split_mode: none\n", "RTX 3060"),
        ('    split_mode: none\n    extra_args: [--main-gpu, "1"]\n', "RTX 3090"),
        ('    split_mode: none\n    extra_args: [-mg, "1"]\n', "RTX 3090"),
        ('    split_mode: none\n    extra_args: [-mg, "²"]\n', "RTX 3060"),
        ('    split_mode: none\n    environment: {LLAMA_ARG_MAIN_GPU: "1"}\n', "RTX 3090"),
        (
            '    split_mode: none\n    environment: {LLAMA_ARG_MAIN_GPU: "1"}\n'
            '    extra_args: [-mg, "0"]\n',
            "RTX 3060",
        ),
    ],
)
def test_without_a_split_the_main_gpu_alone_is_judged(more: str, tight: str) -> None:
    sized = size_service(rig(more), "chat", {"chat": gguf(18.0)}, find_gpu)
    assert sized is not None
    assert sized.card.name.endswith(tight)
    fits = sized.memory.verdict is not Verdict.NO
    assert fits is (tight == "RTX 3090")


def test_a_card_that_others_hold_more_than_whole_gets_no_layer() -> None:
    # vLLM's share of nearly all and its context are more than there is; no share is below nothing
    full = replace(card("rtx-3060"), held_gib=card("rtx-3060").total.value + 1)
    first, second = shares_of((full, card("rtx-3090")), EngineSettings(engine=Engine.LLAMA_CPP))
    assert 0 <= first < 0.001
    assert first + second == pytest.approx(1)
