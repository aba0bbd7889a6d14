"""From a `config.json` to the parts of a model.

Key aliases and the class defaults of keys that published configs leave out follow the transformers
configuration classes; nothing is guessed from a model's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rigspec.catalog.model_draft import draft_of
from rigspec.catalog.model_facts import Lacks, ModelFacts
from rigspec.catalog.model_families import is_known, tied_by_class
from rigspec.catalog.model_faults import contradictions, refuse_impossible
from rigspec.catalog.model_feed import Missing, feed_of, searched_layer
from rigspec.catalog.model_keys import ACTIVE, Keys, language_keys
from rigspec.catalog.model_kinds import Kind, layer_kinds
from rigspec.catalog.model_mixers import is_sized, mixer_of
from rigspec.catalog.model_parts import Layer, Naming
from rigspec.catalog.model_quant import UNKNOWN_FORMAT, Quantization, quantization_of
from rigspec.catalog.model_rotary import rotary_bytes
from rigspec.catalog.model_vision import vision_of
from rigspec.letters import as_name

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
    "llama4_text": {"attention_chunk_size": 8192},
}
EXPERT_DEFAULTS: Mapping[str, tuple[str, int, Mapping[str, object]]] = {
    "llama4_text": (
        "interleave_moe_layer_step",
        1,
        {"num_local_experts": 16, "intermediate_size": 8192, "intermediate_size_mlp": 16384},
    ),
    "qwen3_5_moe_text": (
        "hidden_size",
        2048,
        {
            "num_experts": 256,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
    ),
}
"""The same of experts, and what shows that a config is of the model whose sizes the class assumes
(Llama 4 Scout, Qwen3.5-35B-A3B): a larger one that leaves them out was cut by somebody."""
_STATE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_NAMINGS: Mapping[str, Naming] = {"nemotron_h": "mixer", "kimi_linear": "attention"}
_DTYPE_BYTES = {
    "float32": 4, "fp32": 4, "float": 4, "float16": 2, "fp16": 2, "half": 2, "bfloat16": 2,
    "bf16": 2, "": 2,
}  # fmt: skip


def facts_of_config(
    name: str, config: Mapping[str, object], modelopt: Mapping[str, object] | None = None
) -> ModelFacts | None:
    """The facts a config holds; None when it does not even state widths and layers.

    Raises UnusableModel for sizes that no model can have.
    """
    keys = language_keys(config)
    refuse_impossible(keys)
    model_type = keys.word("model_type")
    keys = Keys((*keys.sections, _class_defaults(keys, model_type)))
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
        tied=tied if tied is not None else tied_by_class(model_type),
        tied_stated=tied is not None,
        dtype_bytes=_DTYPE_BYTES.get(_dtype(keys), 2),
        max_positions=_reach(keys),
        quantization=quantization,
        draft=draft_of(keys, model_type, layers),
        vision=vision_of(config, hidden),
        soft_cap=keys.number("final_logit_softcapping") is not None,
        state_bytes=_STATE_BYTES.get(keys.word("mamba_ssm_dtype", "mamba_ssm_cache_dtype"), 0),
        naming=_NAMINGS.get(model_type, "standard"),
        hyper_streams=keys.whole("hc_mult", "hc_count") or 1,
        rotary_bytes=rotary_bytes(keys, layers),
        index_pool=keys.whole("index_kpool", "indexer_compress_ratio") or 1,
        extra_elements=_per_layer_tables(keys),
        ngram_elements=_ngram_tables(keys),
        weights_doubt=_weights_doubt(keys, quantization),
        doubts=(*doubts, *(part.what for part in missing), *_unread(keys, layers)),
        architecture=next(iter(_architectures(config)), ""),
        is_novel=not is_known(model_type) or "unknown" in kinds or bool(missing),
        lacks=_lacks(missing, short=len(layers) < (keys.whole("num_hidden_layers") or 0)),
    )


_LEAST = (
    ("hidden_size", "n_embd", "d_model"),
    ("vocab_size",),
    ("num_hidden_layers", "n_layer", "num_layers"),
)
"""What every config states, with the names that older classes have for it."""


def lacking(config: Mapping[str, object]) -> str:
    """What a config must state and does not, by its usual names, with what it states instead."""
    keys = language_keys(config)
    missing = [_written(keys, names) for names in _LEAST if not keys.whole(*names)]
    return ", ".join(missing or ["kind for any of its layers"])


def _written(keys: Keys, names: tuple[str, ...]) -> str:
    """The first name, or the whole number that another value stands for."""
    found = keys.first(*names)
    if found is None:
        return f"`{names[0]}`"
    name, value = found
    return f"whole number in `{name}: {json.dumps(value)[:40]}`"


def _class_defaults(keys: Keys, model_type: str) -> Mapping[str, object]:
    """What the class assumes of keys that are not stated."""
    found = CLASS_DEFAULTS.get(model_type, {})
    if model_type not in EXPERT_DEFAULTS:
        return found
    key, usual, experts = EXPERT_DEFAULTS[model_type]
    return {**found, **experts} if keys.whole(key) in (None, usual) else found


def _architectures(config: Mapping[str, object]) -> tuple[str, ...]:
    listed = config.get("architectures")
    return tuple(as_name(str(name)) for name in listed) if isinstance(listed, list) else ()


def _reach(keys: Keys) -> int | None:
    """The longest context the model was made for; None when it states none."""
    stated = keys.whole("max_position_embeddings", "n_positions", "max_sequence_length")
    return stated if stated and stated > 0 else None


def _weights_doubt(keys: Keys, quantization: Quantization) -> float:
    if quantization.doubts:
        return UNKNOWN_FORMAT
    return COMPRESSED_DOUBT if keys.has("compress_ratios") else 0.0


COMPRESSED_DOUBT = 0.1
"""Of the weights of models with a compressed cache, by their dimensions: eight boots of V4-Flash,
V4.1-Flash and V4-Pro on 2 to 8 ranks are within 3 %, two home-made formats within 9."""


def _dtype(keys: Keys) -> str:
    return keys.word("torch_dtype", "dtype").removeprefix("torch.")


def _doubts(keys: Keys, model_type: str, kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    found = []
    if not is_known(model_type):
        found.append(f"the architecture `{model_type or 'unnamed'}` is not known to rigspec")
    if "unknown" in kinds:
        found.append("a layer type in `layer_types` is not known to rigspec")
    if _dtype(keys) not in _DTYPE_BYTES:
        found.append(f"its `torch_dtype` of `{_dtype(keys)}` is not known: taken for 16 bits")
    if keys.has("engram_layer_ids", "ngram_size"):
        found.append("n-gram tables may lie in host memory or on the cards")
    if keys.has("compress_ratios"):
        found.append("compressed attention: the layout changes between engine releases")
    if keys.has("sparse_attention_config"):
        found.append("the indexer cache of block-sparse attention is not counted")
    return tuple(found)


def _layers(
    keys: Keys, kinds: tuple[Kind, ...], hidden: int
) -> tuple[tuple[Layer, ...], tuple[Missing, ...]]:
    """All layers, and of which parts the config does not state the size."""
    blocks = keys.items("block_configs")
    if blocks:
        found = [searched_layer(keys, block, hidden) for block in blocks]
    else:
        found = [_layer(keys, kind, index, hidden) for index, kind in enumerate(kinds)]
    missing = (word for _, words in found for word in words)
    return tuple(layer for layer, _ in found), tuple(dict.fromkeys(missing))


def _layer(keys: Keys, kind: Kind, index: int, hidden: int) -> tuple[Layer, tuple[Missing, ...]]:
    single = kind in ("mlp", "moe")
    mixer = None if single else mixer_of(keys, kind, index)
    unsized = Missing(f"the dimensions of a {kind} layer are not stated")
    feed = feed_of(keys, kind, index, hidden)
    missing = (None if single or is_sized(mixer) else unsized, feed.missing)
    return Layer(mixer, feed.mlp, feed.experts), tuple(filter(None, missing))


def _lacks(missing: tuple[Missing, ...], *, short: bool) -> Lacks:
    """`short`: fewer layers are listed than there are."""
    if any(part.of_experts for part in missing):
        return "experts"
    return "dense" if missing or short else "nothing"


def _unread(keys: Keys, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """What only speed hangs on."""
    if keys.whole_at(0, *ACTIVE) or not any(layer.experts for layer in layers):
        return ()
    return (f"it does not say how many experts a token meets (`{ACTIVE[0]}`)",)


def _per_layer_tables(keys: Keys) -> int:
    """Per-layer embedding tables (Gemma E models), which sit on the GPU."""
    per_layer = keys.whole("hidden_size_per_layer_input") or 0
    count = keys.whole("num_hidden_layers") or 0
    return per_layer * count * (keys.whole("vocab_size_per_layer_input") or 0)


def _ngram_tables(keys: Keys) -> int:
    """DeepSeek-V4.1-Flash's two of 98.3 billion, Qwen3.8-Flash-Next's of 51.2 (their headers)."""
    rows = [row for row in keys.items("engram_num_embeddings") if type(row) is int and row > 0]
    words = (keys.whole("ngram_vocab_size_base") or 0) * len(keys.items("ple_layer_ids"))
    own = sum(rows) * (keys.whole("engram_head_dim") or 0)
    return own + words * (keys.whole("ple_embed_dim") or 0)
