"""Shapes that engines refused, as their issues report them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import CONFIGS, card, model

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_names import any_of
from rigspec.catalog.model_parts import Mlp
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import facts_of_config, load_model_facts
from rigspec.sizing.accepted import decode_context_sizes, refusals
from rigspec.sizing.memory import estimate
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.verdict import Verdict


def rules(name: str, settings: EngineSettings, sku: str = "h100") -> list[str]:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return [refusal.rule for refusal in refusals(facts, settings, card(sku))]


@pytest.mark.parametrize(
    ("name", "settings", "rule"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", EngineSettings(tensor_parallel=3), "heads"),
        ("microsoft/phi-4", EngineSettings(tensor_parallel=4), "kv-heads"),
        ("Qwen/Qwen3-14B", EngineSettings(tensor_parallel=5), "vocabulary"),
        ("MiniMaxAI/MiniMax-M2.7", EngineSettings(tensor_parallel=8), "fp8-block"),
        ("Qwen/Qwen3-8B", EngineSettings(context=65536), "context"),
        ("Qwen/Qwen3-8B", EngineSettings(tensor_parallel=8, decode_context_parallel=3), "dcp"),
        ("Qwen/Qwen3-8B", EngineSettings(pipeline_parallel=64), "stages"),
    ],
)
def test_refused_shapes(name: str, settings: EngineSettings, rule: str) -> None:
    assert rule in rules(name, settings)


def test_accepted_shapes_have_no_refusal() -> None:
    assert rules("MiniMaxAI/MiniMax-M2.7", EngineSettings(tensor_parallel=4)) == []
    assert rules("microsoft/phi-4", EngineSettings(tensor_parallel=2)) == []
    deep = EngineSettings(tensor_parallel=8, decode_context_parallel=8)
    assert rules("zai-org/GLM-5.1", deep) == []


@pytest.mark.parametrize(
    ("name", "tp", "engine", "version", "sku", "surely"),
    [
        # 1536 / 8 = 192: blocks of 64 would do (`refine_fp8_moe_block_shape`)
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.VLLM, (0, 28), "h100", True),
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.VLLM, (0, 29), "h100", False),
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.VLLM, None, "h100", False),
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.VLLM, (0, 33), "a100", True),  # no 8-bit floats
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.SGLANG, (0, 5, 23), "h100", True),
        ("MiniMaxAI/MiniMax-M2.7", 8, Engine.SGLANG, None, "h100", True),
        ("Qwen/Qwen3-32B-FP8", 16, Engine.VLLM, (0, 33), "h100", True),  # dense: 1,600
    ],
)
def test_a_cut_block_is_refused_for_sure_where_the_release_is_known_to(
    name: str, tp: int, engine: Engine, version: tuple[int, ...] | None, sku: str, surely: bool
) -> None:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    asked = EngineSettings(engine=engine, version=version, tensor_parallel=tp)
    (found,) = (r for r in refusals(facts, asked, card(sku)) if r.rule == "fp8-block")
    assert found.surely is surely
    seen = estimate(facts, card(sku), asked)
    assert seen.refused is surely
    assert seen.outlook is not Verdict.YES


def test_expert_parallelism_lifts_the_block_rule() -> None:
    settings = EngineSettings(tensor_parallel=8, expert_parallel=True)
    assert rules("MiniMaxAI/MiniMax-M2.7", settings) == []


def test_expert_parallelism_leaves_dense_layers_cut() -> None:
    # 25,600 / TP 16 = 1,600, no multiple of 128, with or without
    asked = EngineSettings(tensor_parallel=16, expert_parallel=True)
    assert rules("Qwen/Qwen3-32B-FP8", asked) == ["fp8-block"]


def test_whole_experts_may_end_within_a_block() -> None:
    # 1,920 are fifteen blocks of 128, 1,856 are fourteen and a half: no shard ends there
    published = model("Qwen/Qwen3-30B-A3B-FP8")
    layers = tuple(
        replace(each, experts=replace(each.experts, width=1856)) if each.experts else each
        for each in published.layers
    )
    facts = replace(published, layers=layers)
    for whole in (True, False):
        asked = EngineSettings(tensor_parallel=2, expert_parallel=whole)
        found = refusals(facts, asked, card("h100"))
        assert any("1856" in each.message for each in found) is not whole


def test_copies_of_attention_cut_heads_less() -> None:
    # 40 heads in 16 parts do not divide, in 16 / 2 they do
    asked = EngineSettings(engine=Engine.SGLANG, tensor_parallel=16)
    copies = replace(asked, data_parallel=2, dp_attention=True)
    assert "heads" in rules("Qwen/Qwen3-14B", asked)
    assert "heads" not in rules("Qwen/Qwen3-14B", copies)
    several = replace(copies, tensor_parallel=24)
    said = refusals(model("Qwen/Qwen3-14B"), several, card("h100"))
    assert "40 attention heads do not divide by attention TP 12" in [r.message for r in said]


def test_mxfp4_needs_ampere() -> None:
    assert rules("openai/gpt-oss-20b", EngineSettings(), "rtx-2080-ti") == ["compute-capability"]


@pytest.mark.parametrize(
    ("engine", "version", "sku", "refused"),
    [
        (Engine.VLLM, (0, 30, 0), "tesla-p40", True),
        (Engine.VLLM, (0, 10, 0), "tesla-p100-pcie-16gb", True),
        (Engine.VLLM, (0, 8, 5), "tesla-v100-pcie-32gb", False),
        (Engine.VLLM, (0, 9, 0), "tesla-v100-pcie-32gb", True),
        (Engine.VLLM, (0, 10, 2), "tesla-v100-pcie-32gb", False),
        (Engine.VLLM, (0, 19, 1), "tesla-v100-pcie-32gb", False),
        (Engine.VLLM, (0, 20), "tesla-v100-pcie-32gb", True),
        (Engine.VLLM, None, "tesla-v100-pcie-32gb", True),
        (Engine.VLLM, (0, 33, 0), "rtx-2080-ti", False),
        (Engine.SGLANG, (0, 5, 6), "rtx-2080-ti", False),
        (Engine.SGLANG, (0, 5, 7), "rtx-2080-ti", True),
        (Engine.SGLANG, (0, 4, 6), "tesla-v100-pcie-32gb", True),
        (Engine.LLAMA_CPP, None, "tesla-p40", False),
    ],
)
def test_cards_that_the_engines_builds_hold_no_code_for(
    engine: Engine, version: tuple[int, ...] | None, sku: str, refused: bool
) -> None:
    settings = EngineSettings(engine=engine, version=version)
    assert ("card" in rules("Qwen/Qwen3-8B", settings, sku)) is refused


@pytest.mark.parametrize(
    ("engine", "sku", "sure"),
    [
        (EngineSettings(), "tesla-v100-pcie-32gb", False),  # 0.19 held code for it
        (EngineSettings(version=(0, 30, 0)), "tesla-v100-pcie-32gb", True),
        (EngineSettings(beyond_known=True), "tesla-v100-pcie-32gb", True),
        (EngineSettings(), "tesla-p40", True),  # no release did
    ],
)
def test_a_card_that_an_older_release_took_is_not_surely_refused_by_one_that_nobody_names(
    engine: EngineSettings, sku: str, sure: bool
) -> None:
    found = refusals(model("Qwen/Qwen3-8B"), engine, card(sku))
    assert [each.surely for each in found if each.rule == "card"] == [sure]


def test_a_patched_build_may_hold_kernels_that_the_projects_own_does_not() -> None:
    settings = EngineSettings(version=(0, 30, 0), patched=True, kv_dtype="nvfp4")
    assert rules("Qwen/Qwen3-8B", settings, "tesla-p40") == []


@pytest.mark.parametrize(
    ("name", "version", "cache", "sku", "refused"),
    [
        ("Qwen/Qwen3-8B", (0, 30, 0), "nvfp4", "rtx-3090", True),
        ("Qwen/Qwen3-8B", (0, 33, 0), "nvfp4", "rtx-3090", False),
        ("Qwen/Qwen3-8B", (0, 33, 0), "nvfp4", "rtx-2080-ti", True),
        ("Qwen/Qwen3-8B", (0, 30, 0), "nvfp4", "b200", False),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8_inc", "h100", True),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8_ds_mla", "h100", True),
        ("Qwen/Qwen3-8B", (0, 33, 0), "turboquant_4bit_nc", "rtx-3090", False),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8_per_token_head", "rtx-3090", True),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8", "rtx-3090", False),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8_e5m2", "rtx-3090", False),
        ("Qwen/Qwen3-8B", (0, 33, 0), "fp8", "rtx-2080-ti", True),
        ("Qwen/Qwen3-8B", (0, 22, 0), "fp8", "rtx-2080-ti", False),
        ("zai-org/GLM-4.7-Flash", (0, 33, 0), "fp8", "rtx-3090", True),
        ("zai-org/GLM-4.7-Flash", (0, 33, 0), "fp8", "rtx-4090", False),
        ("zai-org/GLM-4.7-Flash", (0, 33, 0), "turboquant_4bit_nc", "h100", True),
        ("zai-org/GLM-4.7-Flash", (0, 33, 0), "nvfp4", "b200", True),
        ("zai-org/GLM-5.1", (0, 33, 0), "auto", "rtx-3090", True),
        ("zai-org/GLM-5.1", (0, 33, 0), "fp8_ds_mla", "h100", False),
        ("MiniMaxAI/MiniMax-M2.7", (0, 33, 0), "fp8_e5m2", "rtx-3090", True),
    ],
)
def test_attention_and_cache_types_that_no_kernel_reads(
    name: str, version: tuple[int, ...], cache: str, sku: str, refused: bool
) -> None:
    settings = EngineSettings(version=version, kv_dtype=cache)
    assert ("attention" in rules(name, settings, sku)) is refused


def test_sglang_has_the_nvfp4_cache_for_blackwell_only() -> None:
    settings = EngineSettings(engine=Engine.SGLANG, version=(0, 5, 23), kv_dtype="nvfp4")
    assert rules("Qwen/Qwen3-8B", settings, "h100") == ["attention"]
    assert rules("Qwen/Qwen3-8B", settings, "rtx-5090") == []


def test_llama_cpp_takes_any_shape() -> None:
    odd = replace(EngineSettings(engine=Engine.LLAMA_CPP), tensor_parallel=3)
    assert rules("Qwen/Qwen3-8B", odd) == []


def grouped(method: str, group: int = 128, kept: str = "") -> ModelFacts:
    """Qwen2.5-72B with its own width, which a community quantizer leaves unpadded."""
    record = {
        "quant_method": method, "bits": 4, "group_size": group, "sym": True,
        "modules_to_not_convert": [kept] if kept else [],
    }  # fmt: skip
    config = {
        "model_type": "qwen2", "hidden_size": 8192, "vocab_size": 152064,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
        "intermediate_size": 29568, "max_position_embeddings": 32768,
        "quantization_config": record,
    }  # fmt: skip
    facts = facts_of_config("q72", config)
    assert facts is not None
    return facts


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_a_shard_must_hold_whole_groups(method: str, engine: Engine) -> None:
    # vLLM 13980: "The input size is not aligned with the quantized weight shape", TP 2 of 72B
    settings = EngineSettings(engine=engine, tensor_parallel=2)
    found = refusals(grouped(method), settings, card("rtx-3090"))
    assert [refusal.message for refusal in found] == [
        "down_proj width 29568 / TP 2 = 14784, not a multiple of its group size 128"
    ]
    assert refusals(grouped(method), replace(settings, tensor_parallel=1), card("rtx-3090")) == ()


def test_one_card_cuts_no_group() -> None:
    # 29,568 are 295.68 groups of 100: how the checkpoint holds the last is no matter of shards
    assert refusals(grouped("gptq", 100), EngineSettings(), card("h100")) == ()


def test_copies_of_attention_cut_its_groups_less() -> None:
    # 64 heads of 128 over 16 ranks are 512 wide each, half a group; each of 16 copies has all 8,192
    published = grouped("gptq", 1024)
    layers = tuple(replace(layer, mlp=Mlp(32768)) for layer in published.layers)
    facts = replace(published, layers=layers)
    for copies, cut in ((1, True), (16, False)):
        asked = EngineSettings(
            Engine.SGLANG, tensor_parallel=16, data_parallel=copies, dp_attention=copies > 1
        )
        found = refusals(facts, asked, card("h100"))
        assert any("o_proj width 8192 / TP 16 = 512" in each.message for each in found) is cut


def test_integer_weights_go_by_the_method_that_packed_them() -> None:
    assert grouped("awq").quantization.label == "AWQ 4-bit"
    found = refusals(grouped("gptq"), EngineSettings(), card("tesla-p40"))
    assert not any("int4" in refusal.message for refusal in found)


def test_groups_that_the_shard_holds_whole_are_taken() -> None:
    settings = EngineSettings(tensor_parallel=2)
    assert refusals(grouped("gptq", 64), settings, card("rtx-3090")) == ()
    assert refusals(grouped("gptq", -1), settings, card("rtx-3090")) == ()
    assert refusals(grouped("awq", kept="down_proj"), settings, card("rtx-3090")) == ()


@pytest.mark.parametrize(
    ("engine", "starts"), [(Engine.VLLM, False), (Engine.SGLANG, False), (Engine.LLAMA_CPP, True)]
)
def test_only_an_engine_that_starts_answers_nonsense(engine: Engine, starts: bool) -> None:
    facts = load_model_facts("Qwen/Qwen3-8B", [CONFIGS])
    assert facts is not None
    asked = EngineSettings(engine=engine, context=100_000)
    (found,) = (r for r in refusals(facts, asked, card("rtx-3090")) if r.rule == "context")
    assert ("nonsense" in found.message) is starts


def test_of_two_cut_blocks_the_one_that_is_surely_refused_is_said() -> None:
    # TP 32: experts of 2,048 keep 64, to which the blocks of routed ones are cut from 0.29 on; the
    # shared one's are not, vLLM refuses it still
    asked = EngineSettings(version=(0, 33), tensor_parallel=32)
    found = refusals(model("deepseek-ai/DeepSeek-R1"), asked, card("h100"))
    (cut,) = (refusal for refusal in found if refusal.rule == "fp8-block")
    assert cut.surely
    assert "2048 / TP 32 = 64" in cut.message


@pytest.mark.parametrize(
    ("method", "refused"), [("gptq", True), ("bitsandbytes", False), ("", False)]
)
def test_scales_that_do_not_lie_along_rows_are_cut_anywhere(method: str, refused: bool) -> None:
    # bitsandbytes counts its 64 over the flat shard; what an owner calls 4 bits has no record.
    # 29,568 / TP 4 = 7,392, no multiple of 64
    facts = replace(
        model("Qwen/Qwen2.5-72B-Instruct"),
        quantization=Quantization(Scheme.INT4, group=64, method=method),
    )
    found = refusals(facts, EngineSettings(tensor_parallel=4), card("rtx-3090"))
    assert bool([r for r in found if r.rule == "groups"]) is refused


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.SGLANG])
def test_a_shared_expert_is_cut_under_expert_parallelism_too(engine: Engine) -> None:
    # 2,048 / TP 32 = 64: no whole block of 128; routed experts are whole, 16 ranks leave 128
    for ranks, refused in ((32, True), (16, False)):
        asked = EngineSettings(engine, tensor_parallel=ranks, expert_parallel=True)
        found = refusals(model("deepseek-ai/DeepSeek-R1"), asked, card("h100"))
        assert any(refusal.rule == "fp8-block" for refusal in found) == refused


def test_an_owner_s_word_does_not_tell_whether_a_shared_expert_has_blocks() -> None:
    published = model("deepseek-ai/DeepSeek-R1")
    facts = replace(published, layers=published.layers[3:])  # the first three are dense
    told = replace(facts, quantization=replace(facts.quantization, method="", keeps=None))
    asked = EngineSettings(version=(0, 33), tensor_parallel=32, expert_parallel=True)
    for each, sure in ((facts, True), (told, False)):
        (cut,) = refusals(each, asked, card("h100"))
        assert ("= 64" in cut.message, cut.surely) == (True, sure)


def test_an_owner_s_word_tells_that_dense_layers_have_blocks() -> None:
    # 18,432 / TP 32 = 576: no layer but a shared expert is left in 16 bits by habit
    published = model("deepseek-ai/DeepSeek-R1")
    facts = replace(published, layers=published.layers[:3])
    told = replace(facts, quantization=replace(facts.quantization, method="", keeps=None))
    asked = EngineSettings(version=(0, 33), tensor_parallel=32)
    for each in (facts, told):
        (cut,) = (found for found in refusals(each, asked, card("h100")) if "576" in found.message)
        assert cut.surely


def test_a_dense_layer_that_the_record_leaves_alone_has_no_blocks() -> None:
    # 18,432 / TP 32 = 576 of 16 bits, which may be cut anywhere
    published = model("deepseek-ai/DeepSeek-R1")
    kept = replace(published.quantization, keeps=any_of(["*down_proj"]))
    facts = replace(published, layers=published.layers[:3], quantization=kept)
    asked = EngineSettings(version=(0, 33), tensor_parallel=32)
    assert not [each for each in refusals(facts, asked, card("h100")) if "576" in each.message]


@pytest.mark.parametrize("part", [slice(3), slice(3, None)])
def test_what_vllm_quantizes_itself_it_may_pad(part: slice) -> None:
    # pull 44763; three dense layers of 18,432 and experts of 2,048, cut to 576 and 64
    published = model("deepseek-ai/DeepSeek-R1")
    made = replace(published.quantization, at_load=True)
    facts = replace(published, layers=published.layers[part], quantization=made)
    asked = EngineSettings(version=(0, 20), tensor_parallel=32)
    (cut,) = (found for found in refusals(facts, asked, card("h100")) if found.rule == "fp8-block")
    assert not cut.surely


def test_a_part_of_nvfp4_holds_whole_groups_of_sixteen() -> None:
    # experts of 1,856: an eighth is 232, a quarter 464
    facts = model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4")
    for ranks, whole, cut in ((8, False, 1), (4, False, 0), (8, True, 0)):
        asked = EngineSettings(tensor_parallel=ranks, expert_parallel=whole)
        found = [r for r in refusals(facts, asked, card("h100")) if r.rule == "expert-groups"]
        assert len(found) == cut
        assert all("1856 / 8 ranks = 232" in r.message and not r.surely for r in found)


def test_a_dense_part_of_nvfp4_that_cuts_a_group_is_surely_refused() -> None:
    published = model("nvidia/Qwen3.6-27B-NVFP4")
    layers = tuple(
        replace(layer, mlp=replace(layer.mlp, width=17424)) if layer.mlp else layer
        for layer in published.layers
    )
    facts = replace(published, layers=layers)  # 17,424 / 2 = 8,712, no multiple of 16
    quantized = replace(facts, quantization=replace(facts.quantization, per_layer=None, keeps=None))
    (found,) = (
        r for r in refusals(quantized, EngineSettings(tensor_parallel=2), card("b200"))
        if r.rule == "groups"
    )  # fmt: skip
    assert found.surely


def test_experts_beside_a_dense_part_are_looked_at_by_their_own_format() -> None:
    # the record leaves `mlp*` of the dense part in 16 bits; 704 / 8 = 88
    facts = model("nvidia/Gemma-4-26B-A4B-NVFP4")
    asked = EngineSettings(tensor_parallel=8)
    assert any(r.rule == "expert-groups" for r in refusals(facts, asked, card("b200")))


@pytest.mark.parametrize(("sku", "method", "refused"), [
    ("tesla-t4", "awq", True), ("tesla-t4", "gptq", True), ("tesla-t4", "", False),
    ("rtx-3090", "awq", False),
])  # fmt: skip
def test_packed_weights_need_a_type_of_sixteen_bits_that_the_model_bears(
    sku: str, method: str, refused: bool
) -> None:
    packed = Quantization(Scheme.INT4_ZERO, method=method)
    facts = replace(model("google/gemma-2-9b-it"), quantization=packed)
    found = refusals(facts, EngineSettings(version=(0, 30)), card(sku))
    assert any("does not bear" in r.message for r in found) is refused
    sglang = EngineSettings(Engine.SGLANG)
    assert not any("does not bear" in r.message for r in refusals(facts, sglang, card(sku)))


def test_sizes_of_context_parallel_are_judged_by_their_own_rule() -> None:
    # the context is beyond the model's own, whatever the size
    facts = model("deepseek-ai/DeepSeek-V3")
    asked = EngineSettings(tensor_parallel=8, context=1 << 20)
    assert decode_context_sizes(facts, asked, card("h200")) == (1, 2, 4, 8)
