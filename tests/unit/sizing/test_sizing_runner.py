"""vLLM's two model runners: which serves what, and what each sets aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
from published import card, model

from rigspec.sizing import vllm
from rigspec.sizing.amount import exact
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import EngineSettings, Speculative
from rigspec.sizing.verdict import Verdict, late_room_gib, late_short, outside_gib
from rigspec.sizing.vllm import graph_estimate
from rigspec.sizing.vllm_activation import peak_activation
from rigspec.sizing.vllm_runner import has_second_runner
from rigspec.units import GIB

DENSE, EXPERTS, HYBRID = "Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen3.5-27B"


@pytest.mark.parametrize(
    ("name", "version", "second"),
    [
        (DENSE, (0, 24), False), (DENSE, (0, 25), True), (DENSE, None, True),
        (EXPERTS, (0, 28), False), (EXPERTS, (0, 29), True), (EXPERTS, None, True),
        (HYBRID, (0, 26), False), (HYBRID, (0, 29), True),
    ],
)  # fmt: skip
def test_the_second_runner_came_to_dense_models_first(
    name: str, version: tuple[int, ...] | None, second: bool
) -> None:
    assert has_second_runner(model(name), EngineSettings(version=version)) is second


@pytest.mark.parametrize(
    ("version", "aside"),
    [((0, 19), False), ((0, 22), True), ((0, 26), False), ((0, 28), False), ((0, 29), True)],
)
def test_graphs_of_dense_models_were_not_set_aside_for_four_releases(
    version: tuple[int, ...], aside: bool
) -> None:
    found = vllm.graph_estimate(model(DENSE), EngineSettings(version=version), card("l40s"))
    assert (found.value > 0) is aside
    assert (found.high > 0) is aside


@pytest.mark.parametrize(
    ("sku", "name", "version", "fraction", "printed_gib"),
    [
        # dense: weights, a sampler's step, the runner's own; no graphs (0.28), graphs (0.22)
        ("l40s", "Qwen/Qwen3-14B", (0, 28, 0), 0.92, 11.70),
        ("a10", "Qwen/Qwen2.5-7B-Instruct", (0, 22, 0), 0.92, 4.76),
    ],
)
def test_what_a_dense_boot_printed_is_met(
    sku: str, name: str, version: tuple[int, ...], fraction: float, printed_gib: float
) -> None:
    asked = EngineSettings(version=version, memory_fraction=fraction, context=16384)
    found = estimate(model(name), card(sku), asked).available
    assert found.value == pytest.approx(printed_gib, abs=0.3)


def test_graphs_that_nobody_set_aside_need_room_beside_the_share() -> None:
    # 70B FP8 on eight L40S ran out as its graphs were captured (0.25.1)
    facts = model("meta-llama/Llama-3.1-70B-Instruct")
    asked = EngineSettings(tensor_parallel=8, memory_fraction=0.95, context=8192, version=(0, 23))
    newer = replace(asked, version=(0, 26))
    assert not late_short(facts, card("l40s"), asked)
    assert "graphs" in late_short(facts, card("l40s"), newer)
    assert estimate(facts, card("l40s"), newer).boots is Verdict.CLOSE


def test_a_neighbour_takes_what_is_left_beside_the_share() -> None:
    # 4B at 0.92 of a 4090 with 0.5 GiB held by another process: out of memory in the warm-up
    facts, asked = model("Qwen/Qwen3-4B"), EngineSettings(memory_fraction=0.92, context=8192)
    alone = replace(card("rtx-4090"), total=exact(23.52))
    shared = replace(alone, free_gib=22.64)
    assert not late_short(facts, alone, asked)
    assert late_short(facts, shared, asked)
    assert outside_gib(alone, asked) - outside_gib(shared, asked) == pytest.approx(0.38, abs=0.01)
    beside = replace(asked, other_processes_gib=1.0)
    assert outside_gib(alone, asked) - outside_gib(alone, beside) == pytest.approx(1.0)


@pytest.mark.parametrize(("version", "more"), [((0, 19), False), ((0, 20), True)])
def test_delta_nets_take_their_buffers_in_the_first_runner_too(
    version: tuple[int, ...], more: bool
) -> None:
    asked = EngineSettings(version=version, max_batched_tokens=8192, max_seqs=1)
    facts = model(HYBRID)
    plain = replace(facts, layers=tuple(each for each in facts.layers if not _is_state(each)))
    found = [vllm.peak_activation(each, asked, card("rtx-5090")).value for each in (facts, plain)]
    buffers = 40 * 8192 * 48 * 128 / 2**30  # bytes x tokens x value heads x their width
    assert found[0] - found[1] == pytest.approx(buffers if more else 0.0, abs=0.01)


def _is_state(layer: object) -> bool:
    return type(getattr(layer, "mixer", None)).__name__ == "Delta"


def test_a_neighbour_that_holds_the_share_itself_is_said_once() -> None:
    # nothing grows late here: what is missing is the share, which vLLM asks for at its start
    facts = model("Qwen/Qwen3-4B")
    asked = EngineSettings(memory_fraction=0.92, context=4096, max_seqs=1, eager=True)
    crowded = replace(asked, other_processes_gib=10.0)
    assert late_room_gib(facts, card("rtx-4090"), asked) == 0.0
    assert outside_gib(card("rtx-4090"), crowded) < 0
    assert not late_short(facts, card("rtx-4090"), crowded)
    assert estimate(facts, card("rtx-4090"), crowded).verdict is Verdict.NO


def test_a_stage_of_the_first_runner_may_take_two_gib_more_since_0_20() -> None:
    # the printed stage of 31B on two 3090s did (0.21); older releases print what is reckoned
    asked = EngineSettings(context=8192, pipeline_parallel=2)
    older, newer = (
        vllm.peak_activation(model("Qwen/Qwen3-32B"), replace(asked, version=v), card("rtx-3090"))
        for v in ((0, 19), (0, 21))
    )
    assert newer.high - older.high == pytest.approx(2.0)
    assert (newer.value, newer.low) == (older.value, older.low)


def test_scores_of_sparse_attention_were_whole_before_0_21() -> None:
    # forks of 0.20 did not cut: four bytes for each of 8,192 tokens against the whole context
    facts, on = model("zai-org/GLM-5.2-FP8"), card("h20", total_gib=139.8)
    asked = EngineSettings(tensor_parallel=8, max_batched_tokens=8192)
    (_, whole), (short, long) = (
        [
            vllm.peak_activation(facts, replace(asked, version=version, context=context), on).value
            for context in (4096, 262144)
        ]
        for version in ((0, 20), (0, 21))
    )
    assert whole == pytest.approx(4 * 8192 * 262144 / 2**30)
    assert long == short


@pytest.mark.parametrize(("version", "tokens"), [((0, 7), 65536), ((0, 8), 16384)])
def test_images_fill_a_whole_prompt_before_prompts_are_cut(
    version: tuple[int, ...], tokens: int
) -> None:
    # 230 KiB a token: of the request before V1, of the largest image since
    asked = EngineSettings(version=version, context=65536)
    found = vllm.peak_activation(model("Qwen/Qwen3-VL-8B-Instruct"), asked, card("rtx-3090"))
    assert found.high == pytest.approx(230 * 1024 * tokens / 2**30)


@pytest.mark.parametrize(
    ("sku", "method", "kv_dtype", "whole"),
    [
        ("h200", "mtp", "fp8", True),
        ("rtx-3090", "mtp", "auto", True),
        ("rtx-3090", "mtp", "fp8_e5m2", False),  # FlashInfer: single tokens only
        ("h200", "dflash", "auto", False),
    ],
)
def test_steps_with_drafts_have_whole_graphs_where_their_kernels_take_several_tokens(
    sku: str, method: Literal["mtp", "dflash"], kv_dtype: str, whole: bool
) -> None:
    facts, on = model("Qwen/Qwen3.5-27B"), card(sku)
    asked = EngineSettings(version=(0, 23), kv_dtype=kv_dtype)
    drafts = replace(asked, speculative=Speculative(method, 3))
    plain, with_drafts = (graph_estimate(facts, each, on).value for each in (asked, drafts))
    assert (with_drafts == plain) is whole
    assert (with_drafts <= 0.15) is not whole


def test_drafts_of_glm_leave_an_h20_what_it_printed() -> None:
    # GLM-5.2 FP8 with five drafts on eight H20, vLLM 0.23, 262,144 tokens: 24.26 GiB
    asked = EngineSettings(
        version=(0, 23, 0), tensor_parallel=8, memory_fraction=0.9, context=262_144,
        kv_dtype="fp8", speculative=Speculative("mtp", 5),
    )  # fmt: skip
    on = replace(card("h20"), total=exact(139.8))
    found = estimate(model("zai-org/GLM-5.2-FP8"), on, asked).available
    assert found.low < 24.26 < found.high
    assert found.value == pytest.approx(24.26, abs=1.5)


def test_compiling_may_hold_a_second_copy_of_the_embedding_since_0_20() -> None:
    # Qwen2.5-7B AWQ on a 3090, eight sequences, 0.22.1: 14.43 GiB; its embedding has 1.02
    facts, on = model("Qwen/Qwen2.5-7B-Instruct"), card("rtx-3090")
    asked = EngineSettings(version=(0, 22, 1), context=4096, max_seqs=8, max_batched_tokens=2048)

    def most(settings: EngineSettings) -> float:
        return peak_activation(facts, settings, on).high

    assert most(asked) > 1.02
    for other in ({"version": (0, 19)}, {"eager": True}, {"tensor_parallel": 2}):
        assert most(replace(asked, **other)) < 1.02
    usual = peak_activation(facts, asked, on).value
    assert usual == pytest.approx(peak_activation(facts, replace(asked, eager=True), on).value)


def test_an_unstated_version_may_have_taken_whole_videos() -> None:
    # Qwen3-VL-8B at 0.9 and 0.7 of a 5090 in November 2025: 4.66 GiB, and 1.79 too few
    facts, on = model("Qwen/Qwen3-VL-8B-Instruct"), card("rtx-5090")
    asked = EngineSettings(context=262_144, memory_fraction=0.9, max_batched_tokens=8192)
    found = estimate(facts, on, asked).available
    assert found.low < 4.66 < found.value
    known = replace(asked, version=(0, 30))
    assert estimate(facts, on, known).available.low > 4.66
    assert peak_activation(facts, replace(asked, language_only=True), on).high < 3


def test_a_segment_of_the_compilation_may_be_held_beside_the_step() -> None:
    # 1.7B and gpt-oss-20b on a 4090 (0.29, 0.30): a table of words more than the profile shows
    facts, asked = model("Qwen/Qwen3-1.7B"), EngineSettings(version=(0, 29), max_seqs=256)
    table = facts.vocab * facts.hidden * 2 / GIB
    found = peak_activation(facts, asked, card("rtx-4090"))
    assert found.high - found.value == pytest.approx(table + 0.1, abs=0.05)
    two = peak_activation(facts, replace(asked, tensor_parallel=2), card("rtx-4090"))
    assert two.high - two.value < 0.2
    eager = peak_activation(facts, replace(asked, eager=True), card("rtx-4090"))
    assert eager.high - eager.value < 0.2


@pytest.mark.parametrize("sku", ["rtx-3090", "rtx-5090", "h200"])
@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize(
    "name", [DENSE, EXPERTS, HYBRID, "openai/gpt-oss-20b", "google/gemma-4-12B"]
)
def test_a_version_that_nobody_states_may_be_the_newest(name: str, ranks: int, sku: str) -> None:
    asked = EngineSettings(context=16384, tensor_parallel=ranks, memory_fraction=0.9)
    unstated = estimate(model(name), card(sku), asked).available
    for version in ((0, 29), (0, 30), (0, 33)):
        found = estimate(model(name), card(sku), replace(asked, version=version)).available
        assert unstated.low <= found.low + 0.01
        assert unstated.high >= found.high - 0.01
