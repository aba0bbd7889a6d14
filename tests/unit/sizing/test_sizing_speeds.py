"""Which streams a quoted speed is of: those of every replica, and no more than the cache holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import model

from rigspec.catalog.gpus import find_gpu
from rigspec.report.sizing import service_lines
from rigspec.report.sizing_json import service_record
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.service import sized
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.speeds import held_at, speeds_of
from rigspec.spec.load import load_text

ROOT = Path(__file__).parents[3]


def cards(sku: str, count: int) -> tuple[Card, ...]:
    gpu = find_gpu(sku)
    assert gpu is not None
    return (card_of(gpu),) * count


def test_streams_of_every_replica_are_summed() -> None:
    facts, alone = (
        model("Qwen/Qwen3-8B"),
        EngineSettings(version=(0, 30), context=8192, max_seqs=16),
    )
    one = speeds_of(sized("m", facts, cards("h100-sxm", 1), alone))
    eight = sized("m", facts, cards("h100-sxm", 8), replace(alone, data_parallel=8))
    found = speeds_of(eight)
    assert (one.streams, found.streams) == (16, 128)
    assert one.batch
    assert found.batch
    assert found.batch.tok_s == one.batch.tok_s.times(8)
    assert (found.single, found.prefill) == (one.single, one.prefill)
    said = "\n".join(service_lines(eight, None))
    assert "128 streams" in said
    assert "summed over 8 replicas" in said
    assert "in each of 8 replicas" in said
    assert "at once in each replica" in said


def test_sglang_s_copies_of_the_attention_share_the_streams() -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    spread = "    engine: sglang\n    data_parallel_size: 2\n"
    asked = text.replace("    engine: vllm\n", spread + "    extra_args: [--enable-dp-attention]\n")
    for changed, copies in ((text.replace("    engine: vllm\n", spread), 2), (asked, 1)):
        rig = load_text("rig.yaml", changed).rig
        assert rig is not None
        assert settings_of(rig, "qwen").data_parallel == 2
        assert settings_of(rig, "qwen").replicas == copies


def test_record_and_headline_name_every_way_the_model_is_spread() -> None:
    spread = EngineSettings(
        version=(0, 30), context=8192, tensor_parallel=2, pipeline_parallel=2, data_parallel=2,
        expert_parallel=True,
    )  # fmt: skip
    found = sized("m", model("Qwen/Qwen3-30B-A3B"), cards("h100-sxm", 8), spread)
    assert ", TP 2, PP 2, DP 2, EP 4: " in "".join(service_lines(found, None))
    record = service_record(found)
    names = ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel")
    assert [record[name] for name in names] == [2, 2, 2, True]
    assert replace(spread, engine=Engine.SGLANG).expert_ranks == 2  # its replicas share nothing
    assert replace(spread, expert_parallel=False).expert_ranks == 1


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_no_more_streams_are_quoted_than_the_cache_holds(engine: Engine) -> None:
    facts = model("Qwen/Qwen3-32B")
    asked = EngineSettings(engine=engine, tensor_parallel=4, context=4096, max_seqs=1024)
    many = sized("m", facts, cards("rtx-3090", 4), asked)
    found = speeds_of(many)
    assert many.memory.concurrency is not None
    assert found.streams == int(many.memory.concurrency) < 20
    assert found.waiting == 1024 - found.streams
    few = speeds_of(sized("m", facts, cards("rtx-3090", 4), replace(asked, max_seqs=4)))
    assert (few.streams, few.waiting) == (4, 0)
    said = "\n".join(service_lines(many, None))
    assert f"the cache holds no more of them at this depth: {found.waiting:,} wait" in said
    assert service_record(many)["streams_waiting"] == found.waiting


def test_streams_nobody_asked_for_do_not_wait() -> None:
    facts = model("Qwen/Qwen3-32B")
    asked = EngineSettings(
        tensor_parallel=2, context=4096, memory_fraction=0.85, max_batched_tokens=512
    )
    found = sized("m", facts, cards("rtx-5090", 2), replace(asked, tensor_parallel=4))
    tight = sized("m", facts, cards("rtx-3090", 4), replace(asked, tensor_parallel=4))
    for one in (found, tight):
        speeds = speeds_of(one)
        assert speeds.streams == min(8, held_at(one.memory, 4096) or 0)
        assert speeds.waiting == 0


def test_slots_of_llama_cpp_are_set_aside_and_never_wait() -> None:
    asked = EngineSettings(
        engine=Engine.LLAMA_CPP, context=4096, max_seqs=64, slots=64, parallel=64
    )
    found = sized("m", model("Qwen/Qwen3-8B"), cards("rtx-pro-6000-workstation", 1), asked)
    speeds = speeds_of(found)
    assert (speeds.streams, speeds.waiting) == (64, 0)


def test_many_streams_have_a_speed_where_nothing_drafts() -> None:
    asked = EngineSettings(version=(0, 30), context=8192, max_seqs=16)
    drafting = replace(asked, speculative=Speculative("mtp", 3))
    plain, found = (
        speeds_of(sized("m", model("Qwen/Qwen3-8B"), cards("h100-sxm", 1), each))
        for each in (asked, drafting)
    )
    assert found.speculative is None
    assert found.batch
    assert plain.batch
    assert found.batch.tok_s == plain.batch.tok_s
