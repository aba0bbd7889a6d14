"""A draft model caches as many tokens as the model it drafts for, from the same memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from published import card, model

from rigspec.rules.context import CheckContext
from rigspec.rules.run import unchecked
from rigspec.sizing import sglang
from rigspec.sizing.amount import exact
from rigspec.sizing.drafter import draft_doubt, stored_gib
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings, Speculation, Speculative
from rigspec.spec.load import load_text
from rigspec.units import GIB

ROOT = Path(__file__).parents[3]


TARGET, DRAFT = model("Qwen/Qwen3-8B"), model("Qwen/Qwen3-0.6B")
DRAFTED = EngineSettings(
    context=32768, speculative=Speculative("draft", 4, None, 1.1, DRAFT.layers), parallel=1
)
TOKEN_BYTES = 8 * 128 * 2 * 2
"""Per layer, of both models: eight heads of 128, keys and values, 16 bits."""


@pytest.mark.parametrize("ranks", [1, 2])
def test_vllm_binds_the_drafts_layers_into_the_pool(ranks: int) -> None:
    asked = replace(DRAFTED, tensor_parallel=ranks)
    found = estimate(TARGET, card("rtx-a6000"), asked)
    assert found.shape is not None
    per_token = (36 + 28) * TOKEN_BYTES / ranks
    assert found.shape.block_bytes == 16 * per_token
    assert found.needed is not None
    assert found.needed.value == pytest.approx(32768 * per_token / GIB)
    assert found.kv_tokens is not None
    assert found.kv_tokens.value == pytest.approx(found.available.value * GIB / per_token, rel=1e-3)


def test_layers_of_another_width_add_their_own_bytes() -> None:
    narrow = model("Qwen/Qwen2.5-1.5B-Instruct")  # 28 layers of two heads
    asked = replace(DRAFTED, speculative=Speculative("draft", 4, None, 3.0, narrow.layers))
    found = estimate(TARGET, card("rtx-a6000"), asked)
    assert found.shape is not None
    assert found.shape.block_bytes == 16 * (36 * TOKEN_BYTES + 28 * TOKEN_BYTES / 4)


def test_sglang_counts_a_draft_layer_like_one_of_the_target() -> None:
    plain = replace(DRAFTED, engine=Engine.SGLANG, speculative=None)
    drafted = replace(DRAFTED, engine=Engine.SGLANG)
    one, two = (estimate(TARGET, card("rtx-a6000"), asked).needed for asked in (plain, drafted))
    assert one is not None
    assert two is not None
    assert two.value == pytest.approx(one.value * (36 + 28) / 36)


@pytest.mark.parametrize(
    ("name", "method", "drafting", "caching"),
    [
        # 64 layers, every fourth attends: MTP brings one more
        ("Qwen/Qwen3.5-27B", "mtp", 1, 16),
        ("Qwen/Qwen3-8B", "eagle", 1, 36),
        ("Qwen/Qwen3-8B", "dflash", 5, 36),
        ("Qwen/Qwen3-8B", "ngram", 0, 36),
    ],
)
def test_sglang_counts_every_drafting_layer_like_a_full_one(
    name: str, method: Speculation, drafting: int, caching: int
) -> None:
    facts, plain = model(name), EngineSettings(engine=Engine.SGLANG)
    drafted = replace(plain, speculative=Speculative(method))
    one, two = (sglang.bytes_per_token(facts, asked) for asked in (plain, drafted))
    assert two == pytest.approx(one * (caching + drafting) / caching)


def test_sglang_s_drafts_do_not_attend_to_a_window() -> None:
    facts = model("nvidia/Gemma-4-31B-IT-NVFP4")  # its window layers cache more than full ones
    plain = EngineSettings(engine=Engine.SGLANG, kv_dtype="bfloat16")
    drafted = replace(plain, speculative=Speculative("eagle"))
    one, two = (sglang.bytes_per_token(facts, asked) for asked in (plain, drafted))
    assert two - one == 2 * 4 * 512 * 2  # keys and values, four heads of 512, 16 bits


def test_llama_cpp_gives_the_draft_a_cache_of_16_bits_beside_the_models() -> None:
    plain = replace(DRAFTED, engine=Engine.LLAMA_CPP, speculative=None, kv_dtype="q8_0")
    drafted = replace(plain, speculative=DRAFTED.speculative)
    one, two = (estimate(TARGET, card("rtx-a6000"), asked).needed for asked in (plain, drafted))
    assert one is not None
    assert two is not None
    assert two.value - one.value == pytest.approx(32768 * 28 * TOKEN_BYTES / GIB)


@pytest.mark.parametrize("method", ["draft_model", "STANDALONE", "draft-simple"])
def test_a_spec_s_draft_model_arrives_with_its_layers(method: str) -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    text = text.replace("\nservices:\n", "\n  small:\n    hub: Qwen/Qwen3-0.6B\n\nservices:\n", 1)
    drafts = f"\n    speculative: {{method: {method}, model: small, tokens: 4}}\n    gpus: [pair]\n"
    loaded = load_text("rig.yaml", text.replace("\n    gpus: [pair]\n", drafts))
    rig = loaded.rig
    assert rig is not None, loaded.findings
    found = settings_of(rig, "qwen", {"small": DRAFT}).speculative
    assert found is not None
    assert found.draft_layers == DRAFT.layers
    # the config alone: 596,049,920 weights of 2 bytes, as the checkpoint's index counts them
    assert found.draft_gib == pytest.approx(596_049_920 * 2 / GIB, rel=0.001)


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_a_draft_that_nobody_read_may_take_a_quarter_of_the_target(engine: Engine) -> None:
    plain = replace(DRAFTED, engine=engine, speculative=None, memory_fraction=0.9)
    found = []
    for method in ("ngram", "eagle", "draft"):
        asked = replace(plain, speculative=Speculative(method, 4), max_graph_size=1)
        left = estimate(TARGET, card("rtx-a6000"), asked).available
        found.append(left.value - left.low)
    assert found[0] + 2.0 < found[1] < found[0] + 3.6  # doubts of their own do not add up fully
    assert found[1] < found[2] < found[1] + 0.5  # a quarter of 15.3 GiB


def test_a_draft_that_nobody_read_is_said_to_be() -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    text = text.replace("\nservices:\n", "\n  head:\n    path: /srv/eagle\n\nservices:\n", 1)
    drafts = "\n    speculative: {method: eagle3, model: head, tokens: 4}\n    gpus: [pair]\n"
    rig = load_text("rig.yaml", text.replace("\n    gpus: [pair]\n", drafts)).rig
    assert rig is not None
    said = [
        line for line in unchecked(rig, CheckContext(models={"qwen": TARGET})) if "draft" in line
    ]
    assert len(said) == 1
    assert "`rigspec model add /srv/eagle`" in said[0]
    known = CheckContext(models={"qwen": TARGET, "head": DRAFT})
    assert not [line for line in unchecked(rig, known) if "draft" in line]


def test_a_draft_model_that_lacks_sizes_is_doubted_like_one_that_nobody_read() -> None:
    lacking = replace(DRAFT, lacks="dense", sizes=None)
    asked = replace(DRAFTED, speculative=Speculative("draft", 4, None, stored_gib(lacking)))
    weights = exact(16.0)
    assert stored_gib(replace(DRAFT, sizes=None)) > 1
    assert draft_doubt(asked, weights).high == 4.0  # a quarter of the target
    assert draft_doubt(DRAFTED, weights).high == 0.0
