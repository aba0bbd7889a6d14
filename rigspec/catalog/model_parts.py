"""What a model is made of, layer by layer: frozen records without arithmetic.

The words are those of the papers: a *mixer* mixes tokens (attention, latent attention, a state
space), a *feed-forward* part follows it. Widths are in elements, never in bytes.
"""

from __future__ import annotations

from typing import Literal

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention; `window` 0 sees everything."""

    heads: int
    kv_heads: int
    head_dim: int
    v_dim: int
    window: int = 0
    gated: bool = False
    """The query projection is twice as wide (Qwen3-Next and later)."""
    bias: bool = False
    keys_are_values: bool = False
    """No value projection is stored (Gemma 4's global layers)."""
    shares_cache: bool = False
    """Re-uses the cache of an earlier layer (Gemma E models)."""


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (MLA): one small record per token, whatever the head count."""

    heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    index_heads: int = 0
    index_dim: int = 0
    index_topk: int = 0

    @property
    def record_width(self) -> int:
        """Elements cached per token."""
        return self.kv_rank + self.rope_dim


@dataclass(frozen=True)
class Compressed:
    """DeepSeek-V4 attention: one shared key/value head, compressed by `ratio` (0: window only)."""

    heads: int
    head_dim: int
    q_rank: int
    o_rank: int
    o_groups: int
    ratio: int
    window: int
    index_heads: int
    index_dim: int
    keeps_cache: bool = True
    """Whether its records are its own, not those of an earlier layer (V4.1)."""
    keeps_index: bool = True
    """The same of the indexer's."""


@dataclass(frozen=True)
class Delta:
    """Gated delta net or KDA: a fixed state per request instead of a cache per token."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int


@dataclass(frozen=True)
class Mamba:
    """Mamba-2 state space layer."""

    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int

    @property
    def inner(self) -> int:
        """Width inside the layer."""
        return self.heads * self.head_dim


@dataclass(frozen=True)
class ShortConv:
    """Gated short convolution (LFM2)."""

    width: int
    kernel: int


@dataclass(frozen=True)
class Mlp:
    """Dense feed-forward part; gated ones hold three matrices, others two."""

    width: int
    gated: bool = True


@dataclass(frozen=True)
class Experts:
    """Routed experts, `active` of `count` per token, and an always-active shared part."""

    count: int
    active: int
    width: int
    gated: bool = True
    shared_width: int = 0
    shared_gate: bool = False
    latent: int = 0
    """Width the experts work in, when narrower than the model (Nemotron)."""
    bias: bool = False


Mixer = Attention | Latent | Compressed | Delta | Mamba | ShortConv


@dataclass(frozen=True)
class Layer:
    """One decoder layer; any part may be missing (Nemotron has one part per layer)."""

    mixer: Mixer | None = None
    mlp: Mlp | None = None
    experts: Experts | None = None


@dataclass(frozen=True)
class Draft:
    """The stored multi-token-prediction part: its layers and copies of embedding and head."""

    layers: tuple[Layer, ...] = ()
    vocab_copies: int = 0
    joiners: int = 0
    """How many 2·H×H matrices join the hidden state with the next token's embedding."""
    stated_none: bool = False
    """The config itself says that there is none: `num_nextn_predict_layers: 0` (Kimi-K2)."""


@dataclass(frozen=True)
class Vision:
    """A vision tower by its size alone."""

    elements: int
    replicated: bool
    stated: bool
    """False: the config does not describe it; the size is that of the class's default tower."""
    heads: int = 0
    deep_outputs: int = 0
    """Inner layers whose outputs join the text's, beside the last."""
    layers: int = 24
    width: int = 1024
    """Depth and width under the names that SGLang looks for, or what it takes for them."""
    whole_item: int = 0
    """Tokens of the largest item that a step must hold whole, as its parts look at each other; 0
    where prompts may be cut anywhere."""


Naming = Literal["standard", "mixer", "attention"]
