"""What rigspec knows of one model: architecture, quantization, exact sizes where read.

`ModelFacts` is frozen and free of arithmetic; `rigspec.sizing` computes with it.
"""

from __future__ import annotations

from dataclasses import field, replace
from functools import cached_property
from typing import Literal

from rigspec.catalog.model_draft import DRAFTLESS
from rigspec.catalog.model_parts import (
    Attention,
    Compressed,
    Delta,
    Draft,
    Latent,
    Layer,
    Mamba,
    Naming,
    Vision,
)
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.model_shapes import Shapes, contradicted
from rigspec.frozen import dataclass

SHORT_COMMIT = 7
"""Digits of a commit that is written short, as git does."""
_HEX = frozenset("0123456789abcdef")

Lacks = Literal["nothing", "dense", "experts"]


@dataclass(frozen=True)
class ExactSizes:
    """Bytes read from the headers of a checkpoint, or printed by its index.

    `relative_error` is 0 for header bytes and about 0.02 for a page's rounded decimal GB.
    """

    total_bytes: int
    source: str
    draft_bytes: int | None = None
    relative_error: float = 0.0
    shapes: Shapes | None = field(default=None, compare=False)
    """What the same headers show of the layers."""
    expert_bytes: int | None = None
    """Of routed experts, where a GGUF's header says it: they seldom have its average width."""
    words_bytes: int | None = None
    """Of the table of words, likewise."""


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """One model, as far as its own files tell; `doubts` says what they do not.

    Compared by identity, so that what is computed of a model can be cached.
    """

    name: str
    model_type: str
    hidden: int
    vocab: int
    layers: tuple[Layer, ...]
    tied: bool
    tied_stated: bool
    dtype_bytes: int
    max_positions: int | None
    quantization: Quantization
    draft: Draft = field(default_factory=Draft)
    vision: Vision | None = None
    soft_cap: bool = False
    state_bytes: int = 0
    """Bytes per element of a recurrent state (`mamba_ssm_dtype`); 0 leaves it to the engine."""
    naming: Naming = "standard"
    hyper_streams: int = 1
    rotary_bytes: int = 0
    """Rotary tables an engine builds at load, per rank."""
    index_pool: int = 1
    """Tokens one index record of sparse attention covers."""
    extra_elements: int = 0
    """Elements of tables that fit none of the layers (per-layer embeddings)."""
    ngram_elements: int = 0
    """Elements of n-gram tables, which engines keep on the cards or in host memory."""
    sizes: ExactSizes | None = None
    revision: str | None = None
    weights_doubt: float = 0.0
    """Extra relative doubt about the weights, where the file at hand is not the one that runs."""
    weights_span: tuple[float, float] = (1.0, 1.0)
    """By which factors its weights may be less and more than its dimensions give, where its files
    said otherwise and their bytes are no longer those on the cards."""
    doubts: tuple[str, ...] = field(default=())
    architecture: str = ""
    """The class that its config names for it (`architectures`); empty in a GGUF file."""
    is_novel: bool = False
    """Its architecture, or a kind or a size of its layers, is not known: nothing says what a step
    holds or how matrices are cut."""
    lacks: Lacks = "nothing"
    """Sizes that its layers must have and its config does not state: its dimensions give less than
    its weights."""

    contradicted: bool = False
    """Its tensor headers show other layers, heads or words than its config."""

    def with_sizes(self, sizes: ExactSizes | None) -> ModelFacts:
        """The same model with sizes that somebody read, and what they say otherwise."""
        shapes = sizes.shapes if sizes is not None else None
        drafts = max(1, len(self.draft.layers))
        told = tuple(
            contradicted(shapes, self.layers, drafts, self.vocab, self.hidden, gguf=self.is_gguf)
        )
        return replace(self, sizes=sizes, doubts=(*self.doubts, *told), contradicted=bool(told))

    def is_of_another(self, revision: str) -> bool:
        """Whether it was saved of surely another commit; a branch or a tag may mean any."""
        asked, saved = revision.lower(), (self.revision or "").lower()
        told = all(len(word) >= SHORT_COMMIT and _HEX.issuperset(word) for word in (asked, saved))
        return told and not (asked.startswith(saved) or saved.startswith(asked))

    @property
    def known(self) -> bool:
        """Whether every part of the architecture is understood; if not, figures are bounds."""
        return not self.doubts

    @property
    def is_gguf(self) -> bool:
        """Whether its weights are a GGUF file, which llama.cpp loads and other engines do not."""
        return self.quantization.scheme is Scheme.GGUF

    @property
    def surely_draftless(self) -> bool:
        """Whether it has no prediction layers of its own; False also where nobody knows."""
        known = self.model_type in DRAFTLESS or self.draft.stated_none
        return known and not self.draft.layers

    @cached_property
    def unlike(self) -> tuple[Layer, ...]:
        """One layer of each kind, in the order they first come: what asks whether any layer is so,
        or for the widest, needs no look at the other ninety."""
        return tuple(dict.fromkeys(self.layers))

    @property
    def has_experts(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return any(layer.experts for layer in self.unlike)

    @property
    def is_compressed(self) -> bool:
        """Whether attention reads a compressed cache (DeepSeek-V4)."""
        return any(isinstance(layer.mixer, Compressed) for layer in self.unlike)

    @property
    def is_cache_unknown(self) -> bool:
        """Whether no layer says what it caches."""
        return not any(layer.mixer for layer in self.unlike)

    @property
    def is_latent(self) -> bool:
        """Whether the cache is one latent record per token (MLA)."""
        return any(isinstance(layer.mixer, Latent) for layer in self.unlike)

    @property
    def has_states(self) -> bool:
        """Whether some layers keep a recurrent state instead of a cache."""
        return any(isinstance(layer.mixer, (Delta, Mamba)) for layer in self.unlike)

    @property
    def heads(self) -> int:
        """Query heads of the widest attention layer; 0 when there is none."""
        found = (getattr(layer.mixer, "heads", 0) for layer in self.unlike)
        return max(found, default=0)

    @property
    def kv_heads(self) -> int:
        """Key/value heads of the first attention layer with its own; 0 for latent attention."""
        for layer in self.unlike:
            if isinstance(layer.mixer, Attention) and layer.mixer.kv_heads:
                return layer.mixer.kv_heads
        return 0
