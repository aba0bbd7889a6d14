"""What one token takes of the cache, by the type that the engine keeps it in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import card, model

from rigspec.catalog.flag_table import load_flags
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Latent
from rigspec.sizing import sglang
from rigspec.sizing.kvcache import pool_shape
from rigspec.sizing.records import (
    attention_token_bytes,
    is_float8,
    is_known_type,
    latent_token_bytes,
)
from rigspec.sizing.service import sized
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.units import GIB

HEAD = Attention(heads=1, kv_heads=1, head_dim=256, v_dim=256)


@pytest.mark.parametrize(
    ("word", "size"),
    [
        # 256 keys and values: bits of both, a norm of 2 bytes with a key, 4 with a value
        ("turboquant_4bit_nc", 128 + 2 + 128 + 4),
        ("turboquant_k3v4_nc", 96 + 2 + 128 + 4),
        ("turboquant_3bit_nc", 96 + 2 + 96 + 4),
        ("turboquant_k8v4", 256 + 128 + 4),
        ("ultraquant_4bit", 272),  # vLLM's own test of the backend says so
        ("fp8_per_token_head", 2 * (256 + 4)),
        ("int8_per_token_head", 2 * (256 + 4)),
        ("mxfp8", 2 * (256 + 8)),
        ("nvfp4", 2 * (128 + 16)),
        ("fp4_mx_block16", 2 * (128 + 16)),
        ("fp8_e5m2", 512),
        ("bfloat16", 1024),
        ("float32", 2048),
    ],
)
def test_a_head_takes_what_its_type_keeps(word: str, size: int) -> None:
    asked = EngineSettings(kv_dtype=word)
    assert attention_token_bytes(model("Qwen/Qwen3-8B"), HEAD, asked) == size


def test_a_vector_fills_whole_bytes() -> None:
    # 100 × 3 bits are 37.5 bytes (`math.ceil` in vLLM's `TurboQuantConfig`)
    head = replace(HEAD, head_dim=100, v_dim=100)
    asked = EngineSettings(kv_dtype="turboquant_3bit_nc")
    assert attention_token_bytes(model("Qwen/Qwen3-8B"), head, asked) == 38 + 2 + 38 + 4


def test_a_latent_record_in_mxfp8_has_a_scale_for_every_32() -> None:
    facts = model("zai-org/GLM-4.7-Flash")  # 512 of the latent, 64 rotary
    (mixer,) = {layer.mixer for layer in facts.layers if isinstance(layer.mixer, Latent)}
    asked = EngineSettings(kv_dtype="mxfp8")
    assert latent_token_bytes(facts, mixer, asked) == 576 + 576 / 32


def test_a_type_nobody_knows_is_said() -> None:
    assert all(is_known_type(word) for word in ("auto", "", "half", "fp8_e4m3", "tq3"))
    assert not is_known_type("octave_k3v4")


@pytest.mark.parametrize("word", ["fp8_e5m3", "fp8_e4m3x", "8", "int8", "nvfp4_9over9"])
def test_a_name_close_to_a_known_one_is_counted_as_sixteen_bits(word: str) -> None:
    asked, sixteen = EngineSettings(kv_dtype=word), EngineSettings(kv_dtype="bfloat16")
    facts = model("Qwen/Qwen3-8B")
    assert not is_known_type(word) and not is_float8(asked)
    assert attention_token_bytes(facts, HEAD, asked) == 1024
    for latent in ("zai-org/GLM-4.7-Flash", "deepseek-ai/DeepSeek-V3.2"):
        made = model(latent)
        mixer = next(each.mixer for each in made.layers if isinstance(each.mixer, Latent))
        wide = latent_token_bytes(made, mixer, sixteen)
        assert latent_token_bytes(made, mixer, asked) == wide


def test_every_type_of_the_engines_that_cuda_reads_is_known() -> None:
    for engine in ("vllm", "sglang"):
        flag, _ = load_flags(engine).by_name["--kv-cache-dtype"]
        words = (*(flag.choices or ()), *flag.suggested)
        unknown = [word for word in words if not is_known_type(word)]
        assert all(word.startswith("octave") for word in unknown)  # for AMD cards


def test_a_hybrid_in_four_bits_holds_what_a_boot_printed() -> None:
    # Qwen3.8-27B on a 5090, vLLM 0.27.1, 5 GiB of cache: 306,325 tokens at 262,144
    asked = EngineSettings(
        version=(0, 27, 1), kv_dtype="turboquant_4bit_nc", prefix_caching=None, context=262144
    )
    shape = pool_shape(model("Qwen/Qwen3.8-27B"), asked, batch_tokens=512)
    assert shape is not None
    assert shape.tokens(5 * GIB, 262144) == pytest.approx(306325, rel=0.02)


def test_a_dense_model_keeps_two_layers_at_either_end_in_sixteen_bits() -> None:
    facts = model("meta-llama/Llama-3.1-8B-Instruct")
    sizes = {}
    for word in ("auto", "turboquant_4bit_nc"):
        shape = pool_shape(facts, EngineSettings(kv_dtype=word), batch_tokens=2048)
        assert shape is not None
        sizes[word] = shape.block_bytes / shape.block_tokens
    # 32 layers of 8 heads: keys and values of 128 take 512 bytes, in 4 bits 66 and 68
    assert sizes["auto"] == 32 * 8 * 512
    assert sizes["turboquant_4bit_nc"] == 8 * (4 * 512 + 28 * (66 + 68))


@pytest.mark.parametrize(("stage", "kept"), [(0, 2), (1, 0), (3, 2)])
def test_a_stage_between_has_no_end_of_the_model(stage: int, kept: int) -> None:
    # of 32 layers in four stages the first and the last keep two each in sixteen bits
    asked = EngineSettings(kv_dtype="turboquant_4bit_nc", pipeline_parallel=4, stage=stage)
    shape = pool_shape(model("meta-llama/Llama-3.1-8B-Instruct"), asked, batch_tokens=2048)
    assert shape is not None
    wanted = 8 * (kept * 512 + (8 - kept) * (66 + 68))
    assert shape.block_bytes / shape.block_tokens == wanted


def test_layers_that_draft_lie_beyond_either_end() -> None:
    # vLLM counts the ends by `num_hidden_layers`, which drafts are no part of
    facts, asked = model("XiaomiMiMo/MiMo-7B-Base"), EngineSettings(kv_dtype="turboquant_4bit_nc")
    sizes = []
    for each in (asked, replace(asked, speculative=Speculative("mtp", 1))):
        shape = pool_shape(facts, each, batch_tokens=2048)
        assert shape is not None
        sizes.append(shape.block_bytes / shape.block_tokens)
    assert sizes[1] - sizes[0] == 8 * (66 + 68)


def sparse() -> ModelFacts:
    return model("deepseek-ai/DeepSeek-V3.2")


@pytest.mark.parametrize(
    ("sku", "word", "record"),
    [
        ("h200", "auto", 576 * 2),
        ("h200", "fp8_e4m3", 656),
        ("b200", "auto", 576),
        ("b200", "bf16", 576 * 2),
        ("b200", "fp8_e4m3", 576),
    ],
)
def test_sglang_s_sparse_attention_caches_as_its_card_takes_it(
    sku: str, word: str, record: int
) -> None:
    # three pools of DeepSeek-V3.2 on H200 hold 788 bytes per layer and token in 8 bits: 656, and
    # the indexer's 132
    asked = EngineSettings(engine=Engine.SGLANG, tensor_parallel=8, kv_dtype=word)
    taken = sglang.as_the_card_takes(sparse(), card(sku), asked)
    assert sglang.bytes_per_token(sparse(), taken) == 61 * (record + 132)
    assert sglang.as_the_card_takes(sparse(), card(sku), taken) == taken


def test_of_a_card_of_unknown_capability_nothing_is_taken_to_be_new() -> None:
    unknown = replace(card("b200"), compute=None)
    asked = EngineSettings(engine=Engine.SGLANG, tensor_parallel=8)
    assert sglang.as_the_card_takes(sparse(), unknown, asked) == asked


def test_a_service_is_said_to_have_the_type_that_its_card_takes() -> None:
    asked = EngineSettings(engine=Engine.SGLANG, tensor_parallel=8)
    for sku, word in (("b200", "fp8_e4m3"), ("h200", "auto")):
        assert sized("it", sparse(), (card(sku),) * 8, asked).settings.kv_dtype == word


def test_other_engines_and_dense_attention_keep_the_type_they_are_given() -> None:
    for facts, engine in ((sparse(), Engine.VLLM), (model("Qwen/Qwen3-8B"), Engine.SGLANG)):
        asked = EngineSettings(engine=engine, kv_dtype="auto")
        assert sglang.as_the_card_takes(facts, card("b200"), asked) == asked
    scaled = replace(EngineSettings(engine=Engine.SGLANG), kv_dtype="fp8_e4m3")
    assert sglang.as_the_card_takes(model("Qwen/Qwen3-8B"), card("h200"), scaled) == scaled
