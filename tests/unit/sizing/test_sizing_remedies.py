"""The number in a remedy is the largest usual one that fits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from published import card, model

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_parts import Attention
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.amount import exact
from rigspec.sizing.as_loaded import as_computed
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.group import tightest
from rigspec.sizing.memory import estimate
from rigspec.sizing.remedies import beyond_and_too_large, fits, remedies
from rigspec.sizing.remedies_share import shares
from rigspec.sizing.remedy import Case, Remedy, surest
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict, late_short
from rigspec.sizing.vllm import context_overhead, fraction_of
from rigspec.units import GIB

SAVED = Path(__file__).parents[3] / "rigs/models"


def just_too_small(facts: ModelFacts, settings: EngineSettings) -> Card:
    """A card that lacks next to nothing."""
    low, high = 10.0, 200.0
    for _ in range(40):
        middle = (low + high) / 2
        enough = fits(estimate(facts, replace(card("rtx-3090"), total=exact(middle)), settings))
        low, high = (low, middle) if enough else (middle, high)
    return replace(card("rtx-3090"), total=exact(low))


@pytest.mark.parametrize("too_many", [4, 3, 2])
def test_one_sequence_less_is_tried_before_many_less(too_many: int) -> None:
    facts = model("Qwen/Qwen3-8B")
    # this line's sampler decides the activation peak: it grows with the sequences
    settings = EngineSettings(
        version=(0, 17), context=8192, max_seqs=too_many, max_batched_tokens=16
    )
    found = remedies(facts, (just_too_small(facts, settings),), settings)
    written = {remedy.name: remedy.write for remedy in found}
    assert written["fewer sequences"] == f"max_sequences: {too_many - 1}"


def test_of_many_sequences_that_somebody_asked_for_the_most_usual_are_kept() -> None:
    facts = model("Qwen/Qwen3-8B")
    asked = EngineSettings(version=(0, 17), context=8192, max_seqs=2048)
    found = remedies(facts, (card("rtx-3090"),), asked)
    (most,) = (each for each in found if each.name == "fewer sequences")
    assert most.write == "max_sequences: 256"
    assert most.surely


def test_a_remedy_that_leaves_the_states_in_doubt_is_no_sure_one() -> None:
    # vLLM's default of 256 sequences on two 3090s, where 146 to 247 states have room
    facts, gpu = load_model_facts("Qwen/Qwen3.6-27B-FP8", [SAVED]), find_gpu("rtx-3090")
    assert facts is not None
    assert gpu is not None
    settings = EngineSettings(tensor_parallel=2, context=262144)
    sure = {remedy.name: remedy.surely for remedy in remedies(facts, (card_of(gpu),), settings)}
    assert sure["smaller context"] is False


def gguf(gib: float) -> ModelFacts:
    return replace(
        model("Qwen/Qwen3-32B"),
        quantization=Quantization(Scheme.GGUF, bits_per_weight=4.5),
        sizes=ExactSizes(int(gib * GIB), "a file", None, 0.0),
    )


def test_what_grows_outside_the_share_is_cured_outside_the_cache() -> None:
    # gpt-oss-20b at 0.95 of an H100: the cache has room, the warm-up has none
    settings = EngineSettings(memory_fraction=0.95, context=16384)
    facts, cards = model("openai/gpt-oss-20b"), (card("h100"),)
    found = {remedy.name: remedy for remedy in remedies(facts, cards, settings)}
    assert {"fewer sequences", "smaller share"} <= set(found)
    assert not {"kv dtype", "larger share", "smaller batch"} & set(found)
    assert all(remedy.surely for remedy in found.values())
    share = float(found["smaller share"].write.rpartition(" ")[2])
    followed = replace(settings, memory_fraction=share)
    assert tightest(facts, cards, followed)[0].boots is Verdict.YES


def test_a_gguf_is_cured_by_context_cache_type_or_cards() -> None:
    settings = EngineSettings(engine=Engine.LLAMA_CPP, context=40960, kv_dtype="q8_0")
    found = remedies(gguf(17.0), (card("rtx-3090"),), settings)
    assert [(each.name, each.surely) for each in found] == [
        ("smaller context", True), ("kv dtype", True), ("more GPUs", True),
    ]  # fmt: skip
    assert found[1].write == "kv_cache_dtype: q4_0"
    assert found[2].write == "2 such GPUs"


def test_a_main_gpu_that_is_too_small_is_cured_by_the_others() -> None:
    settings = EngineSettings(engine=Engine.LLAMA_CPP, context=8192)
    found = remedies(gguf(17.0), (card("rtx-3060"),), settings, idle=(card("rtx-3090"),))
    assert [(each.name, each.write) for each in found] == [
        ("split by layer", "no `split_mode: none`")
    ]


@pytest.mark.parametrize(("sku", "word"), [("rtx-3090", "fp8_e5m2"), ("rtx-4090", "fp8_e4m3")])
def test_sglang_is_offered_its_own_words_and_nothing_without_effect(sku: str, word: str) -> None:
    settings = EngineSettings(engine=Engine.SGLANG, memory_fraction=0.85, context=32000)
    found = remedies(model("meta-llama/Llama-3.1-8B-Instruct"), (card(sku),), settings)
    written = {each.name: each.write for each in found}
    assert written["kv dtype"] == f"kv_cache_dtype: {word}"
    assert not {"fewer sequences", "smaller batch"} & set(written)


def test_cures_are_those_of_the_models_own_length() -> None:
    facts, settings = model("Qwen/Qwen3-32B"), EngineSettings(tensor_parallel=2, context=131072)
    found = remedies(facts, (card("rtx-3090"),) * 2, settings)
    assert beyond_and_too_large(facts, (card("rtx-3090"),) * 2, settings) == 40960
    assert {each.name for each in found} == {"more GPUs", "another quantization"}
    assert all(each.write.endswith(", context_length: 40960") for each in found)


def test_a_context_beyond_the_model_is_cured_alone_where_that_is_all() -> None:
    facts, settings = model("Qwen/Qwen3-8B"), EngineSettings(context=131072)
    (found,) = remedies(facts, (card("h100"),), settings)
    assert (found.name, found.write) == ("smaller context", "context_length: 40960")
    assert beyond_and_too_large(facts, (card("h100"),), settings) is None


def test_more_cards_are_counted_for_every_replica_and_stage() -> None:
    asked = EngineSettings(version=(0, 30), context=8192, data_parallel=2, pipeline_parallel=2)
    found = remedies(model("Qwen/Qwen3-32B"), (card("rtx-3090"),) * 4, asked)
    (more,) = (each for each in found if each.name == "more GPUs")
    size = int(more.write.rpartition(" ")[2])
    assert more.write == f"{4 * size} such GPUs, tensor_parallel_size: {size}"


def test_a_shape_that_is_refused_fits_nowhere() -> None:
    # 32 heads over three ranks: each has room for its third, and vLLM ends at the heads
    facts, on = model("Qwen/Qwen3-8B"), card("h100")
    two, three = (
        estimate(facts, on, EngineSettings(tensor_parallel=ranks, context=8192)) for ranks in (2, 3)
    )
    assert (two.boots, three.boots) == (Verdict.YES, Verdict.YES)
    assert fits(two)
    assert not fits(three)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B-AWQ", "Qwen/Qwen3-8B"])
def test_contexts_without_room_are_cured_by_a_smaller_share_alone(name: str) -> None:
    # 0.99 of a 3090 leaves 0.24 GiB, less than a CUDA context; one request fits several times over,
    # and more room for the cache, as from smaller weights, gives none to the context
    facts, on = model(name), (card("rtx-3090"),)
    asked = EngineSettings(
        version=(0, 30), memory_fraction=0.99, context=8192, max_seqs=1, eager=True
    )
    assert fits(tightest(facts, on, asked)[0])
    assert not late_short(facts, on[0], asked)
    assert [each.name for each in remedies(facts, on, asked)] == ["smaller share"]


@pytest.mark.parametrize(("width", "offered"), [(96, True), (80, False)])
def test_a_narrower_cache_needs_heads_of_whole_blocks(width: int, offered: bool) -> None:
    # a scale covers 32 elements, of which 96 holds three and 80 two and a half
    whole = gguf(17.0)
    heads = Attention(heads=64, kv_heads=8, head_dim=width, v_dim=width)
    facts = replace(whole, layers=tuple(replace(each, mixer=heads) for each in whole.layers))
    settings = EngineSettings(engine=Engine.LLAMA_CPP, context=40960)
    names = {each.name for each in remedies(facts, (card("rtx-3090"),), settings)}
    assert "smaller context" in names
    assert ("kv dtype" in names) is offered


def test_graphs_are_given_up_where_fewer_sequences_free_too_little() -> None:
    # latent attention's graphs are large: eight sequences keep a quarter of a GiB of them
    facts = model("zai-org/GLM-4.7-Flash")
    settings = EngineSettings(version=(0, 30), context=8192, max_seqs=8)
    alone = just_too_small(facts, settings)
    written = {each.name: each.write for each in remedies(facts, (alone,), settings)}
    assert written["no CUDA graphs"] == "enforce_eager: true"
    assert fits(estimate(facts, alone, replace(settings, eager=True)))
    many = EngineSettings(version=(0, 30), context=131072, tensor_parallel=2)
    cards = (replace(card("rtx-3090"), total=exact(35.0)),) * 2
    names = {each.name for each in remedies(facts, cards, many)}
    assert "no CUDA graphs" not in names


def test_the_engines_own_share_is_offered_where_it_is_more_than_any_to_write() -> None:
    # of 15.6 GiB 0.92 leave 1.25, contexts of two cards take 1.2 to 2.3: its makers chose so
    facts = model("Qwen/Qwen3-8B")
    own = EngineSettings(version=(0, 30), context=8192, tensor_parallel=2)
    small = just_too_small(facts, own)
    cards = (replace(small, total=exact(small.total.value + 0.1)),) * 2
    told = replace(own, memory_fraction=0.5)
    written = {each.name: each.write for each in remedies(facts, cards, told)}
    assert written["larger share"] == "no `gpu_memory_fraction`"
    assert fits(tightest(facts, cards, own)[0])


def test_of_several_numbers_the_first_that_surely_fits_is_written() -> None:
    close, sure, more = (
        Remedy("share", write, "", surely)
        for write, surely in (("a", False), ("b", True), ("c", True))
    )
    assert surest([close, sure, more]) == (sure,)
    assert surest([close]) == (close,)
    assert surest([]) == ()


def test_more_cards_are_offered_with_the_share_that_they_need() -> None:
    facts, on = model("deepseek-ai/DeepSeek-R1"), (card("h100"),) * 8
    asked = EngineSettings(version=(0, 30), tensor_parallel=8, memory_fraction=0.3)
    found = {each.name: each.write for each in remedies(facts, on, asked)}
    size, share = re.findall(r": ([0-9.]+)", found["more GPUs"])
    assert found["more GPUs"].endswith(f", gpu_memory_fraction: {share}")
    wider = replace(asked, tensor_parallel=int(size), memory_fraction=float(share))
    assert fits(estimate(facts, on[0], wider))
    assert found["another quantization"].endswith(f" checkpoint, gpu_memory_fraction: {share}")


def test_at_most_two_ways_take_several_changes_and_each_is_worth_it() -> None:
    facts = model("Qwen/Qwen2.5-72B-Instruct-AWQ")
    asked = EngineSettings(version=(0, 30), context=32768, tensor_parallel=2)
    found = remedies(facts, (card("rtx-3090"),) * 2, asked)
    alone, few, most = (
        int(each.write.rpartition("context_length: ")[2])
        for each in found
        if "context_length" in each.write
    )
    assert [each.name for each in found] == [
        "smaller context", "together", "together", "more GPUs"
    ]  # fmt: skip
    assert alone * 1.25 <= few
    assert few * 1.25 <= most
    single = remedies(facts, (card("rtx-3090"),) * 2, replace(asked, context=2048))
    assert "together" not in {each.name for each in single}


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_vllm_s_own_size_of_the_cache_is_offered_to_vllm_alone(engine: Engine) -> None:
    asked = EngineSettings(engine, version=(0, 30), context=8192, kv_bytes=1 << 20)
    names = {each.name for each in remedies(model("Qwen/Qwen3-8B"), (card("rtx-3090"),), asked)}
    assert bool({"vLLM's own cache size", "larger cache"} & names) is (engine is Engine.VLLM)


def test_a_larger_cache_leaves_other_services_their_part_of_the_card() -> None:
    # half of a 3090 does not hold 16 GiB of weights, so only a stated size, which no share bounds
    asked = EngineSettings(version=(0, 30), context=8192, kv_bytes=1 << 20, memory_fraction=0.5)
    sizes = []
    for spare in (1.0, 0.9):
        found = remedies(model("Qwen/Qwen3-8B"), (card("rtx-3090"),), asked, spare_share=spare)
        (write,) = (each.write for each in found if each.name == "larger cache")
        sizes.append(int(write.rpartition(" ")[2]) / 2**30)
    assert sizes[0] - sizes[1] == pytest.approx(0.1 * card("rtx-3090").total.value, abs=0.01)


@pytest.mark.parametrize("sku", ["rtx-3060", "rtx-3090", "h100"])
def test_a_share_above_the_engines_own_leaves_contexts_ample_room(sku: str) -> None:
    # a context takes at most 0.7 GiB, and a quarter stays; what vLLM takes by itself is its makers'
    asked = EngineSettings(version=(0, 30))
    case = Case(model("Qwen/Qwen3-8B"), (card(sku),), card(sku), asked, 1.0)
    most = max(
        fraction_of(asked), 1 - (context_overhead(asked).high + 0.25) / case.card.total.value
    )
    assert max(shares(case)) == pytest.approx(most, abs=0.01)
    assert max(shares(case)) <= most


def test_of_three_ways_together_the_one_between_is_left_out() -> None:
    # a larger share, fewer sequences and a narrower cache each lengthen it: an owner chooses
    # between the fewest changes and the longest context
    facts = model("Qwen/Qwen2.5-72B-Instruct-AWQ")
    asked = EngineSettings(version=(0, 30), context=32768, tensor_parallel=2, memory_fraction=0.7)
    found = remedies(facts, (card("rtx-3090"),) * 2, asked)
    few, most = (each.write for each in found if each.name == "together")
    assert few.startswith("gpu_memory_fraction: 0.92, context_length: ")
    assert most.startswith(
        "gpu_memory_fraction: 0.92, max_sequences: 8, kv_cache_dtype: fp8, context_length: "
    )


def test_no_way_out_of_a_context_beyond_the_model_writes_two_lengths() -> None:
    # 40,000 of 32,768, which two 3090s do not hold either: the ways together have their own length
    facts = model("Qwen/Qwen2.5-72B-Instruct-AWQ")
    asked = EngineSettings(version=(0, 30), context=40000, tensor_parallel=2)
    writes = {each.name: each.write for each in remedies(facts, (card("rtx-3090"),) * 2, asked)}
    assert "together" in writes
    assert {write.count("context_length: ") for write in writes.values()} == {1}


def test_no_packed_weights_are_offered_where_they_have_no_type_to_compute_in() -> None:
    # a T4 has no bfloat16, Gemma 2 does not bear float16, and AWQ and GPTQ take nothing wider
    names = {}
    for name in ("google/gemma-2-9b-it", "Qwen/Qwen3-14B"):
        facts = as_computed(model(name), card("tesla-t4"), EngineSettings())
        asked = EngineSettings(context=4096, tensor_parallel=2, max_seqs=8)
        found = remedies(facts, (card("tesla-t4"),) * 2, asked)
        names[name] = {each.name for each in found}
    assert "another quantization" in names["Qwen/Qwen3-14B"]
    assert "another quantization" not in names["google/gemma-2-9b-it"]


def llama(**asked: object) -> EngineSettings:
    return replace(EngineSettings(engine=Engine.LLAMA_CPP, context=40960), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        # 40 GiB for four sequences in 16 bits: half of it in 8, a quarter of that for one
        (llama(slots=4, parallel=4), "kv_cache_dtype: q8_0, max_sequences: 1"),
        # one in 8 bits is still too much beside 20 GiB of weights
        (llama(slots=2, parallel=2), "kv_cache_dtype: q4_0, max_sequences: 1"),
    ],
)
def test_a_gguf_is_cured_by_several_changes_where_no_single_one_will_do(
    asked: EngineSettings, most: str
) -> None:
    size = 17.0 if asked.slots == 4 else 19.5
    found = remedies(gguf(size), (card("rtx-3090"),), asked)
    writes = [each.write for each in found if each.name == "together"]
    assert writes[-1] == most
    assert "context_length: " in writes[0]
    assert not {"kv dtype", "fewer sequences"} & {each.name for each in found}


def test_the_other_cards_are_one_of_several_changes() -> None:
    # 15 GiB of weights and 10 of cache over two cards of 11.6: all of it fits in 8 bits alone
    found = remedies(gguf(15.0), (card("rtx-3060"),), llama(), idle=(card("rtx-3060"),))
    *_, most = (each for each in found if each.name == "together")
    assert most.write == "no `split_mode: none`, `kv_cache_dtype: q8_0`"
    followed = llama(kv_dtype="q8_0", tensor_parallel=2)
    assert fits(tightest(gguf(15.0), (card("rtx-3060"),) * 2, followed)[0])


def test_as_many_sequences_are_kept_as_the_other_cards_have_room_for() -> None:
    # 15 GiB of weights over a 12 GB and a 24 GB card leave room for two of eight, in 8 bits
    pair, asked = (card("rtx-3060"), card("rtx-3090")), llama(slots=8, parallel=8)
    found = remedies(gguf(15.0), pair[:1], asked, idle=pair[1:])
    *_, most = (each for each in found if each.name == "together")
    assert most.write == ("no `split_mode: none`, `kv_cache_dtype: q8_0`, `max_sequences: 2`")

    def room(number: int) -> bool:
        more = {"kv_dtype": "q8_0", "tensor_parallel": 2, "slots": number, "parallel": number}
        return fits(tightest(gguf(15.0), pair, replace(asked, **more))[0])  # type: ignore[arg-type]

    assert room(2)
    assert not room(3)


@pytest.mark.parametrize(
    ("name", "sku", "asked", "write"),
    [
        # e5m2 beside weights of 8 bits; a cache of 8 bits on a T4, which 0.24 has no kernels for
        ("Qwen/Qwen3-30B-A3B-FP8", "rtx-3090", "fp8_e5m2", "no `kv_cache_dtype`"),
        ("Qwen/Qwen3-8B", "tesla-t4", "fp8", "no `kv_cache_dtype`"),
    ],
)
def test_a_cache_type_that_is_refused_is_cured_by_another(
    name: str, sku: str, asked: str, write: str
) -> None:
    settings = EngineSettings(
        version=(0, 30), context=8192, tensor_parallel=2, kv_dtype=asked, max_seqs=8
    )
    found = {each.name: each for each in remedies(model(name), (card(sku),) * 2, settings)}
    assert found["another cache type"].write == write
    assert "kv dtype" not in found


def test_where_the_checkpoint_itself_asks_for_a_refused_type_the_plain_one_is_written() -> None:
    plain = model("Qwen/Qwen3-8B")
    asks = replace(plain, quantization=replace(plain.quantization, kv_fp8=True))
    settings = EngineSettings(version=(0, 30), context=8192, tensor_parallel=2, max_seqs=8)
    found = {each.name: each for each in remedies(asks, (card("tesla-t4"),) * 2, settings)}
    assert found["another cache type"].write == "kv_cache_dtype: float16"
