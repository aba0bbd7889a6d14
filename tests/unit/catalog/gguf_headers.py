"""The key-values that llama.cpp's converter writes for a `config.json` (`set_gguf_parameters`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def header(config: Config, architecture: str) -> dict[str, object]:
    """What the base class writes, and what that of the architecture adds or writes over it."""
    said = _base(config)
    for part in _PARTS.get(architecture, ()):
        said |= part(config)
    return {
        "general.architecture": architecture,
        **{f"{architecture}.{key}": value for key, value in said.items() if value is not None},
    }


def _base(config: Config) -> dict[str, object]:
    drafts = config.get("num_nextn_predict_layers") or 0
    return {
        "block_count": config["num_hidden_layers"] + drafts,
        "nextn_predict_layers": drafts or None,
        "context_length": config.get("max_position_embeddings"),
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config.get("intermediate_size"),
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config.get("num_key_value_heads"),
        "attention.key_length": config.get("head_dim"),
        "attention.value_length": config.get("head_dim"),
        "attention.sliding_window": config.get("sliding_window"),
        "rope.dimension_count": config.get("head_dim"),
        "vocab_size": config["vocab_size"],
        "final_logit_softcapping": config.get("final_logit_softcapping"),
        "expert_count": _first(config, "num_local_experts", "num_experts", "n_routed_experts"),
        "expert_used_count": _first(config, "num_experts_per_tok", "top_k_experts"),
        "expert_feed_forward_length": config.get("moe_intermediate_size"),
        "expert_shared_count": config.get("n_shared_experts"),
        "expert_shared_feed_forward_length": config.get("shared_expert_intermediate_size"),
        "leading_dense_block_count": config.get("first_k_dense_replace"),
    }


def _first(config: Config, *names: str) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _latent(config: Config) -> dict[str, object]:
    """`DeepseekV2Model`."""
    record, rotary = config["kv_lora_rank"], config["qk_rope_head_dim"]
    return {
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": config.get("q_lora_rank"),
        "attention.kv_lora_rank": record,
        "attention.key_length": record + rotary,
        "attention.value_length": record,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rotary,
        "attention.value_length_mla": config["v_head_dim"],
        "rope.dimension_count": rotary,
    }


def _indexer(config: Config) -> dict[str, object]:
    return {
        "attention.indexer.head_count": config["index_n_heads"],
        "attention.indexer.key_length": config["index_head_dim"],
        "attention.indexer.top_k": config["index_topk"],
    }


def _delta(config: Config) -> dict[str, object]:
    """`Qwen3NextModel`."""
    return {
        "full_attention_interval": config.get("full_attention_interval", 4),
        "ssm.conv_kernel": config["linear_conv_kernel_dim"],
        "ssm.state_size": config["linear_key_head_dim"],
        "ssm.group_count": config["linear_num_key_heads"],
        "ssm.time_step_rank": config["linear_num_value_heads"],
        "ssm.inner_size": config["linear_value_head_dim"] * config["linear_num_value_heads"],
    }


def _gemma4(config: Config) -> dict[str, object]:
    windows = [kind == "sliding_attention" for kind in config["layer_types"]]
    few, many = config.get("num_global_key_value_heads"), config["num_key_value_heads"]
    return {
        "attention.shared_kv_layers": config["num_kv_shared_layers"],
        "attention.sliding_window_pattern": windows,
        "attention.key_length": config["global_head_dim"],
        "attention.value_length": config["global_head_dim"],
        "attention.key_length_swa": config["head_dim"],
        "attention.value_length_swa": config["head_dim"],
        "attention.head_count_kv": [many if window else few for window in windows] if few else many,
    }


def _mimo(config: Config) -> dict[str, object]:
    few, many, marks = (
        config[key] for key in ("num_key_value_heads", "swa_num_key_value_heads", _MIMO_MARKS)
    )
    return {
        "attention.head_count_kv": [many if mark else few for mark in marks],
        "attention.sliding_window_pattern": marks,
        "attention.value_length": config["v_head_dim"],
        "leading_dense_block_count": config["moe_layer_freq"].index(1),
    }


_MIMO_MARKS = "hybrid_layer_pattern"


def _step(config: Config) -> dict[str, object]:
    """`Step35Model`: lists reach over the layers that draft."""
    drafts, count = config["num_nextn_predict_layers"], config["num_hidden_layers"]
    kinds = [*config["layer_types"], *["full_attention"] * drafts][: count + drafts]
    return {
        "attention.head_count": [config["num_attention_heads"] for _ in kinds],
        "attention.head_count_kv": [config["num_key_value_heads"] for _ in kinds],
        "attention.sliding_window_pattern": [kind == "sliding_attention" for kind in kinds],
        "expert_shared_count": None,
        "expert_shared_feed_forward_length": config["share_expert_dim"],
    }


def _llama4(config: Config) -> dict[str, object]:
    return {
        "feed_forward_length": config["intermediate_size_mlp"],
        "expert_feed_forward_length": config["intermediate_size"],
        "interleave_moe_layer_step": config["interleave_moe_layer_step"],
        "attention.sliding_window": None,
    }


def _gpt_oss(config: Config) -> dict[str, object]:
    return {"expert_feed_forward_length": config["intermediate_size"]}


def _nemotron(config: Config) -> dict[str, object]:
    """`NemotronHModel`, and Mamba-2 of the class below it."""
    drafts = config.get("num_nextn_predict_layers") or 0
    pattern = config["hybrid_override_pattern"] + "*" * drafts
    width = config["moe_intermediate_size"]
    return {
        "attention.head_count_kv": [config["num_key_value_heads"] * (x == "*") for x in pattern],
        "feed_forward_length": [width * (letter == "E") for letter in pattern],
        "expert_shared_feed_forward_length": config["moe_shared_expert_intermediate_size"],
        "moe_latent_size": config.get("moe_latent_size"),
        "ssm.conv_kernel": config["conv_kernel"],
        "ssm.state_size": config["ssm_state_size"],
        "ssm.group_count": config["n_groups"],
        "ssm.time_step_rank": config["mamba_num_heads"],
        "ssm.inner_size": config["mamba_num_heads"] * config["mamba_head_dim"],
    }


_PARTS = {
    "deepseek2": (_latent,),
    "glm-dsa": (_latent, _indexer),
    "qwen3next": (_delta,),
    "qwen35": (_delta,),
    "qwen35moe": (_delta,),
    "gemma4": (_gemma4,),
    "llama4": (_llama4,),
    "mimo2": (_mimo,),
    "step35": (_step,),
    "gpt-oss": (_gpt_oss,),
    "nemotron_h_moe": (_nemotron,),
}
