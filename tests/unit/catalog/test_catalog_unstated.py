"""Sizes that a config does not state: never zero without a word, and no doubt where it is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import Lacks, ModelFacts
from rigspec.catalog.models import UnusableModel, load_model_facts
from rigspec.sizing.stored import formula_bytes

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
GONE = object()
SEARCHED = "nvidia__Llama-3_3-Nemotron-Super-49B-v1"
NO_COUNT = "a model of its kind has experts, and the config does not say how many"
NO_WIDTH = "the width of a feed-forward layer is not stated"


def facts(name: str, /, **changed: object) -> ModelFacts:
    """Facts of a published config with keys of its language part changed or taken out."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    inner = config.get("text_config", config)
    inner.update(changed)
    for key, value in changed.items():
        if value is GONE:
            del inner[key]
    found = facts_of_config("m", config)
    assert found is not None
    return found


@pytest.mark.parametrize("key", ["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"])
@pytest.mark.parametrize("name", ["deepseek-ai__DeepSeek-R1", "moonshotai__Kimi-K2-Instruct"])
def test_latent_heads_without_a_width_are_a_doubt(name: str, key: str) -> None:
    assert f"latent attention without `{key}`" in facts(name, **{key: GONE}).doubts
    assert not facts(name).doubts


@pytest.mark.parametrize("value", [GONE, None, 0, 1])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai__gpt-oss-120b", "num_local_experts"),
        ("deepseek-ai__DeepSeek-R1", "n_routed_experts"),
        ("deepseek-ai__DeepSeek-V2-Lite", "n_routed_experts"),
        ("Qwen__Qwen3-30B-A3B", "num_experts"),
        ("mistralai__Mixtral-8x7B-v0.1", "num_local_experts"),
        ("zai-org__GLM-4.5-Air", "n_routed_experts"),
        ("moonshotai__Kimi-K2-Instruct", "n_routed_experts"),
        ("MiniMaxAI__MiniMax-M2.5", "num_local_experts"),
    ],
)
def test_experts_without_a_count_are_a_doubt(name: str, key: str, value: object) -> None:
    found = facts(name, **{key: value})
    assert any(doubt.startswith(NO_COUNT) for doubt in found.doubts)
    assert found.lacks == "experts"
    assert found.is_novel


@pytest.mark.parametrize(
    ("name", "changed", "said", "lacks"),
    [
        (
            "Qwen__Qwen3-30B-A3B",
            {"moe_intermediate_size": 0},
            "it has 128 experts, and their width is not stated (`moe_intermediate_size`)",
            "experts",
        ),
        ("Qwen__Qwen3-30B-A3B", {"moe_intermediate_size": GONE}, "it has 128 experts", "experts"),
        ("openai__gpt-oss-20b", {"intermediate_size": None}, "it has 32 experts", "experts"),
        ("stepfun-ai__Step-3.7-Flash", {"num_experts": GONE}, NO_COUNT, "experts"),
        ("XiaomiMiMo__MiMo-V2-Flash", {"n_routed_experts": GONE}, NO_COUNT, "experts"),
        ("XiaomiMiMo__MiMo-V2-Flash", {"n_routed_experts": 0}, NO_COUNT, "experts"),
        ("google__gemma-4-26B-A4B", {"num_experts": 0}, NO_COUNT, "experts"),
        ("Qwen__Qwen3.5-397B-A17B", {"num_experts": GONE}, NO_COUNT, "experts"),
        (
            "meta-llama__Llama-4-Maverick-17B-128E-Instruct",
            {"num_local_experts": GONE},
            NO_COUNT,
            "experts",
        ),
        (
            "nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
            {"n_routed_experts": GONE},
            NO_COUNT,
            "experts",
        ),
        ("Qwen__Qwen3-8B", {"intermediate_size": GONE}, NO_WIDTH, "dense"),
        ("Qwen__Qwen3-8B", {"intermediate_size": 0}, NO_WIDTH, "dense"),
        ("Qwen__Qwen3-8B", {"intermediate_size": None}, NO_WIDTH, "dense"),
        ("deepseek-ai__DeepSeek-V2-Lite", {"intermediate_size": GONE}, NO_WIDTH, "dense"),
        ("nvidia__Nemotron-H-56B-Base-8K", {"intermediate_size": GONE}, NO_WIDTH, "dense"),
        ("google__gemma-4-26B-A4B", {"intermediate_size": GONE}, NO_WIDTH, "dense"),
        (
            "Qwen__Qwen3-8B",
            {"num_attention_heads": GONE},
            "the dimensions of a full layer are not stated",
            "dense",
        ),
        (
            "deepseek-ai__DeepSeek-R1",
            {"v_head_dim": GONE},
            "the dimensions of a full layer are not stated",
            "dense",
        ),
        (
            "nvidia__Llama-3_3-Nemotron-Super-49B-v1",
            {"block_configs": [{"attention": {"n_heads_in_group": 8}, "ffn": {}}] * 80},
            NO_WIDTH,
            "dense",
        ),
        (
            "nvidia__Llama-3_3-Nemotron-Super-49B-v1",
            {"block_configs": [{"attention": {}, "ffn": {"no_op": True}}] * 80},
            "the heads of an attention layer are not stated",
            "dense",
        ),
    ],
)
def test_a_part_without_a_size_is_a_doubt(
    name: str, changed: dict[str, object], said: str, lacks: Lacks
) -> None:
    found = facts(name, **changed)
    assert any(doubt.startswith(said) for doubt in found.doubts), found.doubts
    assert found.lacks == lacks


def test_how_many_experts_a_token_meets_is_asked_for() -> None:
    found = facts("Qwen__Qwen3-30B-A3B", num_experts_per_tok=GONE)
    assert found.doubts == (
        "it does not say how many experts a token meets (`num_experts_per_tok`)",
    )
    assert found.lacks == "nothing"  # its weights are known


def test_no_published_config_lacks_a_size() -> None:
    """Nested ones that leave defaults out, Mamba layers, searched blocks, dense and sparse ones."""
    for path in CONFIGS.glob("*.json"):
        if not path.name.endswith(".hf_quant_config.json"):
            found = load_model_facts(path)
            assert found is not None
            assert (path.name, found.lacks) == (path.name, "nothing")


def of(config: dict[str, object]) -> ModelFacts:
    found = facts_of_config("m", config)
    assert found is not None
    assert found.lacks == "nothing", found.doubts
    return found


def test_classes_that_leave_the_width_out_take_four_times_the_model_s() -> None:
    """GPT-2 XL: 1.558 billion weights, 1.6 million of them positions; `n_inner` is null in it."""
    config: dict[str, object] = {
        "model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257,
        "n_inner": None,
    }  # fmt: skip
    found = of(config)
    assert formula_bytes(found) / 2 == pytest.approx(1.558e9, rel=0.003)
    assert of({**config, "model_type": "bloom"}).layers[0].mlp == found.layers[0].mlp


def test_a_width_that_is_adjusted_is_that_of_the_published_model() -> None:
    """LFM2-1.2B: 1,170,340,608 weights by its card, 10 convolutions and 6 attentions."""
    found = of({
        "model_type": "lfm2", "hidden_size": 2048, "num_hidden_layers": 16, "vocab_size": 65536,
        "num_attention_heads": 32, "num_key_value_heads": 8, "block_ff_dim": 12288,
        "block_auto_adjust_ff_dim": True, "block_multiple_of": 256, "conv_L_cache": 3,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
    })  # fmt: skip
    assert formula_bytes(found) / 2 == pytest.approx(1_170_340_608, rel=1e-5)


def test_widths_and_experts_may_be_stated_layer_by_layer() -> None:
    base = {"hidden_size": 64, "vocab_size": 100, "num_attention_heads": 4, "num_hidden_layers": 2}
    wide = of({**base, "model_type": "gemma3n_text", "intermediate_size": [128, 256]})
    assert [layer.mlp.width for layer in wide.layers if layer.mlp] == [128, 256]
    mixed = of({
        **base, "model_type": "hunyuan_v1_moe", "num_experts": [8, 16], "moe_topk": [1, 2],
        "moe_intermediate_size": [32, 48], "intermediate_size": 128,
    })  # fmt: skip
    experts = [layer.experts for layer in mixed.layers if layer.experts]
    assert [(e.count, e.active, e.width) for e in experts] == [(8, 1, 32), (16, 2, 48)]


def test_a_dense_model_of_a_class_that_may_have_experts_is_none_of_them() -> None:
    base = {"hidden_size": 64, "vocab_size": 100, "num_attention_heads": 4, "num_hidden_layers": 2}
    micro = {"num_local_experts": 0, "num_experts_per_tok": 0, "intermediate_size": 128}
    assert not of({**base, **micro, "model_type": "granitemoehybrid"}).has_experts
    gemma = {"enable_moe_block": False, "num_experts": None, "moe_intermediate_size": 32}
    gemma |= {"intermediate_size": 128}
    assert not of({**base, **gemma, "model_type": "gemma4_text"}).has_experts
    plain = {"num_experts": 0, "moe_intermediate_size": 32, "intermediate_size": 128}
    assert not of({**base, **plain, "model_type": "qwen3"}).has_experts


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("Qwen__Qwen3.5-35B-A3B", ("num_experts", "moe_intermediate_size")),
        (
            "meta-llama__Llama-4-Scout-17B-16E-Instruct",
            ("num_local_experts", "intermediate_size", "intermediate_size_mlp"),
        ),
    ],
)
def test_class_defaults_that_a_nested_config_leaves_out_are_taken(
    name: str, left_out: tuple[str, ...]
) -> None:
    whole, found = facts(name), facts(name, **dict.fromkeys(left_out, GONE))
    assert found.layers == whole.layers
    assert found.doubts == whole.doubts


@pytest.mark.parametrize("key", ["intermediate_size", "num_experts", "moe_intermediate_size"])
@pytest.mark.parametrize("value", [[], {}, True, [128, True], [128, [1]]])
def test_a_size_of_the_wrong_kind_is_refused(key: str, value: object) -> None:
    with pytest.raises(UnusableModel, match=rf"^`{key}` is `.*`, an engine reads one number there"):
        facts("Qwen__Qwen3-8B", **{key: value})


@pytest.mark.parametrize("key", ["intermediate_size", "num_experts", "num_attention_heads"])
@pytest.mark.parametrize("value", [3.5, [8, 3.5]])
def test_a_part_of_a_width_is_refused(key: str, value: object) -> None:
    if isinstance(value, list) and key == "num_attention_heads":
        return  # no list at all
    with pytest.raises(UnusableModel, match=f"^`{key}` is 3.5, which is no whole number"):
        facts("Qwen__Qwen3-8B", **{key: value})


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("openai__gpt-oss-120b", {"layer_types": ["sliding_attention"]}, "`layer_types` names 1 "),
        ("openai__gpt-oss-120b", {"layer_types": ["full_attention"] * 18}, "names 18 layers"),
        ("openai__gpt-oss-120b", {"layer_types": ["full_attention"] * 37}, "names 37 layers"),
        ("openai__gpt-oss-120b", {"layer_types": []}, "`layer_types` names 0 layers"),
        ("openai__gpt-oss-120b", {"layer_types": "full"}, "`layer_types` is no list"),
        ("Qwen__Qwen3.5-35B-A3B", {"layer_types": ["full_attention"]}, "`layer_types` names 1 "),
        ("XiaomiMiMo__MiMo-V2-Flash", {"moe_layer_freq": [1]}, "`moe_layer_freq` names 1 layers"),
        ("XiaomiMiMo__MiMo-V2-Flash", {"hybrid_layer_pattern": [1, 0]}, "names 2 layers"),
        ("zai-org__GLM-5.2", {"mlp_layer_types": ["sparse"]}, "`mlp_layer_types` names 1 layers"),
        ("zai-org__GLM-5.2", {"indexer_types": ["full"] * 80}, "`indexer_types` names 80 layers"),
        ("nvidia__Nemotron-H-56B-Base-8K", {"hybrid_override_pattern": "M-"}, "names 2 layers"),
        ("nvidia__Llama-3_3-Nemotron-Super-49B-v1", {"num_hidden_layers": 79}, "names 80 layers"),
        ("Qwen__Qwen3-8B", {"intermediate_size": [12288] * 35}, "`intermediate_size` names 35 "),
        ("moonshotai__Kimi-K3", {"num_hidden_layers": 70}, "`linear_attn_config` names"),
    ],
)
def test_a_list_of_another_length_than_the_layers_is_a_doubt(
    name: str, changed: dict[str, object], said: str
) -> None:
    assert any(said in doubt for doubt in facts(name, **changed).doubts)


@pytest.mark.parametrize(
    ("listed", "drafts", "doubted"),
    [
        (36, 2, False),
        (38, 2, False),
        (37, 2, True),  # of one draft and not the other
        (34, 2, True),
        (37, 1, False),
        (37, 0, True),
    ],
)
def test_a_list_by_layer_may_leave_the_drafts_out(listed: int, drafts: int, doubted: bool) -> None:
    # published ones do either: Step 3.7 lists its 45 layers and none of 3 drafts, DeepSeek V4.1 all
    kinds = {"layer_types": ["full_attention"] * listed, "num_nextn_predict_layers": drafts}
    said = f"`layer_types` names {listed} layers, `num_hidden_layers` says 36"
    assert facts("Qwen__Qwen3-8B", **kinds).doubts == ((said,) if doubted else ())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (SEARCHED, "block_configs"),
        ("nvidia__Nemotron-H-56B-Base-8K", "hybrid_override_pattern"),
        ("nvidia__NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4", "layers_block_type"),
    ],
)
def test_a_list_of_fewer_layers_than_there_are_is_no_whole_model(name: str, key: str) -> None:
    whole = facts(name)
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    found = facts(name, **{key: config[key][:4]})
    assert (whole.lacks, found.lacks) == ("nothing", "dense")
    assert found.doubts


@pytest.mark.parametrize("word", ["no_op", "replace_with_linear"])
def test_a_part_that_the_search_took_out_lacks_no_size(word: str) -> None:
    # its size is null then, in the configs of this class; the other parts are as before
    config = json.loads((CONFIGS / f"{SEARCHED}.json").read_text())
    first, *others = config["block_configs"]
    gone = {"attention": {word: True, "n_heads_in_group": None}, "ffn": {word: True}}
    for part, empty in gone.items():
        found = facts(SEARCHED, block_configs=[first | {part: empty}, *others])
        assert found.lacks == "nothing", found.doubts
        assert (found.layers[0].mixer is None, found.layers[0].mlp is None) == (
            part == "attention",
            part == "ffn",
        )


@pytest.mark.parametrize(
    ("model_type", "matrices"),
    [("phi", 2), ("phi3", 3), ("nemotron", 2), ("nemotron-nas", 3), ("gptj", 2), ("arcee", 2)],
)
def test_dense_layers_hold_two_matrices_or_three(model_type: str, matrices: int) -> None:
    """Phi-2 loads 5.19 GiB: 2.78 billion weights, a third matrix would make 3.62 of them."""
    found = of({
        "model_type": model_type, "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 51200,
        "tie_word_embeddings": False,
    })  # fmt: skip
    dense = [layer.mlp for layer in found.layers if layer.mlp]
    assert [mlp.gated for mlp in dense] == [matrices == 3] * 32
    if matrices == 2:
        assert formula_bytes(found) / 2 == pytest.approx(2.78e9, rel=0.002)
