"""What a config cannot mean: impossible figures are refused, contradictions are doubts.

A refusal is a sentence with the key, what it says and what it may say. A doubt leaves the estimate
standing as a bound: the engine may read the file another way than we do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping

from rigspec.catalog.model_keys import ACTIVE, COUNTS, DENSE_WIDTHS, DRAFTS, OWN_WIDTHS, Keys
from rigspec.letters import one_line


class UnusableModel(ValueError):
    """A model's file that no engine could load either: cut short, impossible, contradictory."""

    def __init__(self, said: str) -> None:
        super().__init__(one_line(said))  # it quotes what was downloaded


_STEPS = (
    "decoder_sparse_step", "interleave_moe_layer_step", "full_attention_interval",
    "first_k_dense_replace",
)  # fmt: skip
"""Every how many layers, or how many first ones."""
_BOUNDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1 << 12, (
        "num_hidden_layers", "n_layer", "num_layers", "depth", "vt_num_hidden_layers",
        *DRAFTS, *_STEPS, "moe_layer_freq", "num_kv_shared_layers", "hc_mult", "hc_count",
    )),
    (1 << 14, (
        "num_attention_heads", "num_key_value_heads", "head_dim", "n_head", "num_heads",
        "num_kv_heads", "attention_head_dim", "global_head_dim", "v_head_dim",
        "num_global_key_value_heads", "swa_num_attention_heads", "swa_num_key_value_heads",
        "swa_head_dim", "swa_v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim",
        "index_n_heads", "index_head_dim", "linear_num_key_heads", "linear_num_value_heads",
        "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim",
        "short_conv_kernel_size", "conv_L_cache", "o_groups", "index_kpool",
        "indexer_compress_ratio",
        "mamba_num_heads", "mamba_n_heads", "mamba_head_dim", "mamba_d_head", "mamba_d_state",
        "mamba_d_conv", "ssm_state_size", "mamba_n_groups", "n_groups", "conv_kernel",
        "vt_num_attention_heads", "patch_size", "temporal_patch_size", "spatial_merge_size",
    )),
    (1 << 16, (
        *COUNTS, *ACTIVE, "n_shared_experts", "num_shared_experts",
        "kv_lora_rank", "q_lora_rank", "o_lora_rank", "index_topk",
    )),
    (1 << 18, (
        "hidden_size", "n_embd", "d_model", "moe_latent_size", "routed_expert_hidden_size",
        "hidden_size_per_layer_input", "vt_hidden_size", "out_hidden_size", "ple_embed_dim",
        "engram_head_dim", "conv_dim",
    )),
    (1 << 22, (
        *DENSE_WIDTHS, *OWN_WIDTHS, "shared_expert_intermediate_size", "share_expert_dim",
        "moe_shared_expert_intermediate_size", "shared_intermediate_size",
        "vt_intermediate_size", "num_position_embeddings", "position_embedding_size",
    )),
    (1 << 24, ("vocab_size", "vocab_size_per_layer_input")),
    (1 << 27, (
        "max_position_embeddings", "n_positions", "max_sequence_length",
        "original_max_position_embeddings",
    )),
    (1 << 30, (
        "sliding_window", "sliding_window_size", "attention_chunk_size", "ngram_vocab_size_base",
    )),
)  # fmt: skip
"""Ten times and more beyond any published model: what is larger is a slip."""
_STRETCH = 1 << 12
"""`factor` of a rotary table; published ones go up to 128."""

_NEEDED = ("hidden_size", "vocab_size", "num_hidden_layers")
"""Zero means "none" for the others, for example `num_experts: 0` in a dense model."""
_REACH = ("max_position_embeddings", "n_positions", "max_sequence_length")
"""Below nothing is said here of what a class without positions may write as -1."""


_LENGTHS = (
    "factor", *_REACH, "original_max_position_embeddings", "sliding_window", "sliding_window_size",
    "attention_chunk_size", "ngram_vocab_size_base",
)  # fmt: skip
"""What may be written as `8192.0`: no list is made that long, and no matrix that wide."""


_ONE_NUMBER = (
    "num_attention_heads", "num_key_value_heads", "n_head", "head_dim", "kv_lora_rank",
    "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "max_position_embeddings",
    *_STEPS,
)  # fmt: skip
"""Figures of all layers alike; published models state lists of widths, experts and windows only."""
_COMPRESSED = ("o_groups", "sliding_window", "index_n_heads", "index_head_dim")
_LATENT = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
_BY_LAYER = (
    *DENSE_WIDTHS, *OWN_WIDTHS, *COUNTS, *ACTIVE, "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size", "share_expert_dim", "shared_intermediate_size",
    "n_shared_experts", "num_shared_experts",
)  # fmt: skip
"""Sizes that a list may state layer by layer (Gemma 3n, Hunyuan)."""
_OBJECTS = (
    "text_config",
    "vision_config",
    "rope_scaling",
    "rope_parameters",
    "quantization_config",
    "linear_attn_config",
)
"""What every engine reads keys of; else it stops, or the part would be silently left out."""
_NAMES, _STRETCHES = ("torch_dtype", "dtype", "model_type"), ("rope_type", "type")
"""What every engine reads a name in: of a config, and of its rotary tables."""
_KEPT = ("modules_to_not_convert", "ignore")
"""Lists of a quantization's record: what it leaves in 16 bits."""
_FULL_OR_LINEAR = ("full_attn_layers", "kda_layers")
"""Numbers of layers, in the `linear_attn_config` of Kimi and GLM."""
_KINDS = (
    "layer_types", "mlp_layer_types", "moe_layer_freq", "layers_block_type", "hybrid_layer_pattern",
    "indexer_types", "compress_ratios", "block_configs",
)  # fmt: skip
"""Lists that say of each layer what it is."""
_RATIOS = "compress_ratios"
_LISTS = (
    _RATIOS, "indexer_types", "block_configs", "kv_source_layer_ids", "index_source_layer_ids",
)  # fmt: skip
"""What is read as nothing but a list."""


def refuse_impossible(keys: Keys) -> None:
    """Raise UnusableModel for a size that is negative, zero, no number or absurd."""
    for section in keys.sections:
        for name in _OBJECTS:
            refuse_no_object(section, name)
        _refuse(section, "")
        _refuse_other(section, _NAMES, str, "a name")
        _refuse_other(section, ("tie_word_embeddings",), bool, "true or false")
        _refuse_other(section, ("architectures",), list, "a list")
        _refuse_other(section, _LISTS, list, "a list")
        _refuse_ratios(section.get(_RATIOS))
        _refuse_other(section.get("quantization_config") or {}, _KEPT, list, "a list")
        _refuse_other(section.get("linear_attn_config"), _FULL_OR_LINEAR, list, "a list")
        for name in ("vision_config", "rope_scaling", "rope_parameters", "linear_attn_config"):
            inner = section.get(name)
            if isinstance(inner, Mapping):
                _refuse(inner, f"{name}.")
                _refuse_other(inner, _STRETCHES, str, "a name", f"{name}.")

    _refuse_zeros(keys)


def refuse_no_object(section: Mapping[str, object], name: str, inside: str = "") -> None:
    """Raise UnusableModel where a key that holds keys of its own is a text, a number or a list."""
    _refuse_other(section, (name,), Mapping, "an object", inside)


def _refuse_other(
    section: object, names: Iterable[str], kind: type, words: str, inside: str = ""
) -> None:
    for name in names:
        value = section.get(name) if isinstance(section, Mapping) else None
        if value is not None and not isinstance(value, kind):
            said = f"`{inside}{name}` is `{json.dumps(value)[:40]}`"
            raise UnusableModel(f"{said}, an engine reads {words} there")


def _refuse_ratios(ratios: object) -> None:
    """Tokens that a layer of a compressed cache keeps as one; 0 where it keeps each."""
    for at, ratio in enumerate(ratios if isinstance(ratios, list) else []):
        if type(ratio) is not int or not 0 <= ratio <= 1 << 16:
            said = f"`{_RATIOS}` holds `{json.dumps(ratio)[:40]}` for layer {at}"
            raise UnusableModel(f"{said}, an engine reads a whole number of tokens there")


def _refuse_zeros(keys: Keys) -> None:
    """Zero means "none" of most things; where there are heads or layers, these divide."""
    divisors = {
        "head_dim": keys.whole("num_attention_heads") and not keys.whole("kv_lora_rank"),
        "moe_layer_freq": keys.whole_at(0, *COUNTS),
        "decoder_sparse_step": keys.whole_at(0, *COUNTS),
        "full_attention_interval": keys.whole("linear_num_value_heads", "linear_key_head_dim"),
    }
    for name, used in divisors.items():
        if used and keys.whole(name) == 0:
            raise UnusableModel(f"`{name}` is 0, an engine divides by it")


def _refuse(section: Mapping[str, object], inside: str) -> None:
    for most, names in (*_BOUNDS, (_STRETCH, ("factor",))):
        for name in names:
            problem = _problem(section.get(name), most, name)
            if problem:
                raise UnusableModel(f"`{inside}{name}` is {problem}")


def _problem(value: object, most: int, name: str) -> str:
    """Why a figure cannot be; empty when it can, or where nothing is stated."""
    if isinstance(value, str):
        return f"the text `{value[:40]}`, which is no number to an engine"
    if isinstance(value, list) and value and name in _BY_LAYER:
        found = (_problem([] if isinstance(n, list) else n, most, name) for n in value)
        return next(filter(None, found), "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        known = name in (*_ONE_NUMBER, *_BY_LAYER, "factor") and value is not None
        wrong = known or value is True  # a `false` says "none"
        return f"`{json.dumps(value)[:40]}`, an engine reads one number there" if wrong else ""
    if not math.isfinite(value):
        return f"{value}, which is no size"
    if isinstance(value, float) and value.is_integer() and name not in _LENGTHS:
        return f"{value}, engines count with it: it must be written as {value:.0f}"
    if name == "factor" and value <= 0:
        return f"{value:g}, an engine divides positions by it"
    if value % 1 and name not in ("factor", *_NEEDED):
        return f"{value:g}, which is no whole number"
    needed = name in _NEEDED
    if (value < 0 and name not in _REACH) or (needed and value == 0):
        return f"{value:g}, a size is {'at least 1' if needed else 'never negative'}"
    if value > most:
        return f"{value:,.0f}, no model is beyond {most:,}: is a digit too many?"
    return ""


def contradictions(keys: Keys) -> Iterator[str]:
    """Figures that cannot all be true."""
    yield from _heads(keys)
    experts = keys.whole_at(0, *COUNTS) or 0
    active = keys.whole_at(0, *ACTIVE) or 0
    if experts > 1 and active > experts:
        yield f"it states {active} experts per token of {experts}"
    yield from _lists(keys)
    yield from _blocks(keys)
    reach = keys.number("max_position_embeddings")
    if reach is not None and reach <= 0:
        yield f"`max_position_embeddings` is {reach:g}: the longest context is not known"


def _blocks(keys: Keys) -> Iterator[str]:
    """Parts of a quantized matrix that share a scale, in a form no engine reads."""
    record = keys.section("quantization_config") or Keys(())
    sides = record.items("weight_block_size")
    if record.has("weight_block_size") and not (
        len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    ):
        yield "`weight_block_size` is not two whole numbers such as [128, 128]"
    if record.has("group_size") and record.whole("group_size") is None:
        yield "`group_size` is no whole number"


def _lists(keys: Keys) -> Iterator[str]:
    """Lists by layer that are of another length than the layers, with or without drafts."""
    layers, drafts = keys.whole("num_hidden_layers") or 0, keys.whole(*DRAFTS) or 0
    named = [(name, keys.first(name)) for name in (*_KINDS, *_BY_LAYER)]
    counts = {name: len(found[1]) for name, found in named if found and isinstance(found[1], list)}
    pattern = keys.text("hybrid_override_pattern")
    counts |= {"hybrid_override_pattern": len(pattern)} if pattern else {}
    for name, count in counts.items():
        if layers and count not in (layers, layers + drafts):
            yield f"`{name}` names {count} layers, `num_hidden_layers` says {layers}"
    if keys.has("layer_types") and "layer_types" not in counts:
        yield "`layer_types` is no list"
    lists = keys.section("linear_attn_config") or Keys(())
    if lists.whole("num_heads") and not lists.items("full_attn_layers") and not counts:
        yield "`linear_attn_config` does not say which layers are linear"
    full, linear = (lists.items(name) for name in _FULL_OR_LINEAR)
    beyond = [at for at in (*full, *linear) if type(at) is not int or not 0 <= at <= layers]
    if layers and beyond:
        yield f"`linear_attn_config` names layer {json.dumps(beyond[0])[:40]} of {layers}"
    told = len({str(index) for index in (*full, *linear)})
    if layers and full and linear and told != layers:
        yield f"`linear_attn_config` names {told} layers, `num_hidden_layers` says {layers}"


def _heads(keys: Keys) -> Iterator[str]:
    heads, hidden = keys.whole("num_attention_heads") or 0, keys.whole("hidden_size") or 0
    if keys.whole("kv_lora_rank"):
        unstated = (name for name in _LATENT if keys.whole(name) is None)
        yield from (f"latent attention without `{name}`" for name in unstated)
    if keys.items(_RATIOS):
        unstated = (name for name in _COMPRESSED if keys.whole(name) is None)
        yield from (f"compressed attention without `{name}`" for name in unstated)
    if not heads or keys.whole("kv_lora_rank"):
        return
    kv_heads = keys.whole("num_key_value_heads")
    if kv_heads == 0:
        yield f"it states no key/value heads for {heads} attention heads"
    elif kv_heads is not None and heads % kv_heads:
        yield f"{heads} attention heads cannot share {kv_heads} key/value heads evenly"
    if not keys.whole("head_dim", "attention_head_dim") and hidden % heads:
        yield f"{heads} attention heads do not divide the width of {hidden}"
