"""The token mixer of one layer, from the keys its family uses."""

from __future__ import annotations

from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_kinds import Kind
from rigspec.catalog.model_parts import (
    Attention,
    Compressed,
    Delta,
    Latent,
    Mamba,
    Mixer,
    ShortConv,
)

_GATED_CLASSES = ("qwen3_next", "qwen3_5", "qwen4_exp")


def mixer_of(keys: Keys, kind: Kind, index: int) -> Mixer | None:
    """The mixer of layer `index`; None when its dimensions are not stated."""
    if kind == "linear":
        return _delta(keys)
    if kind == "mamba":
        return _mamba(keys)
    if kind == "conv":
        return ShortConv(
            keys.whole("conv_dim", "hidden_size") or 0, keys.whole("conv_L_cache") or 3
        )
    if keys.whole("o_lora_rank"):
        return _compressed(keys, index) if keys.items("compress_ratios") else None
    if keys.whole("kv_lora_rank"):
        return _latent(keys, index)
    return _attention(keys, kind, index)


def is_sized(mixer: Mixer | None) -> bool:
    """Whether everything is stated that decides how large a mixer is.

    What a GGUF header says of latent attention are its heads, values and rotary part alone.
    """
    if isinstance(mixer, Latent):
        return bool(mixer.heads and mixer.v_dim and (mixer.nope_dim or mixer.rope_dim))
    if isinstance(mixer, Compressed):
        return bool(mixer.heads and mixer.head_dim and mixer.q_rank)
    return mixer is not None


def _attention(keys: Keys, kind: Kind, index: int) -> Attention | None:
    heads, hidden = keys.whole("num_attention_heads", "n_head"), keys.whole("hidden_size", "n_embd")
    if not heads or not hidden:
        return None
    kv_heads = keys.whole("num_key_value_heads", "num_kv_heads") or heads
    head_dim = keys.whole("head_dim", "attention_head_dim") or hidden // heads
    v_dim = keys.whole("v_head_dim") or head_dim
    window, same = 0, False
    if kind == "window":
        window = keys.whole("sliding_window", "attention_chunk_size", "sliding_window_size") or 0
        heads = keys.whole("swa_num_attention_heads") or heads
        kv_heads = keys.whole("swa_num_key_value_heads") or kv_heads
        head_dim = keys.whole("swa_head_dim") or head_dim
        v_dim = keys.whole("swa_v_head_dim") or v_dim
    elif keys.whole("global_head_dim"):
        head_dim = v_dim = keys.whole("global_head_dim") or head_dim
        kv_heads = keys.whole("num_global_key_value_heads") or kv_heads
        same = keys.flag("attention_k_eq_v") is True
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_dim=v_dim,
        window=window,
        gated=_is_gated(keys),
        bias=_has_bias(keys),
        keys_are_values=same,
        shares_cache=_shares_cache(keys, index),
    )


def _is_gated(keys: Keys) -> bool:
    """Stated, or the class default of Qwen3-Next and its successors."""
    stated = keys.flag("attn_output_gate")
    model_type = keys.text("model_type") or ""
    return stated if stated is not None else model_type.startswith(_GATED_CLASSES)


def _has_bias(keys: Keys) -> bool:
    model_type = keys.text("model_type") or ""
    return keys.flag("attention_bias", "qkv_bias") is True or model_type.startswith("qwen2")


def _shares_cache(keys: Keys, index: int) -> bool:
    """The last `num_kv_shared_layers` layers re-use an earlier cache."""
    shared, count = keys.whole("num_kv_shared_layers") or 0, keys.whole("num_hidden_layers") or 0
    return bool(shared) and index >= count - shared


def _latent(keys: Keys, index: int) -> Latent:
    types = [str(kind) for kind in keys.items("indexer_types")]
    owns = types[index] == "full" if index < len(types) else True
    return Latent(
        heads=keys.whole("num_attention_heads") or 0,
        q_rank=keys.whole("q_lora_rank") or 0,
        kv_rank=keys.whole("kv_lora_rank") or 0,
        nope_dim=keys.whole("qk_nope_head_dim") or 0,
        rope_dim=keys.whole("qk_rope_head_dim") or 0,
        v_dim=keys.whole("v_head_dim") or 0,
        index_heads=(keys.whole("index_n_heads") or 0) if owns else 0,
        index_dim=(keys.whole("index_head_dim") or 0) if owns else 0,
        index_topk=keys.whole("index_topk") or 0,
    )


def _compressed(keys: Keys, index: int) -> Compressed:
    ratios = keys.items("compress_ratios")
    ratio = ratios[index] if index < len(ratios) else 0
    return Compressed(
        heads=keys.whole("num_attention_heads") or 0,
        head_dim=keys.whole("head_dim") or 0,
        q_rank=keys.whole("q_lora_rank") or 0,
        o_rank=keys.whole("o_lora_rank") or 0,
        o_groups=keys.whole("o_groups") or 1,
        ratio=ratio if isinstance(ratio, int) else 0,
        window=keys.whole("sliding_window") or 0,
        index_heads=keys.whole("index_n_heads") or 0,
        index_dim=keys.whole("index_head_dim") or 0,
        keeps_cache=_is_source(keys, "kv_source_layer_ids", index),
        keeps_index=_is_source(keys, "index_source_layer_ids", index),
    )


def _is_source(keys: Keys, name: str, index: int) -> bool:
    """Whether a layer keeps what later ones read; every one does where no list says so."""
    sources = keys.items(name)
    return not sources or index in sources


def _delta(keys: Keys) -> Delta | None:
    lists = keys.section("linear_attn_config")
    if lists is not None and lists.whole("num_heads") and lists.whole("head_dim"):
        heads, dim = lists.whole("num_heads") or 0, lists.whole("head_dim") or 0
        return Delta(heads, heads, dim, dim, lists.whole("short_conv_kernel_size") or 4)
    value_heads, value_dim = (
        keys.whole("linear_num_value_heads"),
        keys.whole("linear_value_head_dim"),
    )
    if not value_heads or not value_dim:
        return None
    return Delta(
        key_heads=keys.whole("linear_num_key_heads") or value_heads,
        value_heads=value_heads,
        key_dim=keys.whole("linear_key_head_dim") or value_dim,
        value_dim=value_dim,
        kernel=keys.whole("linear_conv_kernel_dim") or 4,
    )


def _mamba(keys: Keys) -> Mamba | None:
    heads, dim = (
        keys.whole("mamba_num_heads", "mamba_n_heads"),
        keys.whole("mamba_head_dim", "mamba_d_head"),
    )
    state = keys.whole("ssm_state_size", "mamba_d_state")
    if not heads or not dim or not state:
        return None
    return Mamba(
        heads,
        dim,
        keys.whole("n_groups", "mamba_n_groups") or 1,
        state,
        keys.whole("conv_kernel", "mamba_d_conv") or 4,
    )
