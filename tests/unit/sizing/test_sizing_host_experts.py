"""Experts that llama.cpp keeps in host memory, against published boots: weights of the cards, room
for what passes through, ways out."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
from published import CONFIGS, card

from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.model_words import GGUF_BITS
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.cards import Card
from rigspec.sizing.group import each_card, tightest
from rigspec.sizing.llamacpp import card_cache_gib, on_card
from rigspec.sizing.llamacpp_told import ALL_LAYERS
from rigspec.sizing.matrices import Cut, Part, matrices
from rigspec.sizing.memory import budget
from rigspec.sizing.remedies import remedies
from rigspec.sizing.remedies_host import HOST_EXPERTS, SPLIT_BY_LOAD
from rigspec.sizing.remedy import Remedy
from rigspec.sizing.service import sized
from rigspec.sizing.settings import Engine, EngineSettings, Portion, Speculative
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.stored import calibration
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import host_gib, loaded, rank_weights
from rigspec.units import GIB

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
    # of 30.5 billion weights 29.0 are experts, 0.3 the table of words, which no card holds, 0.3 the
    # output, of 6.56 bits where the rest has 4.78
    rest, output = 0.89 * 4.78, 0.31 * 6.56
    part = (rest + output) / (rest + output + 29.0 * 4.78)
    assert rank_weights(facts, none).amount.value == pytest.approx(part * whole, rel=0.05)
    assert host_gib(facts, LLAMA) is None
    assert host_gib(gguf("Qwen/Qwen3-32B", 4.9), none) is None  # no experts: the flag does nothing


def test_the_first_card_has_room_for_experts_that_pass_through() -> None:
    # MiniMax-M2.1 IQ4_NL on four 3090s: 1,302 MiB on the first, 202 on the two beside it
    facts = gguf("MiniMaxAI/MiniMax-M2.5", GGUF_BITS["IQ4_NL"])
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


def told(remedy: Remedy) -> dict[str, str]:
    """The flags of a line for a spec, with their values."""
    words = re.findall(r"[^\s,\[\]\"]+(?:,\d+)*", remedy.write.split("`")[1])
    return dict(zip(words[::2], words[1::2], strict=True))


def followed(remedy: Remedy, settings: EngineSettings) -> EngineSettings:
    flags = told(remedy)
    shares = flags.get("--tensor-split", "")
    return replace(
        settings,
        host_experts=int(flags.get("--n-cpu-moe", settings.host_experts)),
        tensor_split=tuple(map(float, shares.split(","))) if shares else settings.tensor_split,
    )


def remedy(name: str, facts: ModelFacts, cards: tuple[Card, ...], asked: EngineSettings) -> Remedy:
    (found,) = (each for each in remedies(facts, cards, asked) if each.name == name)
    return found


def test_the_fewest_experts_that_have_to_go_are_named() -> None:
    facts, on = gguf("openai/gpt-oss-120b", 4.3), (card("rtx-3090"),)
    found = remedy(HOST_EXPERTS, facts, on, LLAMA)
    changed = followed(found, LLAMA)
    assert found.write == f'add `--n-cpu-moe, "{changed.host_experts}"` to `extra_args`'
    assert found.surely
    assert tightest(facts, on, changed)[0].boots is Verdict.YES
    fewer = replace(changed, host_experts=changed.host_experts - 1)
    assert tightest(facts, on, fewer)[0].boots is not Verdict.YES
    held = host_gib(facts, changed)
    assert held is not None
    assert f"{held.value:,.1f} GiB in host memory" in found.gives


@pytest.mark.parametrize("names", [("rtx-3090",) * 2, ("rtx-3090", "rtx-3060"), ("rtx-3060",) * 3])
def test_several_cards_are_filled_alike_where_experts_have_to_go(names: tuple[str, ...]) -> None:
    facts, on = gguf("openai/gpt-oss-120b", 4.3), tuple(map(card, names))
    settings = replace(LLAMA, context=16384, tensor_parallel=len(on))
    changed = followed(remedy(HOST_EXPERTS, facts, on, settings), settings)
    assert sum(changed.tensor_split) == 37  # 36 layers and the output
    assert tightest(facts, on, changed)[0].boots is Verdict.YES
    # with llama.cpp's own split more would have to go
    assert tightest(facts, on, replace(changed, tensor_split=()))[0].verdict is Verdict.NO
    # with one layer fewer no split of two cards would do
    for first in range(37 if len(on) == 2 else 0):
        fewer = replace(changed, host_experts=changed.host_experts - 1)
        other = replace(fewer, tensor_split=(float(first), float(37 - first)))
        assert tightest(facts, on, other)[0].boots is not Verdict.YES


def test_a_split_by_load_spares_the_experts() -> None:
    # 14 layers of light experts on the first card, all heavy ones on the second
    facts, on = gguf("openai/gpt-oss-120b", 4.3), (card("rtx-3090"),) * 2
    settings = replace(LLAMA, tensor_parallel=2, host_experts=16)
    assert tightest(facts, on, settings)[0].boots is Verdict.NO
    found = remedy(SPLIT_BY_LOAD, facts, on, settings)
    assert found.surely
    assert "--n-cpu-moe" not in told(found)
    halves = [
        memory.available.value for memory, _ in each_card(facts, on, followed(found, settings))
    ]
    assert max(halves) - min(halves) < 2  # a layer is 1.6 GiB: both are filled alike
    assert tightest(facts, on, followed(found, settings))[0].boots is Verdict.YES
    assert HOST_EXPERTS not in {each.name for each in remedies(facts, on, settings)}


def test_experts_and_a_narrower_cache_go_together_where_neither_is_enough() -> None:
    facts, on = gguf("Qwen/Qwen3-30B-A3B", 4.9), (card("rtx-3060"),)
    settings = replace(LLAMA, context=32768, slots=4, parallel=4)
    found = remedy(HOST_EXPERTS, facts, on, settings)
    assert found.write.endswith("` to `extra_args`, `kv_cache_dtype: q8_0`")
    changed = replace(followed(found, settings), kv_dtype="q8_0")
    assert tightest(facts, on, changed)[0].boots is Verdict.YES
    many = replace(LLAMA, context=40960, slots=16, parallel=16)
    assert remedy(HOST_EXPERTS, facts, on, many).write.endswith(
        "` to `extra_args`, `kv_cache_dtype: q8_0, max_sequences: 2`"
    )


def test_a_dense_model_or_layer_gives_no_doubt_either() -> None:
    for facts, moved in (
        (gguf("Qwen/Qwen3-32B", 4.9), ALL_LAYERS),
        (gguf("zai-org/GLM-4.5-Air", 4.9), 1),  # its first layer is dense
    ):
        plain, told_to = (
            rank_weights(facts, replace(LLAMA, host_experts=count)) for count in (0, moved)
        )
        assert told_to == plain


def test_the_first_layers_to_leave_widen_little() -> None:
    facts = gguf("Qwen/Qwen3.5-35B-A3B", 4.9)
    none, one = (rank_weights(facts, replace(LLAMA, host_experts=n)).amount for n in (0, 1))
    assert one.high < none.high
    assert one.value < none.value


def by_header(facts: ModelFacts) -> ModelFacts:
    """4.3 bits for experts, 16 for the rest of gpt-oss-120b, 4.5 for its table of words."""
    experts = sum(m.elements for m in matrices(facts) if m.cut is Cut.EXPERTS)
    rest = sum(m.elements for m in matrices(facts)) - experts
    words = facts.vocab * facts.hidden  # looked up on the CPU
    sizes = ExactSizes(
        int(experts * 4.3 / 8 + (rest - words) * 2 + words * 4.5 / 8), "a file",
        expert_bytes=int(experts * 4.3 / 8), words_bytes=int(words * 4.5 / 8),
    )  # fmt: skip
    return replace(facts, sizes=sizes)


def test_a_header_that_tells_experts_apart_leaves_no_doubt() -> None:
    facts, settings = gguf("openai/gpt-oss-120b", 4.48), replace(LLAMA, host_experts=ALL_LAYERS)
    known = by_header(facts)
    assert known.sizes is not None
    assert known.sizes.expert_bytes is not None
    assert known.sizes.words_bytes is not None
    experts = known.sizes.expert_bytes / GIB
    there, average = (host_gib(each, settings) for each in (known, facts))
    assert there is not None
    assert average is not None
    assert there.value == pytest.approx(experts)
    assert there.low == pytest.approx(there.value, rel=0.001)
    assert average.low < there.value < average.value  # of 4.48 bits
    found = rank_weights(known, settings).amount
    rest = (known.sizes.total_bytes - known.sizes.words_bytes) / GIB - experts
    assert found.value == pytest.approx(rest, rel=0.01)
    assert found.high < 1.01 * found.value < rank_weights(facts, settings).amount.high


def test_which_layers_have_the_wider_experts_a_header_s_sum_does_not_say() -> None:
    # Qwen3-30B-A3B with every second `ffn_down_exps` in Q6_K: a layer is 7 % off
    known, half = by_header(gguf("openai/gpt-oss-120b", 4.48)), replace(LLAMA, host_experts=18)
    there, here = host_gib(known, half), rank_weights(known, half).amount
    assert there is not None
    assert there.low < 0.96 * there.value < 1.04 * there.value < there.high
    assert here.high > here.value + 0.04 * there.value
    # a quarter of 36 layers on the last of four cards: less is in doubt there
    last = replace(half, tensor_parallel=4, portion=Portion(range(27, 36)))
    quarter = rank_weights(known, last).amount
    assert 0.05 < (quarter.high - quarter.value) / quarter.value < 0.09


def test_a_tied_table_is_the_output_on_the_card() -> None:
    facts = gguf("Qwen/Qwen3-4B", 4.9)
    assert facts.tied
    sizes = ExactSizes(2_600_000_000, "a file", words_bytes=facts.vocab * facts.hidden * 2)
    found = rank_weights(replace(facts, sizes=sizes), LLAMA).amount
    assert found.value == pytest.approx(2_600_000_000 / GIB, rel=0.005)


def test_a_dense_model_has_no_experts_to_move() -> None:
    found = remedies(gguf("Qwen/Qwen3-32B", 8.5), (card("rtx-3090"),), LLAMA)
    assert found
    assert not [each for each in found if "host memory" in each.name]


def test_unequal_cards_are_filled_one_after_the_other_where_shares_are_too_coarse() -> None:
    facts = gguf("openai/gpt-oss-120b", 4.3)
    on = (card("rtx-3060"),) * 3 + (card("rtx-3090"),)
    settings = replace(LLAMA, tensor_parallel=4)
    changed = followed(remedy(HOST_EXPERTS, facts, on, settings), settings)
    assert tightest(facts, on, changed)[0].boots is Verdict.YES
    fewer = replace(changed, host_experts=changed.host_experts - 1)
    for first, second, third in product(range(8, 20), range(4, 10), range(4, 10)):
        shares = tuple(map(float, (first, second, third, 37 - first - second - third)))
        assert tightest(facts, on, replace(fewer, tensor_split=shares))[0].boots is not Verdict.YES


def test_cards_that_others_fill_have_no_way_out_and_no_fault() -> None:
    on = tuple(replace(card("rtx-3060"), held_gib=30.0) for _ in range(2))
    for facts in (gguf("openai/gpt-oss-120b", 4.3), gguf("Qwen/Qwen3-32B", 4.9)):
        assert HOST_EXPERTS not in {
            each.name for each in remedies(facts, on, replace(LLAMA, tensor_parallel=2))
        }


def test_experts_of_less_than_a_bit_are_not_believed() -> None:
    facts, settings = gguf("Qwen/Qwen3-30B-A3B", 4.9), replace(LLAMA, host_experts=30)
    told = [
        ExactSizes(18_544_228_352, "a file", expert_bytes=experts, words_bytes=175_030_272)
        for experts in (1, None)
    ]
    one, none = (rank_weights(replace(facts, sizes=sizes), settings) for sizes in told)
    assert one == none


def test_experts_that_draft_are_as_wide_as_the_others() -> None:
    facts = gguf("zai-org/GLM-4.5-Air", 4.9)
    drafts = [m for m in matrices(facts) if m.cut is Cut.EXPERTS and m.part is Part.DRAFT]
    assert drafts
    every = sum(m.elements for m in matrices(facts) if m.cut is Cut.EXPERTS)
    words = facts.vocab * facts.hidden
    sizes = ExactSizes(70_000_000_000, "a file", expert_bytes=every // 2, words_bytes=words)
    found = calibration(replace(facts, sizes=sizes))
    assert found.of(drafts[0]) * drafts[0].stored_bytes == pytest.approx(drafts[0].elements / 2)


def test_every_matrix_lies_on_one_of_the_cards_those_that_draft_on_the_last() -> None:
    facts = gguf("stepfun-ai/Step-3.7-Flash", 4.9)
    settings = replace(LLAMA, speculative=Speculative("mtp", 2))
    every, layers = loaded(facts, settings), len(facts.layers)
    assert max(m.layer or 0 for m in every) > layers  # three that draft
    first, last = (
        on_card(every, facts, replace(settings, portion=Portion(held)))
        for held in (range(20), range(20, layers + 1))
    )
    assert sorted(m.name for m in (*first, *last)) == sorted(m.name for m in every)
    assert all(m.layer is not None and m.layer < 20 for m in first)


@pytest.mark.parametrize(
    ("slots", "parallel", "mib"),
    [
        (1, 1, 323),
        (1, 4, 833),  # one cache of all: four windows of 1,024 and a batch, 4,608 cells
        (4, 4, 68 + 4 * 255),  # a cache each: 2,048 tokens of it are more than window and batch
    ],
)
def test_every_slot_has_windows_of_its_own(slots: int, parallel: int, mib: float) -> None:
    # Gemma 4 12B on a 5070 Laptop, 8,192 cells in q8_0: 68 MiB of full layers; windows of 255
    # (1,536 cells) with one slot, of 765 with four that share a cache, as printed
    facts = load_model_facts("google/gemma-4-12B", [CONFIGS])
    assert facts is not None
    told = replace(LLAMA, kv_dtype="q8_0", slots=slots, parallel=parallel)
    assert card_cache_gib(facts, told, 8192) * 1024 == pytest.approx(mib, abs=1)
