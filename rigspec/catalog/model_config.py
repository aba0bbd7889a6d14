"""From a `config.json` to the parts of a model.

Key aliases and the class defaults of keys that published configs leave out follow the transformers
configuration classes; nothing is guessed from a model's name.
"""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.catalog.model_draft import draft_of
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_faults import contradictions, refuse_impossible
from rigspec.catalog.model_keys import Keys, language_keys
from rigspec.catalog.model_kinds import Kind, layer_kinds
from rigspec.catalog.model_mixers import mixer_of
from rigspec.catalog.model_parts import Experts, Layer, Mlp
from rigspec.catalog.model_quant import UNKNOWN_FORMAT, Quantization, quantization_of
from rigspec.catalog.model_rotary import rotary_bytes
from rigspec.catalog.model_vision import vision_of

CLASS_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "gemma3_text": {
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "sliding_window": 4096,
    },
    "glm4_moe_lite": {
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "num_nextn_predict_layers": 1,
    },
    "qwen3_next": {"full_attention_interval": 4, "shared_expert_intermediate_size": 512},
    "llama4_text": {"attention_chunk_size": 8192, "num_local_experts": 16},
}
_TIED_CLASSES = ("gemma", "granite", "cohere", "starcoder2", "gpt2", "bloom", "mpt", "lfm2")
_UNTIED_CLASSES = (
    "llama",
    "qwen",
    "mistral",
    "ministral",
    "mixtral",
    "deepseek",
    "phi",
    "glm",
    "minimax",
    "gpt_oss",
    "kimi",
    "nemotron",
    "step",
    "mimo",
    "olmo",
    "muse",
    "yi",
    "internlm",
)
_KNOWN_CLASSES = (*_TIED_CLASSES, *_UNTIED_CLASSES)
_DTYPE_BYTES = {"float32": 4, "fp32": 4, "float": 4, "float16": 2, "bfloat16": 2, "half": 2}


def facts_of_config(
    name: str, config: Mapping[str, object], modelopt: Mapping[str, object] | None = None
) -> ModelFacts | None:
    """The facts a config holds; None when it does not even state widths and layers.

    Raises UnusableModel for sizes that no model can have.
    """
    keys = language_keys(config)
    refuse_impossible(keys)
    model_type = keys.text("model_type") or ""
    keys = Keys((*keys.sections, CLASS_DEFAULTS.get(model_type, {})))
    hidden, vocab = keys.whole("hidden_size", "n_embd", "d_model"), keys.whole("vocab_size")
    kinds = layer_kinds(keys, model_type)
    if not hidden or not vocab or not kinds:
        return None
    quantization = quantization_of(keys, modelopt)
    doubts = (*_doubts(keys, model_type, kinds), *quantization.doubts, *contradictions(keys))
    layers, missing = _layers(keys, kinds, hidden)
    tied = keys.flag("tie_word_embeddings")
    return ModelFacts(
        name=name,
        model_type=model_type,
        hidden=hidden,
        vocab=vocab,
        layers=layers,
        tied=tied if tied is not None else _tied_by_class(model_type),
        tied_stated=tied is not None,
        dtype_bytes=_DTYPE_BYTES.get(keys.text("torch_dtype", "dtype") or "", 2),
        max_positions=_reach(keys),
        quantization=quantization,
        draft=draft_of(keys, model_type, layers),
        vision=vision_of(config, hidden),
        soft_cap=keys.number("final_logit_softcapping") is not None,
        state_bytes=2
        if keys.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype") in ("float16", "bfloat16")
        else 4,
        naming="mixer" if model_type == "nemotron_h" else "standard",
        hyper_streams=keys.whole("hc_mult", "hc_count") or 1,
        rotary_bytes=rotary_bytes(keys, layers),
        index_pool=keys.whole("index_kpool", "indexer_compress_ratio") or 1,
        extra_elements=_per_layer_tables(keys),
        weights_doubt=_weights_doubt(keys, quantization),
        doubts=(*doubts, *missing),
        architecture=next(iter(_architectures(config)), ""),
        is_novel=not _is_known(model_type) or "unknown" in kinds,
    )


def _architectures(config: Mapping[str, object]) -> tuple[str, ...]:
    listed = config.get("architectures")
    return tuple(str(name) for name in listed) if isinstance(listed, list) else ()


def _reach(keys: Keys) -> int | None:
    """The longest context the model was made for; None when it states none."""
    stated = keys.whole("max_position_embeddings", "n_positions", "max_sequence_length")
    return stated if stated and stated > 0 else None


def _weights_doubt(keys: Keys, quantization: Quantization) -> float:
    if quantization.doubts:
        return UNKNOWN_FORMAT
    return 0.3 if keys.has("compress_ratios") else 0.0


def _tied_by_class(model_type: str) -> bool:
    return model_type.startswith(_TIED_CLASSES)


def _is_known(model_type: str) -> bool:
    return model_type.startswith(_KNOWN_CLASSES)


def _doubts(keys: Keys, model_type: str, kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    found = []
    if not _is_known(model_type):
        found.append(f"the architecture `{model_type or 'unnamed'}` is not known to rigspec")
    if "unknown" in kinds:
        found.append("a layer type in `layer_types` is not known to rigspec")
    if keys.has("engram_layer_ids", "ngram_size"):
        found.append("n-gram tables are taken to stay in host memory")
    if keys.has("compress_ratios"):
        found.append("compressed attention: the layout changes between engine releases")
    if keys.has("sparse_attention_config"):
        found.append("the indexer cache of block-sparse attention is not counted")
    return tuple(found)


def _layers(
    keys: Keys, kinds: tuple[Kind, ...], hidden: int
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    blocks = keys.items("block_configs")
    if blocks:
        return _searched_layers(keys, blocks, hidden), ()
    layers, doubts = [], []
    for index, kind in enumerate(kinds):
        mixer = None if kind in ("mlp", "moe") else mixer_of(keys, kind, index)
        if mixer is None and kind not in ("mlp", "moe"):
            doubts.append(f"the dimensions of a {kind} layer are not stated")
        layers.append(_with_feed_forward(Layer(mixer=mixer), keys, kind, index, hidden))
    return tuple(layers), tuple(dict.fromkeys(doubts))


def _with_feed_forward(layer: Layer, keys: Keys, kind: Kind, index: int, hidden: int) -> Layer:
    single = bool(keys.items("layers_block_type") or keys.text("hybrid_override_pattern"))
    if single and kind not in ("mlp", "moe"):
        return layer
    experts = experts_of(keys, hidden) if _is_sparse(keys, kind, index, single) else None
    both = keys.flag("enable_moe_block") is True
    dense = experts is None or both
    return Layer(mixer=layer.mixer, mlp=mlp_of(keys) if dense else None, experts=experts)


def _is_sparse(keys: Keys, kind: Kind, index: int, single: bool) -> bool:
    if single:
        return kind == "moe"
    for marks in (keys.items("mlp_layer_types"), keys.items("moe_layer_freq")):
        if index < len(marks):
            return marks[index] in (1, True, "sparse", "moe")
    if index in keys.items("mlp_only_layers"):
        return False
    if index < (keys.whole("first_k_dense_replace", "num_dense_layers") or 0):
        return False
    every = keys.whole("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq") or 1
    return (index + 1) % every == 0 if every > 1 else True


def experts_of(keys: Keys, hidden: int) -> Experts | None:
    """The routed experts of a sparse layer; None in a dense model."""
    count = keys.whole("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
    width = keys.whole(
        "moe_intermediate_size",
        "expert_intermediate_size",
        "moe_ffn_hidden_size",
        "intermediate_size",
    )
    if not count or count < 2 or not width or keys.flag("enable_moe_block") is False:
        return None
    active = keys.whole(
        "num_experts_per_tok",
        "num_experts_per_token",
        "top_k_experts",
        "experts_per_token",
        "moe_topk",
    )
    return Experts(
        count=count,
        active=min(active or 1, count),
        width=width,
        gated=keys.text("mlp_hidden_act") != "relu2",
        shared_width=_shared_width(keys, width),
        shared_gate=keys.has("shared_expert_intermediate_size"),
        latent=keys.whole("moe_latent_size", "routed_expert_hidden_size") or 0,
        bias=keys.text("model_type") == "gpt_oss",
    )


def _shared_width(keys: Keys, width: int) -> int:
    stated = keys.whole(
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "share_expert_dim",
        "shared_intermediate_size",
    )
    if stated is not None:
        return stated
    if keys.text("model_type") == "llama4_text":
        return width
    return width * (keys.whole("n_shared_experts", "num_shared_experts") or 0)


def mlp_of(keys: Keys) -> Mlp | None:
    """The dense feed-forward part; None when no width is stated."""
    names = (
        "dense_intermediate_size",
        "intermediate_size_mlp",
        "intermediate_size",
        "n_inner",
        "ffn_dim",
    )
    width = keys.whole(*names)
    if not width:
        return None
    return Mlp(width=width, gated=keys.text("mlp_hidden_act") != "relu2" and _is_gated(keys))


def _is_gated(keys: Keys) -> bool:
    model_type = keys.text("model_type") or ""
    return not model_type.startswith(("gpt2", "opt", "bloom", "gpt_neox", "starcoder2", "falcon"))


def _searched_layers(keys: Keys, blocks: tuple[object, ...], hidden: int) -> tuple[Layer, ...]:
    """Layers of a searched architecture (`block_configs`): each states its own widths."""
    layers = []
    for block in blocks:
        section = Keys((block,)) if isinstance(block, Mapping) else Keys(({},))
        attention = section.section("attention") or Keys(({},))
        feed = section.section("ffn") or Keys(({},))
        mixer = None
        if attention.flag("no_op") is not True and attention.whole("n_heads_in_group"):
            heads = keys.whole("num_attention_heads") or 0
            group = attention.whole("n_heads_in_group") or 1
            narrowed = {**keys.sections[0], "num_key_value_heads": heads // group}
            mixer = mixer_of(Keys((narrowed,)), "full", 0)
        mult = feed.number("ffn_mult")
        width = feed.whole("intermediate_size") or _round_width(hidden, mult or 0.0)
        mlp = Mlp(width) if width and feed.flag("no_op") is not True else None
        layers.append(Layer(mixer=mixer, mlp=mlp))
    return tuple(layers)


def _round_width(hidden: int, mult: float) -> int:
    """Two thirds of the multiple, raised to a multiple of 256 (the class's own rule)."""
    return -(-int(2 * mult * hidden / 3) // 256) * 256


def _per_layer_tables(keys: Keys) -> int:
    """Per-layer embedding tables (Gemma E models), which sit on the GPU.

    N-gram tables do not: engines keep them in host memory or offload them (`_doubts` says so).
    """
    per_layer = keys.whole("hidden_size_per_layer_input") or 0
    count = keys.whole("num_hidden_layers") or 0
    return per_layer * count * (keys.whole("vocab_size_per_layer_input") or 0)
