"""Pools against the block counts and token lines of printed boots."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import model

from rigspec.catalog.model_parts import Delta, Mamba
from rigspec.sizing.kvcache import PoolShape, pool_shape
from rigspec.sizing.memory import tokens_of
from rigspec.sizing.records import kv_kind, state_bytes
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.units import GIB


def pool(name: str, settings: EngineSettings, batch_tokens: int = 8192) -> PoolShape:
    shape = pool_shape(model(name), settings, batch_tokens=batch_tokens)
    assert shape is not None
    return shape


def test_uniform_model_prints_blocks_of_sixteen() -> None:
    shape = pool("Qwen/Qwen3-8B", EngineSettings(version=(0, 19)))
    assert shape.tokens(57.50 * GIB, 8192) == pytest.approx(418688, rel=2e-4)


@pytest.mark.parametrize(
    ("name", "settings", "gib", "context", "blocks", "per_request", "printed"),
    [
        (
            "nvidia/Qwen3.6-27B-NVFP4",
            EngineSettings(version=(0, 23), kv_dtype="fp8", speculative=Speculative("mtp", 2)),
            48.60, 262144, 936, 176, 1394129,
        ),
        (
            "Qwen/Qwen3.5-27B",
            EngineSettings(
                version=(0, 22), tensor_parallel=2, kv_dtype="fp8_e5m2",
                speculative=Speculative("mtp", 3),
            ),
            10.85, 262144, 418, 179, 612157,
        ),
        (
            "Qwen/Qwen3.8-27B",
            EngineSettings(version=(0, 26), tensor_parallel=2, kv_dtype="fp8_e4m3"),
            4.99, 131072, 208, 90, 302921,
        ),
    ],
)  # fmt: skip
def test_hybrid_pools_are_exact(
    name: str,
    settings: EngineSettings,
    gib: float,
    context: int,
    blocks: int,
    per_request: int,
    printed: int,
) -> None:
    shape = pool(name, settings)
    assert shape.blocks(gib * GIB) == blocks
    assert shape.blocks_per_request(context) == per_request
    assert shape.tokens(gib * GIB, context) == printed


def test_state_page_sets_the_attention_block() -> None:
    settings = EngineSettings(tensor_parallel=2, kv_dtype="fp8_e4m3")
    assert pool("Qwen/Qwen3.8-27B", settings).block_tokens == 1568  # printed


@pytest.mark.parametrize(
    ("name", "gib", "printed"),
    [("google/gemma-2-27b-it", 20.59, 58672), ("google/gemma-3-12b-it", 47.72, 130304)],
)
def test_old_token_line_divides_by_groups(name: str, gib: float, printed: int) -> None:
    shape = pool(name, EngineSettings(version=(0, 19)))
    assert shape.tokens(gib * GIB, 8192) == pytest.approx(printed, rel=5e-4)


def test_sparse_latent_cache_with_decode_context_parallelism() -> None:
    settings = EngineSettings(tensor_parallel=8, decode_context_parallel=4, kv_dtype="fp8_ds_mla")
    assert pool("zai-org/GLM-5.1", settings).tokens(19.47 * GIB, 202752) == pytest.approx(
        1360384, rel=5e-4
    )


def test_latent_cache_does_not_shrink_with_ranks() -> None:
    one, four = (
        pool("deepseek-ai/DeepSeek-V2-Lite", EngineSettings(tensor_parallel=n)).block_bytes
        for n in (1, 4)
    )
    assert one == four


def test_window_layers_hold_window_and_batch_only() -> None:
    shape = pool("openai/gpt-oss-20b", EngineSettings(version=(0, 19)), batch_tokens=2048)
    growth = shape.blocks_per_request(131072) - shape.blocks_per_request(65536)
    assert growth == 65536 // 16  # the full layers alone


def test_largest_context_is_the_last_that_fits() -> None:
    shape = pool("Qwen/Qwen3.5-27B", EngineSettings(kv_dtype="fp8"))
    longest = shape.largest_context(2 * GIB, 262144)
    assert 0 < longest < 262144
    blocks = shape.blocks(2 * GIB)
    assert shape.blocks_per_request(longest) <= blocks < shape.blocks_per_request(longest + 1600)


def test_compressed_attention_has_no_shape() -> None:
    assert (
        pool_shape(model("deepseek-ai/DeepSeek-V4-Flash"), EngineSettings(), batch_tokens=1) is None
    )


def test_auto_follows_the_checkpoint() -> None:
    facts = model("nvidia/GLM-5.1-NVFP4")
    assert kv_kind(facts, EngineSettings()) == "fp8"
    assert kv_kind(facts, EngineSettings(kv_dtype="bf16")) == "bf16"
    plain = replace(model("Qwen/Qwen3-8B"), dtype_bytes=4)
    assert kv_kind(plain, EngineSettings()) == "fp32"


@pytest.mark.parametrize(("version", "printed"), [((0, 20), 40_016), ((0, 20, 2), 286_007)])
def test_the_printed_line_of_mixed_models_changed_with_a_patch_release(
    version: tuple[int, ...], printed: int
) -> None:
    facts = model("nvidia/Gemma-4-26B-A4B-NVFP4")
    settings = EngineSettings(version=version, kv_dtype="fp8", context=256_000)
    shape = pool_shape(facts, settings, batch_tokens=16384)
    assert shape is not None
    found = tokens_of(facts, settings, shape, 256_000, 4.58)
    assert found == pytest.approx(printed, rel=0.003)  # vLLM 0.20.2 printed 286,007


def test_states_are_cached_only_when_asked_for_before_0_28() -> None:
    facts = model("Qwen/Qwen3.8-27B")
    asked, default, newer = (
        tokens_of(facts, settings, shape, 131_072, 8.82)
        for settings in (
            EngineSettings(version=(0, 26)),
            EngineSettings(version=(0, 26), prefix_caching=None),
            EngineSettings(version=(0, 28), prefix_caching=None),
        )
        if (shape := pool_shape(facts, settings, batch_tokens=2048)) is not None
    )
    assert default == pytest.approx(141_036, rel=1e-3)  # printed by 0.26.0 without the flag
    assert asked == newer < default


def test_the_owner_may_halve_the_states() -> None:
    facts = model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    settings = EngineSettings(version=(0, 27), state_bytes=2)
    shape = pool_shape(facts, settings, batch_tokens=8192)
    assert shape is not None
    assert shape.block_tokens == 544
    found = tokens_of(facts, settings, shape, 65_536, 5.85)
    assert found == pytest.approx(242_534, rel=3e-3)  # --mamba-ssm-cache-dtype float16


def test_a_state_that_the_config_leaves_open_is_as_wide_as_the_engine_has_it() -> None:
    # two ranks: vLLM 0.10.2 printed blocks of 544 tokens, 0.13.0 beside a cache of 8 bits 1,072,
    # of 17.58 GiB 767,552 tokens and 84.29 requests of 32,768
    facts = model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    pair = EngineSettings(version=(0, 13), tensor_parallel=2, prefix_caching=False)
    wide = replace(pair, kv_dtype="fp8")
    shapes = [pool_shape(facts, each, batch_tokens=8192) for each in (pair, wide)]
    assert [shape and shape.block_tokens for shape in shapes] == [544, 1072]
    assert shapes[1] is not None
    assert tokens_of(facts, wide, shapes[1], 32_768, 17.58) == 767_552
    assert shapes[1].concurrency(17.58 * GIB, 32_768) == pytest.approx(84.29, abs=0.03)
    told = replace(pair, state_bytes=4)
    assert shapes[0] != pool_shape(facts, told, batch_tokens=8192)


@pytest.mark.parametrize("engine", Engine)
def test_only_vllm_takes_the_model_s_own_type_for_a_state(engine: Engine) -> None:
    settings, mamba = EngineSettings(engine=engine), Mamba(8, 64, 1, 128, 4)
    for name, bits in (("Qwen/Qwen3-Next-80B-A3B-Instruct", 16), ("moonshotai/Kimi-K3", 32)):
        facts = model(name)
        delta = next(x.mixer for x in facts.layers if isinstance(x.mixer, Delta))
        recurrent = delta.value_heads * delta.value_dim * delta.key_dim
        conv = 2 * delta.key_heads * delta.key_dim + delta.value_heads * delta.value_dim
        width = bits // 8 if engine is Engine.VLLM else 4
        found = state_bytes(facts, delta, settings)
        assert found == recurrent * width + conv * (delta.kernel - 1) * 2
    plain = replace(model("nvidia/Nemotron-H-56B-Base-8K"), state_bytes=0)
    stated = replace(plain, state_bytes=4)
    halved = state_bytes(plain, mamba, settings) < state_bytes(stated, mamba, settings)
    assert halved is (engine is Engine.VLLM)


@pytest.mark.parametrize(
    ("version", "kv_dtype", "tokens", "gib", "context", "printed"),
    [
        ((0, 27), "fp8", 7, 11.15, 147456, 451603),
        ((0, 27), "auto", 7, 11.15, 65536, 214135),
        ((0, 27), "auto", 7, 16.01, 204800, 374847),
        ((0, 20, 1), "auto", 5, 9.74, None, 67728),
    ],
)
def test_block_drafters_keep_their_own_layers_in_the_pool(
    version: tuple[int, ...], kv_dtype: str, tokens: int, gib: float, context: int | None,
    printed: int,
) -> None:  # fmt: skip
    # a window of 2,048 tokens from 0.26 on, all of them before: club-3090, 27B on two 3090s
    shape = pool(
        "Qwen/Qwen3.8-27B",
        EngineSettings(
            version=version, tensor_parallel=2, kv_dtype=kv_dtype,
            speculative=Speculative("dflash", tokens),
        ),
    )  # fmt: skip
    assert shape.tokens(gib * GIB, context) == pytest.approx(printed, rel=1e-3)


def test_layers_that_share_an_indexer_kept_records_of_their_own_before() -> None:
    # GLM-5.2 in 8 bits on eight H20, mid-2026: 28.74 GiB, 502,016 tokens; 0.25.1 keeps a quarter
    facts = model("zai-org/GLM-5.2-FP8")
    early, later = (
        pool_shape(
            facts,
            EngineSettings(version=version, tensor_parallel=8, kv_dtype="fp8"),
            batch_tokens=8192,
        )
        for version in ((0, 22), (0, 25, 1))
    )
    assert early is not None
    assert later is not None
    assert early.tokens(28.74 * GIB, 262144) == pytest.approx(502_016, rel=0.001)
    assert later.tokens(8.25 * GIB, 131072) == pytest.approx(164_160, rel=0.001)


@pytest.mark.parametrize(
    ("context", "gib", "tokens"),
    [(16384, 13.77, 107923), (16384, 11.06, 86664), (65536, 11.13, 256669)],
)
def test_windows_are_charged_two_steps_of_a_whole_video(
    context: int, gib: float, tokens: int
) -> None:
    # gemma-4-12B on an A10 (0.26.0): 377 blocks of 16 for 1,023 + 2 × 2,496 tokens, five times
    settings = EngineSettings(version=(0, 26, 0), context=context)
    shape = pool_shape(model("google/gemma-4-12B"), settings, batch_tokens=2496)
    assert shape is not None
    assert shape.tokens(gib * 2**30, context) == pytest.approx(tokens, rel=0.001)


@pytest.mark.parametrize(
    ("name", "version", "stages", "steps"),
    [
        ("google/gemma-4-12B", (0, 25, 1), 1, 1),
        ("google/gemma-4-12B", (0, 26, 0), 1, 2),
        ("google/gemma-4-12B", (0, 26, 0), 4, 5),
        ("openai/gpt-oss-20b", (0, 26, 0), 4, 4),  # the first runner until 0.29
        ("openai/gpt-oss-20b", (0, 26, 0), 1, 2),
        ("openai/gpt-oss-20b", (0, 30, 0), 4, 5),
    ],
)
def test_every_step_under_way_is_charged(
    name: str, version: tuple[int, ...], stages: int, steps: int
) -> None:
    settings = EngineSettings(version=version, pipeline_parallel=stages, stage=0)
    shape = pool_shape(model(name), settings, batch_tokens=2048)
    assert shape is not None
    assert shape.in_flight == steps * 2048


def test_a_plain_draft_makes_no_pool_of_a_compressed_target() -> None:
    layers = model("Qwen/Qwen3-8B").layers[:1]
    drafted = EngineSettings(speculative=Speculative("draft", 4, draft_layers=layers))
    assert pool_shape(model("deepseek-ai/DeepSeek-V4-Flash"), drafted, batch_tokens=1) is None


def test_drafts_that_are_looked_up_wait_for_the_step_before() -> None:
    looked_up = EngineSettings(version=(0, 26, 0), speculative=Speculative("ngram", 4))
    shape = pool_shape(model("google/gemma-4-12B"), looked_up, batch_tokens=2048)
    assert shape is not None
    assert shape.in_flight == 2048
