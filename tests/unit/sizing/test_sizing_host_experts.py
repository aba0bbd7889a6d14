"""Experts that llama.cpp keeps in host memory, against published boots: weights of the cards, room
for what passes through, ways out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import CONFIGS, card

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.group import each_card, tightest
from rigspec.sizing.llamacpp_told import ALL_LAYERS
from rigspec.sizing.memory import budget
from rigspec.sizing.remedies import remedies
from rigspec.sizing.service import sized
from rigspec.sizing.settings import Engine, EngineSettings, Portion
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib, rank_weights

LLAMA = EngineSettings(engine=Engine.LLAMA_CPP, context=32768, complete=True)


def gguf(name: str, bits: float) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return replace(facts, quantization=Quantization(Scheme.GGUF, bits_per_weight=bits), sizes=None)


@pytest.mark.parametrize(
    ("name", "bits", "moved", "printed_gib"),
    [
        # "model buffer size" of CUDA0, gpt-oss-20b MXFP4 on a 3070, `--n-cpu-moe 99`
        ("openai/gpt-oss-20b", 4.6, 99, 1242.03 / 1024),
        # Qwen3.6-35B-A3B IQ4_XS on a 5070, `-ncmoe 28`
        ("Qwen/Qwen3.5-35B-A3B", 4.3, 28, 6.24),
        # gpt-oss-120b with all but the experts in 16 bits on a 5060 Ti, `--cpu-moe`
        ("openai/gpt-oss-120b", 4.48, ALL_LAYERS, 3131.54 / 1024),
    ],
)
def test_the_band_holds_what_the_card_printed(
    name: str, bits: float, moved: int, printed_gib: float
) -> None:
    weights = rank_weights(gguf(name, bits), replace(LLAMA, host_experts=moved)).amount
    assert weights.low < printed_gib < weights.high


def test_experts_of_the_first_layers_leave_the_cards_and_nothing_else_does() -> None:
    facts = gguf("Qwen/Qwen3-30B-A3B", 4.9)  # 48 layers
    whole = rank_weights(facts, LLAMA).amount.value
    half, none = (replace(LLAMA, host_experts=count) for count in (24, 48))
    for settings in (half, none):
        there = host_gib(facts, settings)
        assert there is not None
        left = rank_weights(facts, settings).amount.value
        assert left + there.value == pytest.approx(whole, abs=0.1)  # what an allocator wastes
    assert host_gib(facts, replace(LLAMA, host_experts=ALL_LAYERS)) == host_gib(facts, none)
    # of 30.5 billion weights 29.0 are experts, 0.3 the table of words, which no card holds
    assert rank_weights(facts, none).amount.value == pytest.approx(1.2 / 30.2 * whole, rel=0.05)
    assert host_gib(facts, LLAMA) is None
    assert host_gib(gguf("Qwen/Qwen3-32B", 4.9), none) is None  # no experts: the flag does nothing


def test_the_first_card_has_room_for_experts_that_pass_through() -> None:
    # MiniMax-M2.1 on four 3090s: 1,302 MiB on the first, 202 on the two beside it
    facts = gguf("MiniMaxAI/MiniMax-M2.5", 4.5)
    settings = replace(LLAMA, tensor_parallel=4, host_experts=30)
    found = [
        {term.name: term.amount for term in budget(facts, card("rtx-3090"), each)}
        for each in (
            replace(settings, portion=Portion(range(16))),
            replace(settings, portion=Portion(range(16, 32))),
        )
    ]
    first, second = (terms["compute buffer"] for terms in found)
    assert first.high - second.high > (1302 - 202) / 1024
    assert first.low == second.low  # gpt-oss needed none


def test_layers_go_by_count_however_light_they_have_become() -> None:
    # GLM-5.2 UD-Q5_K_XL on four RTX PRO 6000: `--n-cpu-moe 41` asked one card for 132,346 MiB
    facts, four = gguf("zai-org/GLM-5.2", 6.0), (card("rtx-pro-6000-server"),) * 4
    settings = replace(LLAMA, context=4096, tensor_parallel=4, host_experts=41)
    found = [memory for memory, _ in each_card(facts, four, settings)]
    assert [memory.verdict for memory in found[:1]] == [Verdict.YES]
    assert tightest(facts, four, settings)[0].verdict is Verdict.NO
    assert max(each.weights.high for each in found) > 132_345.77 / 1024


def test_experts_have_no_rows_to_split() -> None:
    # llmgarage.ai: gpt-oss-120b on two 3090s, `--split-mode row --tensor-split 0.5,0.5
    # --n-cpu-moe 26`: about 7.5 GB in use on the first, 22.8 on the second, whose are all that stay
    facts, two = gguf("openai/gpt-oss-120b", 4.48), (card("rtx-3090"),) * 2
    settings = replace(LLAMA, tensor_parallel=2, split="row", host_experts=26)
    first, second = (found.weights.value for found, _ in each_card(facts, two, settings))
    ten = host_gib(facts, replace(LLAMA, host_experts=10))
    assert ten is not None
    assert second - first == pytest.approx(ten.value, rel=0.02)
    assert second - first == pytest.approx((22.8 - 7.5) * 1e9 / 2**30, rel=0.2)


def test_how_fast_the_host_reads_experts_is_not_guessed() -> None:
    facts, on = gguf("Qwen/Qwen3-30B-A3B", 4.9), (card("rtx-3090"),)
    assert speeds_of(sized("m", facts, on, LLAMA)).single is not None
    found = speeds_of(sized("m", facts, on, replace(LLAMA, host_experts=8)))
    assert (found.single, found.batch, found.prefill) == (None, None, None)


def test_the_fewest_experts_that_have_to_go_are_named() -> None:
    facts, on = gguf("openai/gpt-oss-120b", 4.3), (card("rtx-3090"),)
    (found,) = (each for each in remedies(facts, on, LLAMA) if "host memory" in each.name)
    count = int(found.write.strip("`").split()[-1])
    assert found.write == f"`--n-cpu-moe {count}`"
    assert found.surely
    followed = tightest(facts, on, replace(LLAMA, host_experts=count))[0]
    assert followed.boots is Verdict.YES
    assert tightest(facts, on, replace(LLAMA, host_experts=count - 1))[0].boots is not Verdict.YES
    held = host_gib(facts, replace(LLAMA, host_experts=count))
    assert held is not None
    assert f"{held.value:,.1f} GiB in host memory" in found.gives


def test_several_cards_are_filled_alike_where_experts_have_to_go() -> None:
    facts, on = gguf("openai/gpt-oss-120b", 4.3), (card("rtx-3090"),) * 2
    settings = replace(LLAMA, tensor_parallel=2)
    (found,) = (each for each in remedies(facts, on, settings) if "host memory" in each.name)
    moved, split = (word.strip("`") for word in found.write.split("`, `"))
    count, shares = int(moved.split()[-1]), tuple(map(float, split.split()[-1].split(",")))
    assert sum(shares) == 37  # 36 layers and the output
    followed = replace(settings, host_experts=count, tensor_split=shares)
    first, second = (memory for memory, _ in each_card(facts, on, followed))
    assert first.weights.value == pytest.approx(second.weights.value, rel=0.15)
    assert tightest(facts, on, followed)[0].boots is Verdict.YES
    # 60 GiB of weights on 47 GiB of cards: with llama.cpp's own split more would have to go
    assert tightest(facts, on, replace(followed, tensor_split=()))[0].verdict is Verdict.NO


def test_a_dense_model_has_no_experts_to_move() -> None:
    found = remedies(gguf("Qwen/Qwen3-32B", 8.5), (card("rtx-3090"),), LLAMA)
    assert found
    assert not [each for each in found if "host memory" in each.name]
