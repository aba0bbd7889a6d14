"""The feed-forward part of one layer: dense, experts, both or none, and what of it is not stated.

A size that is not there is never zero: an engine takes the class's default or ends, and whoever
sized the model without it would promise room that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rigspec.catalog.model_keys import ACTIVE, COUNTS, DENSE_WIDTHS, OWN_WIDTHS, Keys
from rigspec.catalog.model_kinds import Kind
from rigspec.catalog.model_mixers import mixer_of
from rigspec.catalog.model_parts import Experts, Layer, Mlp

_EXPERT_CLASSES = re.compile(
    r"moe|mixtral|gpt_oss|deepseek(_v\d|$)|kimi[_-](k\d|linear)|minimax|llama4|qwen3_next"
)
"""Model types that are never dense; others show it by what they state of their experts."""
_OWN_WIDTH_CLASSES = ("qwen", "deepseek", "glm", "kimi", "ernie", "nemotron", "mimo", "step")
"""Their experts are not as wide as a dense layer, so that the width of one says nothing."""
_FOUR_TIMES = ("gpt2", "bloom", "mpt", "falcon", "gptj", "gpt_bigcode", "codegen")
"""Classes whose dense layers are four times the model's width unless they state another."""
_UNGATED = (
    "gpt2", "opt", "bloom", "gpt_neo", "gptj", "gpt_bigcode", "codegen", "starcoder2", "falcon",
    "mpt", "persimmon", "arcee", "apertus",
)  # fmt: skip
_UNGATED_ALONE = ("phi", "nemotron")
"""Classes whose dense layers hold two matrices; of these two the successors (Phi-3, Nemotron-H and
NAS) hold three or say what they do: Phi-2 takes 5.19 GiB, a third matrix would make it 6.76."""


class Missing(NamedTuple):
    """A size that the config should state and does not."""

    what: str
    of_experts: bool = False


NO_HEADS = Missing("the heads of an attention layer are not stated")
NO_WIDTH = Missing("the width of a feed-forward layer is not stated")
NO_COUNT = Missing(
    "a model of its kind has experts, and the config does not say how many (`num_experts`, "
    "`num_local_experts` or `n_routed_experts`)",
    of_experts=True,
)


class Feed(NamedTuple):
    """What follows the mixer of a layer."""

    mlp: Mlp | None = None
    experts: Experts | None = None
    missing: Missing | None = None


def feed_of(keys: Keys, kind: Kind, index: int, hidden: int) -> Feed:
    """The feed-forward part of layer `index`; none where a layer is one part alone (Nemotron)."""
    single = bool(keys.items("layers_block_type") or keys.text("hybrid_override_pattern"))
    if single and kind not in ("mlp", "moe"):
        return Feed()
    sparse = _is_sparse(keys, kind, index, single)
    experts = experts_of(keys, index) if sparse else None
    if experts is not None and keys.flag("enable_moe_block") is not True:
        return Feed(None, experts)
    mlp = mlp_of(keys, index, hidden)
    missing = None if mlp else NO_WIDTH
    if sparse and experts is None:
        missing = _experts_missing(keys, kind, index) or missing
    return Feed(mlp, experts, missing)


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


def experts_of(keys: Keys, index: int) -> Experts | None:
    """The routed experts of a sparse layer; None in a dense model."""
    count, width = keys.whole_at(index, *COUNTS), _expert_width(keys, index)
    if not count or count < 2 or not width or keys.flag("enable_moe_block") is False:
        return None
    active = keys.whole_at(index, *ACTIVE)
    return Experts(
        count=count,
        active=min(active or 1, count),
        width=width,
        gated=keys.text("mlp_hidden_act") != "relu2",
        shared_width=_shared_width(keys, index, width),
        shared_gate=keys.has("shared_expert_intermediate_size"),
        latent=keys.whole("moe_latent_size", "routed_expert_hidden_size") or 0,
        bias=keys.text("model_type") == "gpt_oss",
    )


def _expert_width(keys: Keys, index: int) -> int | None:
    own = (keys.text("model_type") or "").startswith(_OWN_WIDTH_CLASSES)
    return keys.whole_at(index, *OWN_WIDTHS, *(() if own else ("intermediate_size",)))


def _shared_width(keys: Keys, index: int, width: int) -> int:
    stated = keys.whole_at(
        index,
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "share_expert_dim",
        "shared_intermediate_size",
    )
    if stated is not None:
        return stated
    if keys.text("model_type") == "llama4_text":
        return width
    return width * (keys.whole_at(index, "n_shared_experts", "num_shared_experts") or 0)


def _experts_missing(keys: Keys, kind: Kind, index: int) -> Missing | None:
    """What a sparse layer without experts lacks; None where the model is dense."""
    if keys.flag("enable_moe_block") is False:
        return None
    count, model_type = keys.whole_at(index, *COUNTS), keys.text("model_type") or ""
    if count is not None and count > 1:
        said = f"it has {count} experts, and their width is not stated (`{OWN_WIDTHS[0]}`)"
        return Missing(said, of_experts=True)
    if count is not None and model_type == "granitemoehybrid":
        return None  # Granite 4.0 Micro: dense, by its own word
    active, width = keys.whole_at(index, *ACTIVE), keys.whole_at(index, *OWN_WIDTHS)
    shown = (active or width) if count is None else (active and width)  # a zero may be meant
    is_one = kind == "moe" or keys.flag("enable_moe_block") is True
    return NO_COUNT if is_one or shown or _EXPERT_CLASSES.search(model_type) else None


def mlp_of(keys: Keys, index: int, hidden: int) -> Mlp | None:
    """The dense feed-forward part; None when no width is stated."""
    model_type = keys.text("model_type") or ""
    width = keys.whole_at(index, *DENSE_WIDTHS)
    if width is None and (model_type.startswith(_FOUR_TIMES) or keys.has("n_embd")):
        width = 4 * hidden
    if not width:
        return None
    if keys.flag("block_auto_adjust_ff_dim"):  # LFM2 states it before the third matrix is paid for
        width = _raised(int(2 * width / 3), keys.whole("block_multiple_of") or 256)
    pairs = model_type.startswith(_UNGATED) or model_type in _UNGATED_ALONE
    return Mlp(width=width, gated=keys.text("mlp_hidden_act") != "relu2" and not pairs)


def searched_layer(keys: Keys, block: object, hidden: int) -> tuple[Layer, tuple[Missing, ...]]:
    """One layer of a searched architecture (`block_configs`), which states its own widths."""
    section = Keys((block,)) if isinstance(block, Mapping) else Keys(({},))
    attention = section.section("attention") or Keys(({},))
    feed = section.section("ffn") or Keys(({},))
    group, mixer = attention.whole("n_heads_in_group") or 0, None
    if attention.flag("no_op") is not True and group:
        heads = keys.whole("num_attention_heads") or 0
        narrowed = {**keys.sections[0], "num_key_value_heads": heads // group}
        mixer = mixer_of(Keys((narrowed,)), "full", 0)
    width = feed.whole("intermediate_size") or _searched_width(hidden, feed.number("ffn_mult"))
    mlp = Mlp(width) if width and feed.flag("no_op") is not True else None
    missing = (
        None if mixer or _is_replaced(attention) else NO_HEADS,
        None if mlp or _is_replaced(feed) else NO_WIDTH,
    )
    return Layer(mixer=mixer, mlp=mlp), tuple(filter(None, missing))


def _is_replaced(part: Keys) -> bool:
    """Whether the search took a part out, or put one small matrix in its place."""
    return bool(part.flag("no_op") or part.flag("replace_with_linear"))


def _searched_width(hidden: int, multiple: float | None) -> int:
    """Two thirds of the multiple, raised to a multiple of 256 (the class's own rule)."""
    return _raised(int(2 * (multiple or 0.0) * hidden / 3), 256)


def _raised(width: int, step: int) -> int:
    return -(-width // step) * step
