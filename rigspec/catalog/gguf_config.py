"""A GGUF header's key-values as the `config.json` that says the same.

llama.cpp's converter writes one number for all layers, or a list of one per layer: key/value heads
that are 0 in layers without attention, a list of windows, widths of their own for window layers
(`attention.key_length_swa`). Sources: `set_gguf_parameters` of the classes in its `conversion/`,
and what its `src/llama-model.cpp` reads (b11434).
"""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.catalog.model_faults import UnusableModel

_DRAFTS = "num_nextn_predict_layers"
KEYS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.key_length_swa": "swa_head_dim",
    "attention.value_length_swa": "swa_v_head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
    "rope.dimension_count": "qk_rope_head_dim",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "moe_latent_size": "moe_latent_size",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "leading_dense_block_count": "first_k_dense_replace",
    "full_attention_interval": "full_attention_interval",
    "ssm.group_count": "linear_num_key_heads",
    "ssm.time_step_rank": "linear_num_value_heads",
    "ssm.state_size": "linear_value_head_dim",
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "shortconv.l_cache": "conv_L_cache",
    "nextn_predict_layers": _DRAFTS,
}
"""GGUF key (after the architecture's prefix) → the `config.json` key of the same thing."""

ARCHITECTURES = {
    "qwen2moe": "qwen2_moe", "qwen2vl": "qwen2_vl", "qwen3moe": "qwen3_moe", "qwen3vl": "qwen3_vl",
    "qwen3vlmoe": "qwen3_vl_moe", "qwen3next": "qwen3_next", "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text", "deepseek2": "deepseek_v3", "glm4moe": "glm4_moe",
    "glm-dsa": "glm_moe_dsa", "gpt-oss": "gpt_oss", "gemma3": "gemma3_text",
    "gemma4": "gemma4_text", "granitehybrid": "granitemoehybrid", "kimi-linear": "kimi_linear",
    "lfm2moe": "lfm2_moe", "llama4": "llama4_text", "mimo2": "mimo_v2", "minimax-m2": "minimax_m2",
    "nemotron_h_moe": "nemotron_h", "step35": "step3p5",
}  # fmt: skip
"""Its name of an architecture → transformers' one, where they differ."""

_PERIODS = {"llama4_text", "gemma2", "gemma3_text", "gpt_oss", "cohere2"}
"""Families whose windows lie as their class says; llama.cpp has no windows for any other that
lists none (Phi-3 states one that it does not use)."""
_STATES = {"granitemoehybrid": "mamba", "lfm2": "conv", "lfm2_moe": "conv", "kimi_linear": "linear"}
"""What layers without key/value heads are."""


_EVERY_FOURTH = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
"""Families of which llama.cpp takes every fourth layer for a full one where nothing is said."""


def config_of_gguf(values: Mapping[str, object]) -> dict[str, object]:
    """A `config.json` look-alike from GGUF key-values."""
    architecture = str(values.get("general.architecture", ""))
    told = _Told(architecture, values)
    config: dict[str, object] = {"model_type": ARCHITECTURES.get(architecture, architecture)}
    for theirs, ours in KEYS.items():
        if (value := told.get(theirs)) is not None:
            config[ours] = _largest(value)
    for part in (_windows, _states, _mamba, _latent, _feed):
        part(told, config)
    blocks, drafts = (config.get(key) for key in ("num_hidden_layers", _DRAFTS))
    if isinstance(blocks, int) and isinstance(drafts, int) and 0 < drafts < blocks:
        config["num_hidden_layers"] = blocks - drafts  # a GGUF counts them in
        if isinstance(pattern := config.get("hybrid_override_pattern"), str):
            config["hybrid_override_pattern"] = pattern[: blocks - drafts]
    if "vocab_size" not in config:
        tokens = values.get("tokenizer.ggml.tokens")
        config["vocab_size"] = len(tokens) if isinstance(tokens, (list, tuple)) else None
    return config


class _Told:
    """The key-values of an architecture, without its prefix."""

    def __init__(self, architecture: str, values: Mapping[str, object]) -> None:
        self.architecture, self._values = architecture, values

    def get(self, key: str) -> object:
        """A number, a text, or a list; UnusableModel where a list is of another length."""
        named = f"{self.architecture}.{key}"
        value = self._values.get(named)
        if isinstance(value, (list, tuple)) and value:
            self._refuse_length(named, len(value))
        return value

    def each(self, key: str) -> tuple[int, ...]:
        """A list of one whole number or flag per layer; empty where it is none."""
        value = self.get(key)
        listed = value if isinstance(value, (list, tuple)) else ()
        return tuple(map(int, listed)) if all(isinstance(item, int) for item in listed) else ()

    def whole(self, key: str) -> int:
        """One whole number; 0 where it is not there."""
        value = self._values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else 0

    def _refuse_length(self, key: str, count: int) -> None:
        """A list says it of each layer: llama.cpp ends with `wrong array length` at another one."""
        blocks = f"{self.architecture}.block_count"
        if self._values.get(blocks, count) != count:
            said = self._values[blocks]
            raise UnusableModel(f"`{key}` names {count} layers, `{blocks}` says {said}")


def _largest(value: object) -> object:
    return max(value) if isinstance(value, (list, tuple)) and value else value


def _windows(told: _Told, config: dict[str, object]) -> None:
    """Which layers have windows, and their heads apart from those of the others."""
    marks = told.each("attention.sliding_window_pattern")
    if not marks:
        period = told.whole("attention.sliding_window_pattern")
        if period:
            config["sliding_window_pattern"] = period
        elif config["model_type"] not in _PERIODS:
            config.pop("sliding_window", None)
        elif config["model_type"] != "llama4_text":  # its windows are llama.cpp's own
            config.setdefault("sliding_window", 0)
        return
    config["layer_types"] = ["sliding_attention" if mark else "full_attention" for mark in marks]
    for key in ("attention.head_count", "attention.head_count_kv"):
        heads = told.each(key)
        for name, wanted in ((KEYS[key], False), (f"swa_{KEYS[key]}", True)):
            found = [n for n, mark in zip(heads, marks, strict=False) if bool(mark) is wanted]
            config |= {name: max(found)} if found else {}


def _states(told: _Told, config: dict[str, object]) -> None:
    """Layers without key/value heads keep a state instead of a cache."""
    heads, kind = told.each("attention.head_count_kv"), _STATES.get(str(config["model_type"]))
    if config["model_type"] in _EVERY_FOURTH:
        config.setdefault("full_attention_interval", 4)
    if 0 not in heads or kind is None:
        return
    config["layer_types"] = ["full_attention" if count else kind for count in heads]
    if kind == "linear":
        config["linear_attn_config"] = {
            "num_heads": config.get("num_attention_heads"),
            "head_dim": told.whole("kda.head_dim"),
            "short_conv_kernel_size": told.whole("ssm.conv_kernel"),
        }


def _mamba(told: _Told, config: dict[str, object]) -> None:
    """Mamba-2: heads share the inner width; a layer of Nemotron-H is one part alone."""
    heads, inner = told.whole("ssm.time_step_rank"), told.whole("ssm.inner_size")
    if config["model_type"] not in ("nemotron_h", "granitemoehybrid") or not heads:
        return
    config |= {
        "mamba_num_heads": heads,
        "mamba_head_dim": inner // heads,
        "n_groups": told.whole("ssm.group_count"),
        "ssm_state_size": told.whole("ssm.state_size"),
        "conv_kernel": told.whole("ssm.conv_kernel"),
    }
    if config["model_type"] == "nemotron_h":
        fed = "E" if told.whole("expert_count") else "-"
        cached, feeds = told.each("attention.head_count_kv"), told.each("feed_forward_length")
        layers = zip(cached, feeds, strict=False)
        letters = ("*" if heads else fed if width else "M" for heads, width in layers)
        config |= {"hybrid_override_pattern": "".join(letters), "mlp_hidden_act": "relu2"}


def _latent(told: _Told, config: dict[str, object]) -> None:
    """Latent attention: `key_length` is then that of the record. A file without the widths of the
    heads was made before llama.cpp could use it, which caches whole heads of such a one."""
    if "kv_lora_rank" not in config:
        return
    key, value = (told.whole(f"attention.{name}_length_mla") for name in ("key", "value"))
    rotary = told.whole("rope.dimension_count")
    if not (key and value):
        del config["kv_lora_rank"]
        return
    if key <= rotary:
        named = f"{told.architecture}.attention.key_length_mla"
        raise UnusableModel(f"`{named}` is {key}, of which {rotary} are rotary")
    config["qk_nope_head_dim"] = key - rotary
    config["v_head_dim"] = value


def _feed(told: _Told, config: dict[str, object]) -> None:
    """Dense widths by layer, and the dense part that Gemma 4 has beside its experts."""
    widths = told.each("feed_forward_length")
    if len(set(widths)) > 1 and 0 not in widths:
        config["intermediate_size"] = list(widths)
    if config["model_type"] == "gemma4_text" and told.whole("expert_count"):
        config["enable_moe_block"] = True
